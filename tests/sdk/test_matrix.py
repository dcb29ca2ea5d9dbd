"""A small part of the SDK matrix with the installed openai, and proof that the matrix sees what is wrong."""

import json
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from providers import testing_media
from tests.sdk.install import SDKS
from tests.sdk.matrix import (
    ABSENT,
    Bench,
    Cell,
    Column,
    bench,
    run_one,
    upstream_problem,
    video_problem,
)
from tests.sdk.proxy import Canned, Exchange, Proxy
from tests.sdk.vendor import SPEC, VendorSchema

SDK = next(sdk for sdk in SDKS if sdk.name == f"python-{openai.__version__}")
ROWS = ("prompt only", "(file_id)", "videos.poll", "remix", "extend (id)", "unwrap", "400", "lost answer")


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    with bench([SDK]) as made:
        yield made


def test_stock_sdk_against_a_real_server(shared: Bench) -> None:
    column = run_one(shared, SDK, (sys.executable, "-m", "tests.sdk.scenario"), ROWS)

    wrong = {row: cell.detail for row, cell in column.cells.items() if cell.state != "ok"}
    assert not wrong, f"{wrong}\n{column.log}"
    assert len(column.cells) >= len(ROWS)


def test_every_empty_cell_belongs_to_a_known_version() -> None:
    names = {sdk.name for sdk in SDKS}
    assert all(empty < names for empty in ABSENT.values())


def request(**changes: Any) -> dict[str, Any]:
    sent = {"path": "/v1/videos", "fields": {"prompt": "p", "seconds": "4"}, "files": {}}
    return {**sent, **changes}


@pytest.mark.parametrize(
    ("requests", "problem"),
    [
        ([request()], None),
        ([], "0 requests"),
        ([request(), request()], "2 requests"),
        ([request(path="/v1/videos/edits")], "/v1/videos/edits"),
        ([request(fields={"prompt": "p", "seconds": "8"})], "seconds='8'"),
        ([request(files={"video": [{"sha256": "x"}]})], "other files"),
    ],
)
def test_what_reached_the_upstream_is_compared(requests: list[dict[str, Any]], problem: str | None) -> None:
    expected = {"path": "/v1/videos", "prompt": "p", "fields": {"seconds": "4"}, "files": {}}
    found = upstream_problem(expected, requests)
    assert found is None if problem is None else problem in str(found)


def test_length_and_size_of_the_file_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(testing_media.mp4(720, 1280, Fraction(4)))
    expected = {"path": str(path), "seconds": "4", "size": "720x1280"}
    assert video_problem(expected) is None
    assert video_problem({**expected, "seconds": "8"}) is not None
    assert video_problem({**expected, "size": "1280x720"}) is not None


@pytest.mark.skipif(not SPEC.exists(), reason="the vendor's schema lies beside the repository")
def test_vendor_schema_refuses_wrong_answers() -> None:
    schema = VendorSchema()
    deleted = {"id": "video_1", "object": "video.deleted", "deleted": True}

    def problem(method: str, path: str, status: int, answer: Any) -> str | None:
        exchange = Exchange(method, path, "0", 0.0, status, answer)
        assert schema.covers(exchange)
        return schema.problem(exchange)

    assert problem("DELETE", "/v1/videos/video_1", 200, deleted) is None
    assert problem("DELETE", "/v1/videos/video_1", 200, {"id": "video_1"}) is not None
    assert problem("GET", "/v1/videos/video_1", 200, {"id": "video_1"}) is not None
    assert problem("GET", "/v1/videos/characters/char_1", 200, deleted) is not None
    assert problem("POST", "/v1/videos", 400, {"detail": "wrong"}) is not None


def test_proxy_loses_answers_it_was_told_to_lose(shared: Bench) -> None:
    canned = Canned(429, "busy", (("retry-after", "2"),))
    proxy = Proxy(shared.server.port, ["cut", canned]).start()
    url = f"http://127.0.0.1:{proxy.port}/health/live"
    try:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(url)
        refused = httpx.get(url)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
        assert httpx.get(url).json() == {"status": "ok"}
        assert [each.status for each in proxy.exchanges] == [200, 0, 200]
    finally:
        proxy.close()


def test_a_cell_that_failed_keeps_its_first_reason() -> None:
    column = Column(SDK, {"a": Cell("ok"), "b": Cell("FAIL", "first"), "c": Cell("-")})
    for row in ("a", "b", "c", "d"):
        column.fail(row, "later")
    assert json.dumps({row: cell.detail for row, cell in column.cells.items()}) == json.dumps(
        {"a": "later", "b": "first", "c": ""}
    )
