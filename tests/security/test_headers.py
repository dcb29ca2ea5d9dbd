"""Nothing that a client writes becomes a header line of ours: to it, to a receiver, or to an upstream."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import pytest

from providers.testing import FakeUpstream
from tests.gateway.media_files import make_image
from tests.security.canary import Elsewhere
from tests.security.wire import Answer, exchange, request
from tests.server import MODEL, Server

EVIL: Final = "evil.example"
VALUES: Final = (
    "a\r\nX-Evil: yes",
    "a\nX-Evil: yes",
    "a\rX-Evil: yes",
    "a\r\n\r\n<script>",
    'a"\r\nX-Evil: yes',
    "%0d%0aX-Evil: yes",
    "a\u2028X-Evil: yes",
    "a\u0085X-Evil: yes",
    "\u560a\u560dX-Evil: yes",  # whose last bytes are those of \r\n
    'a"; filename="evil.html',
    "a'b; filename*=UTF-8''evil",
    "=?utf-8?q?=0d=0aX-Evil:_yes?=",
    "..\\..\\..//etc/passwd",
    "h\u00e9 \u20ac \U0001f600 \u202egnp",
    "\x7f\x1b[31m",
    "\u00ff" * 300,
    "a" * 5000,
)
SENT: Final = (
    "Idempotency-Key",
    "X-Request-Id",
    "X-Correlation-Id",
    "X-Onereel-Project",
    "X-Stainless-Retry-Count",
    "traceparent",
    "tracestate",
    "baggage",
    "Last-Event-Id",
    "Range",
    "If-None-Match",
    "If-Range",
    "Accept",
    "Accept-Language",
    "Content-Type",
    "Content-Encoding",
    "Origin",
    "Referer",
    "User-Agent",
    "Cookie",
    "Authorization",
    "Host",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Prefix",
    "X-Original-URL",
    "X-HTTP-Method-Override",
    "OpenAI-Organization",
    "Stripe-Signature",
)
OURS: Final = frozenset(
    [
        "date",
        "content-type",
        "content-length",
        "x-request-id",
        "openai-processing-ms",
        "x-should-retry",
        "connection",
        "accept-ranges",
        "cache-control",
        "etag",
        "content-range",
        "content-disposition",
        "x-content-type-options",
        "www-authenticate",
        "transfer-encoding",
        "retry-after",
        "allow",
        "content-security-policy",
        "referrer-policy",
        "openai-poll-after-ms",
        "x-onereel-cost",
        "x-onereel-cost-status",
    ]
)


@dataclass
class Site:
    """A server whose receiver and upstream keep what headers they get."""

    server: Server
    http: httpx.Client
    upstream: FakeUpstream
    receiver: Elsewhere
    ids: dict[str, str] = field(default_factory=dict)

    def ended(self, video_id: str) -> str:
        deadline = time.monotonic() + 60
        while (video := self.http.get(f"/v1/videos/{video_id}").json())["status"] not in {
            "completed",
            "failed",
        }:
            assert time.monotonic() < deadline, video
            time.sleep(0.05)
        return str(video["status"])


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    receiver = Elsewhere(200)
    with FakeUpstream(poll_after_ms=50) as upstream:
        env = {
            "ONEREEL_SECURITY__ALLOWED_PRIVATE_HOSTS": json.dumps([f"127.0.0.1:{receiver.port}"]),
            "ONEREEL_TRACING__ENDPOINT": f"http://127.0.0.1:{receiver.port}",
            "ONEREEL_PUBLIC_URL": "https://video.example",
        }
        with Server(upstream=upstream, env=env) as server:
            headers = {"Authorization": f"Bearer {server.admin_key}"}
            with httpx.Client(base_url=server.base_url, headers=headers, timeout=60) as http:
                made = Site(server, http, upstream, receiver)
                body = {"prompt": "x", "model": MODEL, "webhook_url": f"http://127.0.0.1:{receiver.port}/own"}
                made.ids["video"] = http.post("/v1/videos", json=body).json()["id"]
                assert made.ended(made.ids["video"]) == "completed"
                yield made
            assert '"request_failed"' not in server.log_path.read_text()
    receiver.close()


def clean(headers: dict[str, str], what: Any) -> None:
    """Only names that we give, and in no value anything that was sent or that is no visible ASCII."""
    assert set(headers) <= OURS, (what, headers)
    for value in headers.values():
        assert re.fullmatch(r"[\x20-\x7e]*", value), (what, value)
        assert EVIL not in value, what


def test_no_header_of_a_request_comes_back(site: Site) -> None:
    """As raw bytes: what no library would send."""
    places = [
        ("GET", f"/v1/videos/{site.ids['video']}/content"),
        ("GET", "/v1/models"),
        ("POST", "/v1/videos/quote"),
        ("GET", "/v1/nothing"),
    ]
    for name in SENT:
        for value in (EVIL, f"http://{EVIL}/", *VALUES):
            for method, path in places:
                answer = told(site, method, path, name, value)
                assert answer.status < 500, (name, value, answer)
                assert answer.status or "\r" in value or "\n" in value, (name, value)
                clean(answer.headers, (name, value))
                assert answer.headers.get("x-request-id", "req_").startswith("req_")


def told(site: Site, method: str, path: str, name: str, value: str) -> Answer:
    body = json.dumps({"prompt": "x", "model": MODEL}).encode() if method == "POST" else b""
    lines = {"Content-Type": "application/json", "Authorization": f"Bearer {site.server.admin_key}"}
    lines.pop(name, None)
    head = [f"{known}: {each}" for known, each in lines.items()]
    text = value.encode().decode("latin-1")  # as UTF-8 on the wire
    data = request(method, path, body, headers=[*head, f"{name}: {text}"])
    if name == "Host":
        data = data.replace(b"Host: 127.0.0.1\r\n", b"", 1)
    return exchange(site.server.port, [data])


def test_no_answer_believes_who_says_where_it_is(site: Site) -> None:
    """Addresses that we tell are those of the settings; nobody is sent to another host."""
    lies = {
        "Host": EVIL,
        "X-Forwarded-Host": EVIL,
        "X-Forwarded-Proto": "gopher",
        "X-Forwarded-Prefix": f"//{EVIL}",
        "Forwarded": f"host={EVIL};proto=https",
        "Origin": f"https://{EVIL}",
        "Referer": f"https://{EVIL}/",
    }
    for path in (
        *(
            "/",
            "/docs",
            "/docs/",
            "/docs/api",
            "/docs/api/openapi.json",
            "/openapi.json",
            "/v1/models",
            "/v1/videos",
            "/health/ready",
        ),
        *(
            f"//{EVIL}/..",
            f"/\\{EVIL}",
            f"/%2f%2f{EVIL}",
            f"/docs//{EVIL}",
            f"/v1/videos//{EVIL}/",
            f"/.{EVIL}",
        ),
    ):
        answer = site.http.get(site.server.base_url + path, headers=lies, follow_redirects=False)
        if answer.status_code == 303:  # the overview, for people
            assert answer.headers["location"] == "/login", path
            continue
        assert not 300 <= answer.status_code < 400, path
        assert "location" not in answer.headers
        assert not any(name.startswith("access-control-") for name in answer.headers), path
        if EVIL not in path:
            assert EVIL not in answer.text, path
    video = site.http.post("/v1/videos", json={"prompt": "x", "model": MODEL}, headers=lies)
    assert video.status_code == 200
    assert EVIL not in video.text
    assert EVIL not in json.dumps([each["headers"] | each["fields"] for each in site.upstream.requests()])


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_a_file_s_name_stays_in_its_header(site: Site, value: str) -> None:
    """The name comes back as one quoted word and in the form of RFC 6266, and goes to an upstream as well."""
    data = make_image("PNG", (1280, 720))
    answer = site.http.post("/v1/files", content=form(value, "file", data, "vision"), headers=FORM)
    if answer.status_code == 400:  # no form at all
        assert answer.json()["error"]["code"] in {"invalid_multipart", "invalid_encoding"}
        return
    kept = answer.json()
    assert not set("\r\n\0") & set(kept["filename"])
    content = exchange(
        site.server.port,
        [request("GET", f"/v1/files/{kept['id']}/content", key=site.server.admin_key)],
    )
    assert content.status == 200
    clean(content.headers, value)
    disposition = content.headers["content-disposition"]
    assert re.fullmatch(r"attachment; filename=\"[^\"\\]*\"(; filename\*=UTF-8''[\w.%~-]+)?", disposition)
    assert content.headers["content-type"] == "image/png"
    before = len(site.upstream.requests("POST"))
    picture = {
        "input_reference": {"file_id": kept["id"]},
        "prompt": value,
        "model": MODEL,
        "size": "1280x720",
    }
    extra = {"user": value[:256], "metadata": {"a": value[:512], value[:64]: "b"}}
    made = site.http.post(
        "/v1/videos", json={**picture, **extra}, headers={"Idempotency-Key": f"file-{hash(value)}"}
    )
    assert made.status_code == 200, made.text
    assert site.ended(made.json()["id"]) == "completed"
    sent = site.upstream.requests("POST")[before]
    assert "x-evil" not in sent["headers"]
    assert set(sent["files"]) == {"input_reference"}
    assert not any("evil" in name.lower() for name in sent["fields"])
    assert all(re.fullmatch(r"[\x20-\x7e]*", each) for each in sent["headers"].values())


FORM: Final = {"Content-Type": "multipart/form-data; boundary=Xx"}


def form(filename: str, name: str, data: bytes, purpose: str) -> bytes:
    """A form whose file has this name, byte for byte."""
    head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"'.encode()
    text = f'--Xx\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n--Xx\r\n'.encode()
    return text + head + b"\r\nContent-Type: image/png\r\n\r\n" + data + b"\r\n--Xx--\r\n"


def test_a_webhook_carries_our_headers_only(site: Site) -> None:
    headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "evil=1", "baggage": "evil=1"}
    for n, value in enumerate(VALUES):
        hook = f"http://127.0.0.1:{site.receiver.port}/hook{n}"
        body = {
            "prompt": value,
            "model": MODEL,
            "webhook_url": hook,
            "metadata": {"a": value[:512]},
            "user": value[:256],
        }
        video = site.http.post("/v1/videos", json=body, headers=headers)
        assert video.status_code == 200, video.text
    deadline = time.monotonic() + 60
    wanted = {f"/hook{n}" for n in range(len(VALUES))}
    while not wanted <= set(site.receiver.posted) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert wanted <= set(site.receiver.posted)
    known = {
        "host",
        "accept",
        "accept-encoding",
        "content-type",
        "content-length",
        "user-agent",
        "connection",
    }
    signed = {"webhook-id", "webhook-timestamp", "webhook-signature"}
    told = [each for each in site.receiver.headers if "webhook-id" in each]
    for each in told:
        assert set(each) == known | signed or set(each) == (known | signed) - {"connection"}, each
        assert all(re.fullmatch(r"[\x20-\x7e]*", value) for value in each.values())


@pytest.mark.parametrize(
    "value",
    [
        f"00-{'a' * 32}-{'b' * 16}-01\r\nX-Evil: yes",
        f"00-{'a' * 32}-{'b' * 16}-01, 00-{'c' * 32}-{'d' * 16}-01",
        f"00-{'A' * 32}-{'b' * 16}-01",
        f"00-{'0' * 32}-{'b' * 16}-01",
        f"ff-{'a' * 32}-{'b' * 16}-01",
        f"00-{'a' * 32}-{'b' * 16}-01-{EVIL}",
        "\u00e9" * 55,
        "",
    ],
)
def test_a_broken_trace_is_not_gone_on_with(site: Site, value: str) -> None:
    before = len(site.upstream.requests())
    body = json.dumps({"prompt": "x", "model": MODEL}).encode()
    lines = [f"traceparent: {value.encode().decode('latin-1')}", "Content-Type: application/json"]
    answer = exchange(
        site.server.port, [request("POST", "/v1/videos", body, key=site.server.admin_key, headers=lines)]
    )
    assert answer.status == 200
    assert site.ended(json.loads(answer.body)["id"]) == "completed"
    for each in site.upstream.requests()[before:]:
        assert "a" * 32 not in each["headers"].get("traceparent", "") or "\r" in value
        assert "x-evil" not in each["headers"]
