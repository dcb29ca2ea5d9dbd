"""/models with the whole catalogue of every provider, and the state of what stands behind a model."""

import re
import statistics
import time
from collections.abc import Iterator
from decimal import Decimal
from html import unescape
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from gateway.dashboard.model_search import ABILITIES, SORTS, Looked, card, found, lowest, standing_of
from gateway.upstreams.standing import Standing
from gateway.videos.routing import Catalogue
from providers.catalog_files import all_catalogs
from tests.gateway.dashboard.visits import Visit, visiting
from tests.gateway.live import settings_for

LINK = re.compile(r'<h2><a href="/models/([^"]+)">')
COUNT = re.compile(r"(\d+) of (\d+) models")
DEMO = {
    "name": "studio",
    "type": "openai_compatible",
    "base_url": "http://127.0.0.1:9/v1",
    "models": [{"id": "studio/one", "upstream_model": "one", "price_per_second_usd": "0.10"}],
}


def everything() -> list[dict[str, object]]:
    """An upstream for every provider of the catalogue, with all of its models."""
    return [
        {
            "name": name.replace("_", "-"),
            "type": name,
            "base_url": "https://upstream.example/v1",
            "api_key": "a:b:c",
        }
        for name, catalog in all_catalogs().items()
        if catalog.models
    ]


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    settings = settings_for(tmp_path_factory.mktemp("models"), upstreams=[DEMO, *everything()])
    with visiting(settings) as visit:
        yield visit


def listed(page: str) -> list[str]:
    return [unquote(unescape(each)) for each in LINK.findall(page)]


def test_every_model_is_on_some_page_and_has_a_page(visit: Visit) -> None:
    page = visit.page("/models")
    count = COUNT.search(page)
    assert count
    total = int(count[2])
    assert total > 200
    seen = listed(page)
    while (onward := re.search(r'<a class="button" href="([^"]+)" rel="next">', page)) is not None:
        page = visit.page(unescape(onward[1]))
        seen += listed(page)
    known = [model["id"] for model in visit.operator.get("/v1/models").json()["data"]]
    assert seen == known
    assert len(seen) == total
    for model in known:
        one = visit.page(f"/models/{model}")
        assert f"/playground?model={quote(model)}" in one
        assert "Prices" in one


def test_pages_answer_quickly_with_the_whole_catalogue(visit: Visit) -> None:
    for path in ("/models", "/models?sort=price&can=image", "/models/studio/one"):
        visit.page(path)
        took = []
        for _ in range(7):
            began = time.perf_counter()
            visit.page(path)
            took.append(time.perf_counter() - began)
        assert statistics.median(took) < 0.25, path


@pytest.mark.parametrize("query", ["q=nothing+like+this", "seconds=9999", "up_to=0.0000001"])
def test_what_fits_nothing_says_so_and_leads_back(visit: Visit, query: str) -> None:
    page = visit.page(f"/models?{query}")
    assert "No model fits" in page
    assert 'href="/models"' in page


@pytest.mark.parametrize(
    "query",
    ["can=nonsense", "seconds=many", "up_to=NaN", "sort=nonsense", "from=-1", "from=99999", "from=1e99"],
)
def test_what_makes_no_sense_is_as_good_as_empty(visit: Visit, query: str) -> None:
    assert len(listed(visit.page(f"/models?{query}"))) == 48


def test_search_and_filters_keep_what_was_said(visit: Visit) -> None:
    page = visit.page("/models?q=STUDIO&up_to=0.10&priced=true&available=true")
    assert listed(page) == ["studio/one"]
    assert 'value="STUDIO"' in page
    assert page.count(" checked") == 2
    onward = re.search(r'href="([^"]+)" rel="next"', visit.page("/models?can=image"))
    assert onward
    assert "can=image" in onward[1]


def test_an_alias_leads_to_its_model_and_nothing_else_does(visit: Visit) -> None:
    assert "<h1" in visit.page("/models/sora-2")
    assert "model_not_found" in visit.client.get("/models/no/such", headers={"X-Onereel": "fetch"}).text
    visit.page("/models/no/such", status=404)


def test_a_paused_upstream_is_told_in_one_word_and_named_to_operators_only(visit: Visit) -> None:
    viewer = visit.member("viewer", "models-viewer@example.com")
    assert "away at the moment" not in viewer.page("/models/studio/one")
    visit.operator.post("/v1/upstreams/studio/pause", json={"reason": "the lamp is broken"})
    try:
        theirs, ours = viewer.page("/models/studio/one"), visit.page("/models/studio/one")
        assert "away at the moment" in theirs
        assert "away at the moment" in ours
        assert "Only operators see this" in ours
        assert "Only operators see this" not in theirs
        assert "the lamp is broken" not in theirs
        assert "Try it" not in theirs
        assert listed(visit.page("/models?q=studio&available=true")) == []
    finally:
        visit.operator.post("/v1/upstreams/studio/resume")
    assert "away at the moment" not in viewer.page("/models/studio/one")


def test_no_model_at_all_has_a_next_step(tmp_path: Path) -> None:
    with visiting(settings_for(tmp_path)) as visit:
        assert "No model yet" in visit.page("/models")


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return Catalogue(settings_for(tmp_path_factory.mktemp("search"), upstreams=[DEMO, *everything()]))


def test_each_ability_is_found_and_shown(catalogue: Catalogue) -> None:
    models = catalogue.models()
    standings: dict[str, Standing] = {each.name: "available" for each in catalogue.upstreams()}
    for ability, (label, _) in ABILITIES.items():
        kept = found(models, Looked(can=ability), standings, None)
        assert kept, ability
        assert kept == [model for model in models if label in card(model, standings, None)["abilities"]]


@pytest.mark.parametrize("sort", SORTS)
def test_each_order_has_the_same_models(catalogue: Catalogue, sort: str) -> None:
    models, margin = catalogue.models(), Decimal("1.2")
    kept = found(models, Looked(sort=sort), {}, margin)
    assert sorted(each.id for each in kept) == sorted(each.id for each in models)
    if sort == "price":
        prices = [lowest(each, margin).get("output_second", Decimal("Infinity")) for each in kept]
        assert prices == sorted(prices)
        assert prices[0] < prices[-1]


def test_a_model_is_away_only_where_all_of_its_routes_are(tmp_path: Path) -> None:
    other = {**DEMO, "name": "second"}
    one = Catalogue(settings_for(tmp_path, upstreams=[DEMO, other])).models()[0]
    assert standing_of(one, {"studio": "available", "second": "available"}) == "available"
    assert standing_of(one, {"studio": "away", "second": "available"}) == "degraded"
    assert standing_of(one, {"studio": "away", "second": "away"}) == "away"
    assert standing_of(one, {}) == "away"
