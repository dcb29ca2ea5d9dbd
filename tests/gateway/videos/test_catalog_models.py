"""Models of the catalogue over real HTTP: what is shown, what is refused, what a client is warned of."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.clock import Clock
from providers.catalog_files import CatalogModel, all_catalogs
from providers.spec import ModelSpec, UpstreamSpec
from tests.gateway.live import live, settings_for
from tests.gateway.media_files import make_image, make_video

TODAY = datetime(2026, 11, 26, 12, tzinfo=UTC)
PROVIDERS = ("google_gemini", "minimax", "runway", "fal", "ark", "xai")
FIELDS: dict[str, dict[str, Any]] = {
    "soon": {"shutdown_date": "2026-12-26", "replacement": "acme/next"},
    "later": {"shutdown_date": "2026-12-27"},
    "last-day": {"shutdown_date": "2026-11-27"},
    "small": {"max_image_bytes": 100, "max_source_seconds": 1},
    "shaped": {"resolutions": ["720p"], "shape_follows_input": True},
}
OURS = tuple(
    ModelSpec.model_validate({"id": f"acme/{name}", "price_per_second_usd": "0.1", **fields})
    for name, fields in FIELDS.items()
)


def upstream(name: str, models: tuple[ModelSpec, ...]) -> UpstreamSpec:
    return UpstreamSpec(name=name, base_url="http://127.0.0.1:9/v1", models=models)


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A gateway with billing on that offers six providers, on a day of our choice; it submits nothing."""
    settings = settings_for(
        tmp_path_factory.mktemp("catalogue"),
        upstreams=(
            upstream("acme", OURS),
            *(upstream(name, all_catalogs()[name].models) for name in PROVIDERS),
        ),
        billing={
            "mode": "prepaid",
            "margin": "1.5",
            "exchange_rates": [
                {"currency": "CNY", "usd_per_unit": "0.14", "as_of": "2026-11-01", "source": "the test"}
            ],
        },
        roles=("api",),
    )
    with live(settings, Clock(TODAY.timestamp)) as gateway, gateway.client() as client:
        granted = client.post("/v1/billing/credits", json={"amount_usd": "1000", "reason": "tests"})
        assert granted.status_code == 200, granted.text
        yield client


def quote(http: httpx.Client, model: str, **fields: Any) -> httpx.Response:
    return http.post("/v1/videos/quote", json={"prompt": "a cat", "model": model, **fields})


def refusal(answer: httpx.Response) -> tuple[int, str, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"], error["message"]


def test_a_model_is_shown_with_everything_known_of_it(http: httpx.Client):
    shown = http.get("/v1/models/google_gemini/gemini-omni-1.2-flash").json()
    assert (shown["status"], shown["confidence"], shown["released"]) == ("live", "documented", "2026-11-05")
    assert (shown["shutdown_date"], shown["replacement"], shown["as_of"]) == (None, None, "2026-11-22")
    can = shown["capabilities"]
    assert can["seconds"] == [str(n) for n in range(3, 16)]
    assert can["extension_seconds"] == [str(n) for n in range(3, 11)]
    assert (can["audio"], can["default_audio"], can["max_reference_images"]) == ("always", True, 6)
    assert (can["resolutions"], can["aspect_ratios"]) == (["720p", "360p", "1080p", "4k"], ["16:9", "9:16"])
    assert (can["default_seconds"], can["default_size"]) == ("8", "720x1280")
    at_360 = shown["prices"][0]
    assert (at_360["usd"], at_360["up_to_short_edge"], at_360["confidence"]) == ("0.045", 360, "unverified")
    assert "wavespeed.ai" in at_360["source"]
    edits = http.get("/v1/models/runway/aleph2").json()["capabilities"]
    assert (edits["operations"], edits["required_inputs"]) == (["edit"], ["source"])
    assert (edits["seconds"], edits["default_seconds"], edits["default_size"]) == ([], None, None)


def test_the_list_holds_what_runs_and_leaves_out_what_does_not(http: httpx.Client):
    shown = {model["id"]: model for model in http.get("/v1/models").json()["data"]}
    listed = {name: model for name, model in shown.items() if not name.startswith("acme/")}
    known: list[CatalogModel] = [model for name in PROVIDERS for model in all_catalogs()[name].models]
    running = [model for model in known if model.status != "retired"]
    assert set(listed) == {model.id for model in running}
    priced = {name for name, model in listed.items() if model["prices"][0]["usd"] is not None}
    assert priced == {model.id for model in running if model.upstream_costs}


@pytest.mark.parametrize("method", ["retrieve", "create", "quote"])
def test_a_retired_model_names_its_replacement(http: httpx.Client, method: str):
    name = "google_gemini/veo-3.1-generate-preview"
    body = {"prompt": "a cat", "model": name}
    answer = {
        "retrieve": lambda: http.get(f"/v1/models/{name}"),
        "create": lambda: http.post("/v1/videos", json=body),
        "quote": lambda: quote(http, name),
    }[method]()
    status, code, param, message = refusal(answer)
    assert (status, code, param) == (404, "model_not_found", "model")
    assert "shut down on 2026-10-22" in message
    assert "use 'google_gemini/gemini-omni-1.2-flash' instead" in message
    undated = refusal(quote(http, "google_gemini/gemini-omni-flash-preview"))
    assert undated[:2] == (404, "model_not_found")
    assert "was shut down; use 'google_gemini/gemini-omni-1.1-flash'" in undated[3]


def test_thirty_days_before_its_end_a_model_warns(http: httpx.Client):
    warned = {name: warnings_of(http, name) for name in ("acme/soon", "acme/later", "acme/last-day")}
    assert warned["acme/soon"] == [
        "The model 'acme/soon' is shut down on 2026-12-26. Use 'acme/next' instead."
    ]
    assert warned["acme/later"] == []
    assert warned["acme/last-day"] == ["The model 'acme/last-day' is shut down on 2026-11-27."]


def warnings_of(http: httpx.Client, model: str) -> list[str]:
    """What a quote says, and a video, and the video when read again."""
    quoted = quote(http, model).json()["warnings"]
    made = http.post("/v1/videos", json={"prompt": "a cat", "model": model})
    assert made.status_code == 200, made.text
    assert made.json()["warnings"] == quoted
    assert http.get(f"/v1/videos/{made.json()['id']}").json()["warnings"] == quoted
    return list(quoted)


def test_a_model_whose_cost_nobody_knows_does_not_run_while_billing_is_on(http: httpx.Client):
    status, code, param, message = refusal(quote(http, "runway/wan3", size="1280x720"))
    assert (status, code, param) == (400, "price_unknown", "model")
    assert "this model has no price" in message


def test_costs_become_prices_by_margin_and_exchange_rate(http: httpx.Client):
    sound = quote(http, "runway/veo3.1", seconds="4", size="1280x720").json()
    silent = quote(http, "runway/veo3.1", seconds="4", size="1280x720", audio=False).json()
    assert (sound["cost"]["amount"], silent["cost"]["amount"]) == ("2.400000", "1.200000")
    square = quote(
        http, "ark/doubao-seedance-2-0-260128", seconds="5", resolution="480p", aspect_ratio="1:1"
    ).json()
    tokens = 640 * 640 * 121 / 1024
    assert (square["size"], square["cost"]["amount"]) == ("640x640", f"{tokens * 46 * 0.14 * 1.5 / 1e6:.6f}")


@pytest.mark.parametrize(
    ("model", "fields", "param", "said"),
    [
        ("fal/fal-ai/kling-video/v3/pro/image-to-video", {}, "input_reference", "a prompt alone"),
        ("minimax/T2V-01", {"audio": True}, "audio", "the parameter 'audio'"),
        ("minimax/MiniMax-Hailuo-02", {"seconds": "10", "size": "1920x1080"}, "seconds", "at most 6 s"),
        ("runway/gen4.5", {"seconds": "11"}, "seconds", "2, 3, 4"),
        ("runway/gen4.5", {"seed": 1, "negative_prompt": "dogs"}, "negative_prompt", "n, seed"),
        ("runway/aleph2", {}, "model", "the operation 'generate'"),
        ("xai/grok-imagine-video", {"resolution": "1080p"}, "resolution", "size 854x480"),
    ],
)
def test_what_nobody_documented_is_refused(
    http: httpx.Client, model: str, fields: dict[str, Any], param: str, said: str
):
    status, code, named, message = refusal(quote(http, model, **fields))
    assert (status, code, named) == (400, "unsupported_value", param)
    assert said in message


def test_the_longest_video_depends_on_the_resolution(http: httpx.Client):
    for size, seconds in (("1366x768", "10"), ("1920x1080", "6")):
        assert quote(http, "minimax/MiniMax-Hailuo-02", size=size, seconds=seconds).status_code == 200


def test_inputs_are_no_larger_and_no_longer_than_the_upstream_takes(http: httpx.Client, tmp_path: Path):
    image = make_image("PNG")
    files = {"input_reference": ("cat.png", image, "image/png")}
    answer = http.post("/v1/videos", data={"prompt": "a cat", "model": "acme/small"}, files=files)
    status, code, param, message = refusal(answer)
    assert (status, code, param) == (400, "input_too_large", "input_reference")
    assert "takes at most 0.0 MB" in message
    assert (
        http.post("/v1/videos", data={"prompt": "a cat", "model": "acme/soon"}, files=files).status_code
        == 200
    )
    clip = make_video(tmp_path / "clip.mp4")
    form = {"prompt": "a dog", "model": "acme/small"}
    sent = http.post(
        "/v1/videos/edits", data=form, files={"video": ("clip.mp4", clip.read_bytes(), "video/mp4")}
    )
    status, code, param, message = refusal(sent)
    assert (status, code, param) == (400, "video_too_long", "video")
    assert "takes at most 1 s" in message


def test_a_picture_shaped_by_its_input_says_so(http: httpx.Client):
    image = make_image("PNG")
    made = http.post(
        "/v1/videos",
        data={"prompt": "a cat", "model": "acme/shaped", "size": "1280x720"},
        files={"input_reference": ("cat.png", image, "image/png")},
    )
    assert made.status_code == 200, made.text
    assert made.json()["warnings"] == [
        "The picture has the shape of the input; the size only chooses its resolution."
    ]
