"""The pages of webhook endpoints, before a real receiver and a real video."""

import re
import threading
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from providers.testing import FakeUpstream
from tests.gateway.dashboard.visits import Visit, visiting
from tests.gateway.live import settings_for
from tests.server import MODEL, upstream_table

SECRET = re.compile(r"whsec_[\w+/=]{20,}")
ENDPOINT = re.compile(r'href="/webhooks/(we_\w+)"')
EVENTS = ["video.completed", "video.failed"]


@dataclass
class Receiver:
    """Somebody's server that takes events and answers `status`."""

    status: int = 200
    signatures: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            told.signatures.append(self.headers["webhook-signature"])
            self.send_response(told.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}/hook"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield told
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def visit(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    with FakeUpstream(poll_after_ms=20) as upstream:
        configured = tomllib.loads(upstream_table(upstream.base_url))
        private = {"allowed_private_hosts": [receiver.url.split("/")[2]]}
        folder = tmp_path_factory.mktemp("webhooks")
        with visiting(settings_for(folder, security=private, **configured)) as visit:
            yield visit


def new_endpoint(visit: Visit, url: str, name: str = "shop") -> tuple[str, str]:
    made = visit.post("/webhooks/new", {"name": name, "url": url, "event_types[]": EVENTS})
    page, found = unescape(made.text), ENDPOINT.search(made.text)
    secret = SECRET.search(page)
    assert found
    assert secret
    return found[1], secret[0]


def test_an_endpoint_from_its_first_test_to_its_end(visit: Visit, receiver: Receiver) -> None:
    assert "No endpoint yet" in visit.page("/webhooks")
    endpoint, secret = new_endpoint(visit, receiver.url)
    page = visit.page(f"/webhooks/{endpoint}")
    assert secret not in page
    assert receiver.url in page
    assert "Nothing was sent yet" in page
    receiver.status = 500
    visit.post(f"/webhooks/{endpoint}/test", {"event_type": "video.failed"})
    assert "HTTP 500. It was not accepted" in unescape(visit.page(f"/webhooks/{endpoint}"))
    receiver.status = 200
    visit.post(f"/webhooks/{endpoint}/test", {"event_type": "video.failed"})
    assert "HTTP 200. It was accepted" in unescape(visit.page(f"/webhooks/{endpoint}"))
    rotated = SECRET.search(
        unescape(
            visit.post(f"/webhooks/{endpoint}/rotate", {"keep_old_secret_active_for_24_hours": "true"}).text
        )
    )
    assert rotated
    assert rotated[0] != secret
    visit.post(f"/webhooks/{endpoint}/test", {"event_type": "video.completed"})
    assert [len(each.split()) for each in receiver.signatures[-2:]] == [1, 2]
    visit.post(
        f"/webhooks/{endpoint}", {"name": "till", "url": receiver.url, "event_types[]": ["video.failed"]}
    )
    changed = visit.operator.get(f"/v1/webhook_endpoints/{endpoint}").json()
    assert (changed["name"], changed["event_types"]) == ("till", ["video.failed"])
    visit.post(f"/webhooks/{endpoint}/delete")
    visit.page(f"/webhooks/{endpoint}", 404)


def test_what_a_video_sends_is_listed_and_sent_again(visit: Visit, receiver: Receiver) -> None:
    endpoint, _ = new_endpoint(visit, receiver.url)
    before = len(receiver.signatures)
    body = {"model": MODEL, "prompt": "a cat", "seconds": "4", "webhook_url": receiver.url + "?own"}
    video = visit.operator.post("/v1/videos", json=body).json()["id"]

    def arrived(count: int) -> None:
        deadline = time.monotonic() + 30
        while len(receiver.signatures) < before + count:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    arrived(2)
    for each in (endpoint, "default"):
        deadline = time.monotonic() + 10
        while (page := visit.page(f"/webhooks/{each}")).count(">delivered<") < 1:
            assert time.monotonic() < deadline, page
            time.sleep(0.05)
        assert f'href="/videos/{video}"' in page
        again = re.search(rf"/webhooks/{each}/deliveries/(\w+)/redeliver", page)
        assert again
        visit.post(again[0])
    arrived(4)
    visit.post(f"/webhooks/{endpoint}/deliveries/whd_none/redeliver", status=404)
    told = SECRET.search(unescape(visit.post("/webhooks/default/rotate").text))
    assert told
    for path in ("/webhooks/default/delete", "/webhooks/default/test", "/webhooks/default"):
        visit.post(path, {"event_type": "video.failed"}, status=400)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": "x", "event_types[]": EVENTS}, "url"),
        ({"name": "x", "url": "http://10.0.0.1/", "event_types[]": EVENTS}, "url"),
        ({"name": "x", "url": "https://example.com"}, "event_types"),
        ({"url": "https://example.com", "event_types[]": EVENTS}, "name"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(visit: Visit, fields: dict[str, Any], param: str) -> None:
    assert visit.post("/webhooks/new", fields, status=400).json()["error"]["param"] == param


def test_nobody_answers_a_test(visit: Visit, receiver: Receiver) -> None:
    endpoint, _ = new_endpoint(visit, receiver.url.replace("http://127.0.0.1", "https://webhook.invalid"))
    told = visit.post(f"/webhooks/{endpoint}/test", {"event_type": "video.failed"}, status=400).json()[
        "error"
    ]
    assert told["code"] == "webhook_unreachable"


def test_an_endpoint_of_another_project_does_not_exist(visit: Visit) -> None:
    made = visit.operator.post("/v1/organizations", json={"name": "Elsewhere"}).json()
    there = {"X-Onereel-Project": made["default_project_id"]}
    body = {"name": "theirs", "url": "https://example.com", "event_types": EVENTS}
    foreign = visit.operator.post("/v1/webhook_endpoints", json=body, headers=there).json()["id"]
    developer = visit.member("developer")
    for each in (visit, developer):
        each.page(f"/webhooks/{foreign}", 404)
        for path in ("", "/delete", "/rotate", "/test", "/deliveries/whd_1/redeliver"):
            fields = {"name": "x", "event_types[]": EVENTS} if not path else {}
            fields = {"event_type": "video.failed"} if path == "/test" else fields
            each.post(f"/webhooks/{foreign}{path}", fields, status=404)
