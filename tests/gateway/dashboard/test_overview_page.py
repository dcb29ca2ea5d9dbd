"""/ and /budgets: what is spent and what may be, with a real video behind the numbers."""

import csv
import io
import re
import time
import tomllib
from collections.abc import Iterator
from html import unescape

import pytest

from providers.testing import FakeUpstream
from tests.gateway.dashboard.visits import Visit, visiting
from tests.gateway.live import settings_for
from tests.server import MODEL, upstream_table


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    with FakeUpstream() as upstream:
        tables = tomllib.loads(upstream_table(upstream.base_url))["upstreams"]
        with visiting(settings_for(tmp_path_factory.mktemp("overview"), upstreams=tables)) as visit:
            assert "Nothing has been made in this time" in visit.page("/")
            _make_video(visit)
            yield visit


def _make_video(visit: Visit) -> None:
    """One of four seconds at ten cents each."""
    client = visit.operator
    body = {"prompt": "a fox", "model": MODEL, "seconds": "4"}
    video = client.post("/v1/videos", json=body).json()
    for _ in range(200):
        if _is_done(visit, video):
            return
        time.sleep(0.1)
    raise AssertionError(video)


def _is_done(visit: Visit, video: dict[str, str]) -> bool:
    return bool(visit.operator.get(f"/v1/videos/{video['id']}").json()["status"] == "completed")


def figures(page: str) -> dict[str, str]:
    found = re.findall(
        r'<div class="stat card"[^>]*><span class="muted">(.*?)</span><strong class="num">(.*?)</strong>',
        page,
    )
    return dict(found)


@pytest.mark.parametrize("query", ["", "?period=24h&by=key", "?period=12mo&by=project", "?by=user"])
def test_a_finished_video_is_in_every_view(visit: Visit, query: str) -> None:
    found = figures(visit.page(f"/{query}"))
    assert (found["Spend"], found["Videos"], found["Success rate"]) == ("$0.40", "1", "100.0 %")
    assert found["Now in this project"] == "0 running"


def test_groups_bear_names_and_lead_on(visit: Visit) -> None:
    assert f"model={MODEL.replace('/', '%2F')}" in unescape(visit.page("/"))
    assert "operator key" in visit.page("/?by=key")
    assert figures(visit.page("/?model=acme%2Fnone"))["Videos"] == "0"
    assert visit.page("/").count("<svg class") >= 2


def test_the_table_is_the_same_as_a_file(visit: Visit) -> None:
    answer = visit.client.get("/overview.csv?period=24h&by=model")
    assert answer.headers["content-type"].startswith("text/csv")
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["name"], row["videos"], row["spend_usd"]) == (MODEL, "1", "0.400000")
    assert float(row["video_seconds"]) == 4


@pytest.mark.parametrize(
    ("query", "param"), [("period=8d", "period"), ("by=prompt", "by"), ("from=never", "from")]
)
def test_what_makes_no_sense_is_said(visit: Visit, query: str, param: str) -> None:
    answer = visit.client.get(f"/?{query}", headers={"X-Onereel": "fetch"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_budget_from_first_to_last(visit: Visit) -> None:
    fields = {"scope": "organization", "period": "month", "amount_usd": "25.00", "hard": "true"}
    refused = visit.post("/budgets", {**fields, "amount_usd": "-1"}, status=400)
    assert refused.json()["error"]["param"] == "amount_usd"
    visit.post("/budgets", fields)
    page = visit.page("/budgets")
    assert "The organization" in page
    assert "$0.00 of $25.00" in page
    assert "$0.00 of $25.00" in visit.page("/")
    found = re.search(r'action="/budgets/(bud_\w+)"', page)
    assert found
    path = f"/budgets/{found[1]}"
    visit.post(path, {"amount_usd": "30.00"})
    page = visit.page("/budgets")
    assert "$0.00 of $30.00" in page
    assert "tells only" in page
    visit.member("viewer").page("/budgets", 403)
    admin = visit.member("admin")
    assert "$0.00 of $30.00" in admin.page("/budgets")
    assert "/delete" not in admin.page("/budgets")
    admin.post(path, {"amount_usd": "1.00"}, status=403)
    admin.post("/budgets", fields, status=403)
    visit.post(f"{path}/delete")
    assert "No budgets" in visit.page("/budgets")
    visit.post(f"{path}/delete", status=404)


def test_a_budget_of_one_project_counts_what_is_made(visit: Visit) -> None:
    of_project = {"scope": "project", "project_id": "proj_default", "period": "day"}
    visit.post("/budgets", {**of_project, "seconds": "60", "hard": "true"})
    assert "<h2>Project Default" in visit.page("/budgets")
    _make_video(visit)
    assert "4 of 60 s" in visit.page("/budgets")
