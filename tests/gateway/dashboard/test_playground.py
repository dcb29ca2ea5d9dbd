"""/playground: price before, one video for each model, side by side, found again by their address."""

import re
import time
import tomllib
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest

from providers.testing import FakeUpstream
from tests.gateway.dashboard.visits import Visit, visiting
from tests.gateway.live import settings_for
from tests.gateway.media_files import make_image
from tests.server import MODEL, upstream_table

SECOND = "acme/second"
RUNS = re.compile(r'id="run-(video_\w+)"')
REFERENCES = 'roles = ["reference"]\nmax_reference_images = 3'
RICH = 'parameters = ["seed", "negative_prompt", "audio"]\naudio = "optional"\ndefault_audio = true'


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    with FakeUpstream() as upstream:
        tables = tomllib.loads(
            upstream_table(upstream.base_url, extra=RICH)
            + upstream_table(upstream.base_url, name="other", model=SECOND, extra=REFERENCES)
            + upstream_table(upstream.base_url, name="free", model="free/one").replace(
                "price_per", "#price_per"
            )
            + upstream_table(upstream.base_url, name="cut", model="cut/only", extra='operations = ["edit"]')
        )["upstreams"]
        with visiting(settings_for(tmp_path_factory.mktemp("playground"), upstreams=tables)) as visit:
            yield visit


def made(visit: Visit, fields: dict[str, Any], files: Any = None) -> list[str]:
    answer = visit.post("/playground/runs", fields, files, status=303)
    assert answer.headers["location"].startswith("/playground?run=video_")
    return answer.headers["location"].partition("run=")[2].removesuffix("#runs").split(",")


def ended(visit: Visit, ids: list[str]) -> str:
    for _ in range(200):
        page = visit.page(f"/playground?run={','.join(ids)}")
        if "data-events=" not in page:
            return page
        time.sleep(0.1)
    raise AssertionError(page)


def test_a_first_visit_has_a_model_and_an_example(visit: Visit) -> None:
    page = visit.page("/playground")
    assert re.search(rf'value="{MODEL}" checked', page)
    assert page.count('name="models[]"') == page.count('type="checkbox"')
    assert "data-example=" in page
    assert "Your video appears here" in page


def test_a_model_that_makes_nothing_from_a_prompt_is_not_offered(visit: Visit) -> None:
    assert "cut/only" not in visit.page("/playground")
    answer = visit.post("/playground/quote", {"prompt": "a", "models[]": "cut/only"}, status=400)
    assert answer.json()["error"]["param"] == "models"


def test_the_form_follows_the_models_and_keeps_what_was_said(visit: Visit) -> None:
    page = visit.page(f"/playground?model={MODEL}&model={SECOND}&prompt=a+fox&seconds=8&seed=7")
    assert f"Only for {MODEL}." in page
    assert ">a fox</textarea>" in page
    assert re.search(r'value="8" selected', page)
    assert re.search(r'name="seed"[^>]*value="7"', page)


def test_the_price_follows_the_form(visit: Visit) -> None:
    fields = {"prompt": "a fox", "models[]": [MODEL, SECOND], "seconds": "8"}
    page = visit.post("/playground/quote", fields).text
    assert page.count('value="0.800000"') == 2
    assert "$1.60" in page
    assert "$2.40" in visit.post("/playground/quote", {**fields, "seconds": "12"}).text


def test_what_one_model_refuses_names_its_field_and_prices_the_other(visit: Visit) -> None:
    fields = {"prompt": "a fox", "models[]": [MODEL, SECOND], "seconds": "5"}
    page = visit.post("/playground/quote", fields).text
    assert page.count('data-param="seconds"') == 2
    refused = visit.post("/playground/quote", {**fields, "provider_options": "{"}, status=400)
    assert refused.json()["error"]["param"] == "provider_options"


def test_a_model_without_a_price_says_so(visit: Visit) -> None:
    assert (
        "<strong>no price</strong>"
        in visit.post("/playground/quote", {"prompt": "a fox", "models[]": "free/one"}).text
    )


def test_two_models_make_one_video_each_side_by_side(visit: Visit) -> None:
    ids = made(
        visit, {"prompt": "a fox & a <hare>", "models[]": [MODEL, SECOND], "seconds": "4", "audio": "false"}
    )
    assert len(ids) == 2
    page = ended(visit, ids)
    assert RUNS.findall(page) == ids
    for video_id in ids:
        assert f'src="/videos/{video_id}/content"' in page
        assert f'action="/videos/{video_id}/share"' in page
        assert f'href="/videos/{video_id}"' in page
    assert "a fox &amp; a &lt;hare&gt;" in page
    found = [visit.operator.get(f"/v1/videos/{each}").json() for each in ids]
    assert [each["model"] for each in found] == [MODEL, SECOND]
    assert {each["cost"]["status"] for each in found} == {"captured"}
    one = visit.page(f"/playground/runs/{ids[1]}")
    assert RUNS.findall(one) == ids[1:]
    assert f'src="/videos/{ids[1]}/content"' in one
    assert f'href="/videos/{ids[0]}"' in visit.page("/playground/recent")
    viewer = visit.member("developer", "playground-colleague@example.com")
    assert RUNS.findall(viewer.page(f"/playground?run={','.join(ids)}")) == ids
    assert ids[0] in visit.page("/playground"), "among the latest"


def test_an_earlier_video_fills_the_form_as_it_was_asked_for(visit: Visit) -> None:
    fields = {
        "prompt": "a lake",
        "models[]": MODEL,
        "seconds": "8",
        "seed": "0",
        "audio": "true",
        "negative_prompt": "fog",
    }
    (video_id,) = made(visit, fields)
    page = visit.page(f"/playground?from={video_id}")
    assert ">a lake</textarea>" in page
    assert re.search(r'name="seed"[^>]*value="0"', page)
    assert re.search(r'value="true" selected', page)
    assert re.search(r'name="negative_prompt"[^>]*value="fog"', page)
    program = unescape(page.partition('data-tab="curl"')[2].partition("</section>")[0])
    assert re.search(r'"audio": ?true', program)


def test_nobody_pays_more_than_was_shown(visit: Visit) -> None:
    fields = {
        "prompt": "a",
        "models[]": [MODEL, SECOND],
        "seconds": "8",
        f"quoted[{MODEL}]": "0.400000",
        f"quoted[{SECOND}]": "0.800000",
    }
    answer = visit.post("/playground/runs", fields, status=303)
    ids = answer.headers["location"].partition("run=")[2].removesuffix("#runs").split(",")
    assert len(ids) == 1
    assert visit.operator.get(f"/v1/videos/{ids[0]}").json()["model"] == SECOND
    told = visit.client.get(answer.headers["location"]).text
    assert f"{MODEL} refused it" in told
    assert "max_cost" in told


def test_what_all_refuse_is_an_error_at_its_field(visit: Visit) -> None:
    fields = {"prompt": "a", "models[]": [MODEL, SECOND], "seconds": "5"}
    error = visit.post("/playground/runs", fields, status=400).json()["error"]
    assert error["param"] == "seconds"
    assert visit.post("/playground/runs", {"prompt": "a"}, status=400).json()["error"]["param"] == "models"


def test_an_image_starts_a_video_with_and_without_javascript(visit: Visit) -> None:
    picture = make_image("png", (1280, 720))
    kept = visit.post("/playground/images", files={"image": ("fox.png", picture, "image/png")}).json()
    assert kept["name"] == "fox.png"
    by_id = {
        "prompt": "a",
        "models[]": MODEL,
        "size": "1280x720",
        "input_reference[file_id]": kept["file_id"],
    }
    plain = {"prompt": "a", "models[]": MODEL, "size": "1280x720"}
    ids = [*made(visit, by_id), *made(visit, plain, {"input_reference": ("a.png", picture, "image/png")})]
    page = ended(visit, ids)
    assert page.count("<video") == 2
    broken = visit.post(
        "/playground/images", files={"image": ("a.png", b"no picture", "image/png")}, status=400
    )
    assert broken.json()["error"]["param"]


def test_reference_images_are_a_list_with_and_without_javascript(visit: Visit) -> None:
    assert 'name="reference_images[]"' in visit.page(f"/playground?model={SECOND}")
    picture = make_image("png", (64, 64))
    kept = visit.post("/playground/images", files={"image": ("a.png", picture, "image/png")}).json()[
        "file_id"
    ]
    fields = {"prompt": "a", "models[]": SECOND}
    by_id = {**fields, "reference_images[][file_id]": [kept, kept]}
    assert "$0.40" in visit.post("/playground/quote", by_id).text
    plain = [("reference_images[]", (f"{n}.png", picture, "image/png")) for n in range(2)]
    assert made(visit, fields, plain)
    assert made(visit, by_id)


def test_foreign_and_broken_addresses_show_the_empty_form(visit: Visit) -> None:
    for query in ("run=video_1,x", "from=video_2", "model=no/such", "run=" + "video_" + "0" * 32):
        page = visit.page(f"/playground?{query}")
        assert RUNS.findall(page) == []
        assert 'action="/playground/runs"' in page
