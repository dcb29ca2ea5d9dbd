"""No URL of a stranger opens what is not public: every field that takes one, every way around, every later hop."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from gateway.app import create_app
from gateway.http.openapi import build_document
from providers import uploads
from providers.contract import Account, MediaRole, ProviderError
from providers.http import HttpDoor
from providers.spec import UpstreamSpec
from providers.testing import FakeUpstream
from providers.urls import UnsafeUrl, check_public_url
from tests.fakes import FakeProviders, fakes
from tests.fakes.demo import configuration, run
from tests.gateway.live import live, settings_for
from tests.gateway.videos.conftest import ACME
from tests.providers.wire import media
from tests.security.canary import Canary, Elsewhere, Names, canary
from tests.security.urls import FIELDS, PRIVATE, SCHEMES, TRICKS, UrlField, documented
from tests.server import Server

PUBLIC: Final = "93.184.216.34"
OPEN: Final = "open.example"  # a name that the operator lets through, at the port of the redirecting server
BAD_NAMES: Final = {
    "private.example": [["10.1.2.3"]],
    "loopback.example": [["127.0.0.1"]],
    "loopback6.example": [["::1"]],
    "mapped.example": [["::ffff:127.0.0.1"]],
    "translated.example": [["64:ff9b::7f00:1"]],
    "metadata.example": [["169.254.169.254"]],
    "zone.example": [["fe80::1%lo"]],
    "both.example": [[PUBLIC, "127.0.0.1"]],
    "later.example": [
        [],
        ["127.0.0.1"],
    ],  # at first there is none: the next try is looked up, and refused, anew
}
HOPS: Final = (
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "//127.0.0.1:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://2130706433:{port}/",
    "http://loopback.example:{port}/",
    "http://user@127.0.0.1:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/",
    "/again",
)


@dataclass
class Site:
    """A gateway with a completed video and an endpoint, beside a listener that must hear nothing."""

    http: httpx.Client
    upstream: FakeUpstream
    listener: Canary
    redirects: Elsewhere
    names: Names
    ids: dict[str, str]

    def post(self, path: str, body: Any) -> httpx.Response:
        return self.http.post(path, json=body)

    def made(self, path: str, body: Any) -> dict[str, Any]:
        answer = self.post(path, body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def ended(self, video_id: str) -> dict[str, Any]:
        return self.until(
            lambda: self.http.get(f"/v1/videos/{video_id}").json(),
            lambda video: video["status"] in {"completed", "failed"},
        )

    def until(self, look: Callable[[], Any], enough: Callable[[Any], bool]) -> Any:
        deadline = time.monotonic() + 60
        while not enough(found := look()):
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    redirects, names = Elsewhere(), Names(BAD_NAMES | {OPEN: [["127.0.0.1"]]})
    with canary() as listener, FakeUpstream(poll_after_ms=50) as upstream:
        spec = UpstreamSpec(name="acme", base_url=upstream.base_url, models=ACME.models)
        settings = settings_for(
            tmp_path_factory.mktemp("site"),
            upstreams=(spec,),
            default_model="acme/full",
            security={"allowed_private_hosts": (f"{OPEN}:{redirects.port}",)},
            log_level="CRITICAL",
        )
        with live(settings, resolve=names) as running, running.client() as http:
            found = Site(http, upstream, listener, redirects, names, {})
            video = found.made("/v1/videos", {"prompt": "a lighthouse", "model": "acme/full"})
            assert found.ended(video["id"])["status"] == "completed"
            hook = {"url": "https://a.example/hook", "name": "mine", "event_types": ["video.completed"]}
            endpoint = found.made("/v1/webhook_endpoints", hook)
            stored = {"name": "stored", "base_url": "http://127.0.0.1:9/v1", "models": [{"id": "stored/one"}]}
            found.made("/v1/upstreams", stored)
            found.ids = {"video_id": video["id"], "endpoint_id": endpoint["id"], "name": "stored"}
            yield found
    redirects.close()


def test_no_field_that_takes_a_url_is_forgotten(tmp_path: Path) -> None:
    document = build_document(create_app(settings_for(tmp_path)))
    assert documented(document) == {(each.operation, each.name) for each in FIELDS}, (
        "add what is new to FIELDS of tests/security/urls.py, and say who opens it"
    )


def corpus(field: UrlField) -> tuple[str, ...]:
    if field.kind == "operator":
        return (*SCHEMES, "http://user:word@example.com/v1", "http://", "http://example.com/v1?key=a")
    return SCHEMES if field.kind == "shown" else (*PRIVATE, *TRICKS, *SCHEMES)


@pytest.mark.parametrize("field", FIELDS, ids=lambda each: f"{each.operation} {each.name}")
def test_a_field_refuses_what_is_not_public(site: Site, field: UrlField) -> None:
    asked = len(site.upstream.requests("POST"))
    path = field.operation.partition(" ")[2].format(**site.ids)
    for form in corpus(field):
        body = field.body(form.format(port=site.listener.port))
        if "video" in body:
            body["video"] = {"id": site.ids["video_id"]}
        answer = site.post(path, body)
        assert answer.status_code == 400, (form, answer.text)
        error = answer.json()["error"]
        assert error["param"] == field.name, (form, error)
        assert "onereel" not in error["message"]
        assert len(error["message"]) > 20
    assert len(site.upstream.requests("POST")) == asked
    assert site.listener.heard == []


def pictured(site: Site, url: str) -> str:
    """The id of a new video that begins with the picture at a URL."""
    body = {"prompt": "x", "size": "720x1280", "input_reference": {"image_url": url}}
    return str(site.made("/v1/videos", body)["id"])


def test_a_name_of_a_private_address_fails_the_video(site: Site) -> None:
    asked = len(site.upstream.requests("POST"))
    names = [*BAD_NAMES, "unknown.example"]
    videos = {name: pictured(site, f"http://{name}:{site.listener.port}/a.png") for name in names}
    for name, video_id in videos.items():
        ended = site.ended(video_id)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "input_media"), name
        said = "could not connect" if name == "unknown.example" else "private or reserved address"
        assert said in ended["error"]["message"]
        assert "127.0.0.1" not in ended["error"]["message"]
    assert len(site.upstream.requests("POST")) == asked
    assert site.listener.heard == []


def test_a_redirect_to_a_private_address_fails_the_video(site: Site) -> None:
    site.redirects.asked.clear()
    site.redirects.locations["/again"] = "/again"
    videos = {}
    for n, hop in enumerate(HOPS):
        site.redirects.locations[f"/{n}"] = hop.format(port=site.listener.port)
        videos[hop] = pictured(site, f"http://{OPEN}:{site.redirects.port}/{n}")
    for hop, video_id in videos.items():
        ended = site.ended(video_id)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "input_media"), hop
    again = ["/again"] * 3  # four requests in all, and no more
    assert sorted(site.redirects.asked) == sorted([*(f"/{n}" for n in range(len(HOPS))), *again])
    assert site.listener.heard == []


def test_a_name_is_looked_up_once_and_there_it_is_connected(site: Site) -> None:
    """Between a check and a connection a name could turn private: there is no such moment."""
    site.names.answers["turning.example"] = [["127.0.0.1"], [PUBLIC]]  # the second answer would pass
    video = pictured(site, f"http://turning.example:{site.listener.port}/a.png")
    assert "private" in site.ended(video)["error"]["message"]
    assert site.names.asked.count("turning.example") == 1


def test_a_webhook_is_not_sent_to_a_private_address(site: Site) -> None:
    """`OPEN` redirects there; a delivery follows nobody."""
    site.redirects.locations |= {"/hook": f"http://127.0.0.1:{site.listener.port}/"}
    ports = {name: site.redirects.port if name == OPEN else site.listener.port for name in [*BAD_NAMES, OPEN]}
    endpoints = []
    for name, port in ports.items():
        hook = {"url": f"http://{name}:{port}/hook", "name": name, "event_types": ["video.completed"]}
        endpoints.append(site.made("/v1/webhook_endpoints", hook)["id"])
        path = f"/v1/webhook_endpoints/{endpoints[-1]}/test"
        tested = site.post(path, {"event_type": "video.completed"}).json()
        seen = tested["status_code"] if name == OPEN else tested["error"]["code"]
        assert seen == (302 if name == OPEN else "webhook_unreachable"), tested
        site.made("/v1/videos", {"prompt": "x", "webhook_url": f"http://{name}:{port}/own"})
    for each in [*endpoints, "default"]:
        wanted = len(ports) if each == "default" else 1
        tried = site.until(partial(deliveries, site, each), partial(all_tried, wanted))
        assert not [delivery for delivery in tried if delivery["status"] == "delivered"]
    assert site.listener.heard == []
    for each in endpoints:
        site.http.delete(f"/v1/webhook_endpoints/{each}")


def deliveries(site: Site, endpoint: str) -> list[dict[str, Any]]:
    return list(site.http.get(f"/v1/webhook_endpoints/{endpoint}/deliveries?limit=100").json()["data"])


def all_tried(wanted: int, found: list[dict[str, Any]]) -> bool:
    return len(found) >= wanted and all(each["attempts"] for each in found)


async def test_what_an_upstream_names_is_opened_no_more_than_what_a_client_names() -> None:
    """Where a result lies, what to poll, where to put a file, who signs: all these are words of another server."""
    with canary() as listener:
        door = HttpDoor()
        client = door.account(Account("acme", "http://127.0.0.1:9/v1", "key"))
        picture = media(MediaRole.FIRST_FRAME, b"x", "image/png")
        for form in (*PRIVATE, *TRICKS, *SCHEMES):
            target = form.format(port=listener.port)
            for opened in (
                door.fetch(target, max_bytes=10, timeout=5),
                door.post(target, b"{}", {}, 5),
                client.stream("GET", target),
                client.request("GET", target),
                uploads.put(door, target, picture, {}, 10),
            ):
                with pytest.raises(ProviderError):
                    await opened
            assert listener.heard == [], target
        await door.close()


@given(
    st.lists(
        st.sampled_from(
            [
                "a.example",
                "127.0.0.1",
                "[::1]",
                "@",
                "#",
                "?",
                "/",
                ":",
                "80",
                "%",
                "%2e",
                "\\",
                ".",
                "xn--",
                "é",
                "\u3002",
                "℀",
                ";",
            ]
        ),
        min_size=1,
        max_size=7,
    ),
    st.sampled_from(["http://", "https://", "http:/", "HTTP://"]),
)
def test_what_was_checked_is_what_is_opened(pieces: list[str], scheme: str) -> None:
    """Three libraries read the URL after our check: all must find the host that was checked."""
    url = scheme + "".join(pieces)
    try:
        checked = check_public_url(url)
        sent = httpx.Request("GET", url).url
    except (UnsafeUrl, httpx.InvalidURL, ValueError):
        return
    opened = URL(str(sent), encoded=True)
    assert (opened.scheme, (opened.raw_host or "").rstrip("."), opened.port) == checked


def test_no_provider_sends_us_to_a_private_address() -> None:
    """Every adapter meets a provider whose result lies on a private address."""
    with FakeProviders() as fake:
        config = configuration(fake).replace(fake.foreign_host, "elsewhere.example:80")
        with Server(config=config) as server:
            lines = run(server, fakes())
        asked = fake.requests()
    assert len(lines) == len(fakes())
    assert not [each["path"] for each in asked if each["path"].startswith("/foreign")]
    failed = {line.provider: line.error for line in lines if line.status != "completed"}
    assert len(failed) > len(lines) / 2  # the others give the file themselves
    for provider, error in failed.items():
        assert "private network" in error or "private or reserved" in error, (provider, error)
