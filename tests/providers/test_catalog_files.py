"""The catalogue as it is shipped: every file valid, every price dated, nothing dead on offer."""

import re
from datetime import date
from pathlib import Path

import pytest

from providers.catalog_docs import document
from providers.catalog_files import (
    CatalogError,
    CatalogFile,
    CatalogModel,
    all_catalogs,
    catalog_of,
    read_catalog,
)
from providers.contract import MediaRole, Operation

ROOT = Path(__file__).parents[2]
CATALOGS = all_catalogs()
MODELS = {model.id: model for file in CATALOGS.values() for model in file.models}
TODAY = date(2026, 11, 26)

COUNTS = {
    "aimlapi": 4, "amazon_bedrock": 3, "ark": 15, "azure_openai": 1, "black_forest_labs": 1, "dashscope": 22,
    "fal": 58, "google_gemini": 6, "google_vertex": 6, "higgsfield": 0, "kie": 2, "kling": 13, "ltx": 4, "luma": 3,
    "minimax": 11, "novita": 2, "openrouter": 9, "piapi": 1, "pixverse": 6, "replicate": 8, "runway": 26,
    "siliconflow": 2, "tencent": 22, "together": 0, "vidu": 11, "wavespeed": 5, "xai": 3, "zhipu": 9,
}  # fmt: skip

DEAD = {
    "azure_openai": {"sora-2"},
    "amazon_bedrock": {"amazon.nova-reel-v1:0", "amazon.nova-reel-v1:1"},
    "google_gemini": {
        "veo-3.1-generate-preview",
        "veo-3.1-fast-generate-preview",
        "veo-3.1-lite-generate-preview",
        "gemini-omni-flash-preview",
    },
    "google_vertex": {"veo-3.0-generate-001", "veo-3.0-fast-generate-001", "veo-2.0-generate-001"},
    "dashscope": {"wan2.6-t2v", "wan2.6-i2v", "wan2.6-i2v-flash", "wan2.6-r2v", "wan2.6-r2v-flash"},
    "kling": {"kling-v1-5", "kling-v1-6", "kling-v2-1", "kling-v2-1-master"},
}

GOOD = """
provider = "acme"
title = "Acme"
base_url = "https://api.acme.example/v1"
env = [["ACME_KEY"]]
env_named_by = "vendor"
auth = "Bearer"
submit_safety = "none"
as_of = 2026-11-22
verified = "not run"

[[models]]
upstream_model = "fast-1"
seconds = { min = 4, max = 8, step = 2 }
resolutions = ["720p", "4k"]
aspect_ratios = ["16:9", "1:1"]
frames.720p = { "1:1" = "960x960" }
confidence = "documented"
source = "https://acme.example/docs"
price = "unknown"
"""


def read(folder: Path, text: str, name: str = "acme.toml") -> CatalogFile:
    path = folder / name
    path.write_text(text)
    return read_catalog(path)


def test_the_files_are_the_known_ones_and_hold_a_hundred_models() -> None:
    assert {name: len(file.models) for name, file in CATALOGS.items()} == COUNTS
    assert len(MODELS) == sum(COUNTS.values()) >= 100
    assert all(name == file.provider for name, file in CATALOGS.items())


def test_ids_begin_with_their_provider_and_no_two_are_equal() -> None:
    for name, file in CATALOGS.items():
        assert all(model.id.startswith(f"{name}/") for model in file.models)
        upstream = [model.upstream_id for model in file.models]
        assert len(set(upstream)) == len(upstream), f"{name}: one row per upstream model"


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.id)
def test_every_row_says_where_it_is_from(model: CatalogModel) -> None:
    assert model.source
    assert model.as_of <= TODAY
    for row in model.cost_rows:
        assert row.source
        assert row.as_of <= TODAY
        assert row.confidence
        third_party = re.search(r"memory|reseller|LiteLLM|third part", row.source)
        assert not third_party or row.confidence == "unverified", row.source
    if re.search(r"memory|reseller|third part", model.source):
        assert model.confidence == "unverified"


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.id)
def test_what_a_row_offers_holds_together(model: CatalogModel) -> None:
    assert model.required_roles <= model.roles
    assert (MediaRole.REFERENCE in model.roles) == (model.max_reference_images > 0)
    assert (Operation.EDIT in model.operations) == (MediaRole.SOURCE in model.roles)
    assert (Operation.EXTEND in model.operations) == (MediaRole.EXTEND_FROM in model.roles)
    if Operation.EXTEND in model.operations:
        assert model.lengths_of(Operation.EXTEND)
    for size in model.sizes:  # an upstream that speaks in words can be told every size
        resolution, ratio = model.words_of(size)
        assert (resolution is not None) == bool(model.resolutions)
        assert (ratio is not None) == bool(model.aspect_ratios)
    if model.resolutions and model.aspect_ratios:
        assert len({model.words_of(size) for size in model.sizes}) == len(model.sizes)
    assert model.replacement is None or model.replacement in MODELS


def test_what_is_dead_is_marked_so_and_nothing_else_is() -> None:
    retired = {
        name: {model.upstream_id for model in file.models if model.status == "retired"}
        for name, file in CATALOGS.items()
    }
    assert {name: ids for name, ids in retired.items() if ids} == DEAD
    for model in MODELS.values():
        if model.shutdown_date is not None and date.fromisoformat(model.shutdown_date) <= TODAY:
            assert model.status == "retired", model.id
    assert (
        MODELS["google_gemini/veo-3.1-generate-preview"].replacement == "google_gemini/gemini-omni-1.2-flash"
    )


def test_prices_of_the_sheets_are_in_the_rows() -> None:
    def amounts(model: str) -> list[tuple[str, str, int | None, bool | None]]:
        rows = MODELS[model].cost_rows
        return [(f"{row.amount:f}", row.currency, row.up_to_short_edge, row.audio) for row in rows]

    assert amounts("xai/grok-imagine-video-1.5")[:2] == [
        ("0.08", "USD", 480, None),
        ("0.14", "USD", 720, None),
    ]
    assert amounts("kling/kling-v3")[:2] == [("0.084", "USD", 720, None), ("0.126", "USD", 720, True)]
    assert amounts("ark/doubao-seedance-2-0-260128")[0] == ("46", "CNY", 960, None)
    assert amounts("kie/bytedance/seedance-2-mini")[0] == ("9.5", "credit", 480, None)
    assert amounts("runway/gen4.5") == [("0.12", "USD", None, None)]


def test_a_region_offers_its_own_models() -> None:
    ark = catalog_of("ark")
    china = {model.upstream_id for model in ark.models_in(None)}
    assert "doubao-seedance-2-0-260128" in china
    assert not any(name.startswith("dreamina") for name in china)
    assert {model.upstream_id for model in ark.models_in("ap-southeast")}.isdisjoint(china)
    assert len(catalog_of("xai").models_in(None)) == COUNTS["xai"]


def test_short_forms_are_written_out(tmp_path: Path) -> None:
    [model] = read(tmp_path, GOOD).models
    assert (model.id, model.upstream_id) == ("acme/fast-1", "fast-1")
    assert [str(each) for each in model.seconds] == ["4", "6", "8"]
    assert model.sizes == ("1280x720", "960x960", "3840x2160", "2160x2160")
    assert model.words_of("960x960") == ("720p", "1:1")
    assert model.words_of("2160x2160") == ("4k", "1:1")
    assert set(model.operations) == {Operation.GENERATE}
    assert (set(model.roles), set(model.parameters)) == (set(), {"n"})
    loud = GOOD.replace('price = "unknown"', 'price = "unknown"\naudio = "optional"\ndefault_audio = true')
    [model] = read(tmp_path, loud).models
    assert (set(model.parameters), model.default_audio) == ({"n", "audio"}, True)
    [model] = read(tmp_path, GOOD.replace('price = "unknown"', 'price = "unknown"\naudio = "always"')).models
    assert (set(model.parameters), model.default_audio) == ({"n"}, True)


def test_a_row_has_what_the_file_says_for_all(tmp_path: Path) -> None:
    costs = (
        'price_source = "https://acme.example/pricing"\nprice_confidence = "documented"\n'
        'upstream_costs = [{ unit = "output_second", amount = "0.1" }, '
        '{ unit = "input_image", amount = "1", source = "memory", confidence = "unverified" }]'
    )
    [model] = read(tmp_path, GOOD.replace('price = "unknown"', costs)).models
    said = [(row.source, row.confidence, str(row.as_of)) for row in model.cost_rows]
    assert said == [
        ("https://acme.example/pricing", "documented", "2026-11-22"),
        ("memory", "unverified", "2026-11-22"),
    ]
    shared = GOOD.replace("[[models]]", "[defaults]\nmax_prompt_chars = 7\n\n[[models]]")
    assert read(tmp_path, shared).models[0].max_prompt_chars == 7


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ('price = "unknown"', 'price = "unknown"\ncolour = "red"', "model 'fast-1', field 'colour'"),
        ('price = "unknown"', 'price = "cheap"', "model 'fast-1', field 'price'"),
        ('price = "unknown"', "", "give upstream_costs, or price"),
        ('confidence = "documented"', "", "model 'fast-1', field 'confidence'"),
        ('["720p", "4k"]', '["720p", "8k"]', "model 'fast-1', field 'resolutions.1'"),
        ('["16:9", "1:1"]', '["wide"]', "model 'fast-1', field 'aspect_ratios.0'"),
        ('"1:1" = "960x960"', '"9:16" = "540x960"', "model 'fast-1', field 'frames'"),
        ("{ min = 4, max = 8, step = 2 }", "{ min = 8, max = 4 }", "model 'fast-1', field 'seconds'"),
        ("{ min = 4, max = 8, step = 2 }", "[]", "needs at least one entry in seconds"),
        ('price = "unknown"', 'price = "unknown"\nstatus = "asleep"', "model 'fast-1', field 'status'"),
        ('price = "unknown"', 'price = "unknown"\nstatus = "retiring"', "has a shutdown_date"),
        ('price = "unknown"', 'price = "unknown"\nshutdown_date = "soon"', "field 'shutdown_date'"),
        ('price = "unknown"', 'price = "unknown"\naudio = "optional"', "default_audio must be given"),
        ('price = "unknown"', 'price = "unknown"\nparameters = ["mood"]', "field 'parameters'"),
        ('price = "unknown"', 'price = "unknown"\nregions = ["moon"]', "no such region: moon"),
        (
            'price = "unknown"',
            'upstream_costs = [{ unit = "output_second", amount = "1" }]',
            "model 'fast-1', field 'upstream_costs.0.source'",
        ),
        ('env = [["ACME_KEY"]]', "", "field 'env'"),
        ('submit_safety = "none"', 'submit_safety = "hope"', "field 'submit_safety'"),
        ('provider = "acme"', 'provider = "other"', "must be named after it"),
        ("[[models]]", "[[models]", "is not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_file_model_and_field(
    tmp_path: Path, wrong: str, right: str, said: str
) -> None:
    assert GOOD.count(wrong) == 1
    with pytest.raises(CatalogError) as refused:
        read(tmp_path, GOOD.replace(wrong, right))
    assert str(refused.value).startswith("acme.toml")
    assert said in str(refused.value)


def test_two_rows_of_one_name_are_refused(tmp_path: Path) -> None:
    row = GOOD[GOOD.index("[[models]]") :]
    with pytest.raises(CatalogError, match="two models have the id 'acme/fast-1'"):
        read(tmp_path, GOOD + row)


def test_a_provider_without_a_file_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        catalog_of("nobody")


def test_the_page_of_providers_is_current() -> None:
    written = (ROOT / "docs" / "providers.md").read_text()
    assert written == document(CATALOGS.values()), (
        "run `python -m providers.catalog_docs > docs/providers.md`"
    )
    assert "No live call to any provider was made" in written
    for file in CATALOGS.values():
        assert f"## {file.title}\n" in written
        assert all(f"`{name}`" in written for names in file.env for name in names)
