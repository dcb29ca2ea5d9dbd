"""A real server that logs all it can, in good times and in bad: none of its secrets, nobody's prompt, is on any line."""

import base64
import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest

from providers.testing import FakeUpstream
from tests.gateway.media_files import make_image
from tests.security.canary import Elsewhere
from tests.security.wire import exchange, request
from tests.server import MODEL, ROOT, Server, free_port, serve_command, upstream_table

PROMPTS: Final = (
    "a {} at dusk",
    'he said "{}" and left',
    "two\nlines of {}",
    "it's {} \\ \u00e9\U0001f600",
    "{} " + "long " * 3000,
    "long " * 3000 + "{}",
)
WAITS: Final = 60  # seconds, for a server that cannot start to say so
LEVELS: Final = ("json", "console")


class Secrets:
    """Words that occur nowhere else, by what they are."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def word(self, what: str, before: str = "", after: str = "") -> str:
        """Make one; `before` and `after` are its usual dress."""
        made = uuid4().hex
        self.words[what] = made[:12]  # half of a secret is too much, too
        return f"{before}{made}{after}"

    def known(self, what: str, value: str) -> str:
        """Remember one that the server made."""
        self.words[what] = value
        return value

    def found(self, text: str) -> dict[str, str]:
        """Which of them are in a text, and where."""
        return {
            what: text[max(0, text.index(word) - 200) :][: 250 + len(word)]
            for what, word in self.words.items()
            if word in text
        }


def environment(secrets: Secrets, log_format: str) -> dict[str, str]:
    """Every setting that is a secret, and addresses with one at which nobody answers."""
    nobody = free_port()
    key = base64.urlsafe_b64encode(os.urandom(32)).decode()
    return {
        "ONEREEL_LOG_LEVEL": "DEBUG",
        "ONEREEL_LOG_FORMAT": log_format,
        "ONEREEL_SECURITY__ENCRYPTION_KEYS": json.dumps([secrets.known("encryption key", key)]),
        "ONEREEL_REDIS_URL": f"redis://:{secrets.word('redis password')}@127.0.0.1:{nobody}/0",
        "ONEREEL_STRIPE__API_KEY": secrets.word("stripe key", "sk_test_"),
        "ONEREEL_STRIPE__WEBHOOK_SECRET": secrets.word("stripe webhook secret", "whsec_"),
        "ONEREEL_STRIPE__API_BASE": f"http://127.0.0.1:{nobody}",
        "ONEREEL_ROUTING__PATIENCE_SECONDS": "2",
        "ONEREEL_JOBS__UNKNOWN_GRACE_SECONDS": "1",
        "ONEREEL_JOBS__LOOKUP_WAIT_SECONDS": "1",
        "ONEREEL_METRICS__TOKEN": secrets.word("metrics token"),
        "ONEREEL_TRACING__ENDPOINT": f"http://127.0.0.1:{nobody}",
        "ONEREEL_TRACING__HEADERS": f"authorization=Bearer {secrets.word('tracing token')}",
        "ONEREEL_PUBLIC_URL": f"http://127.0.0.1:{nobody}",
    }


class Visit:
    """A server, and a client who tells it secrets."""

    def __init__(self, server: Server, secrets: Secrets, upstream: FakeUpstream, receiver: Elsewhere) -> None:
        self.server, self.secrets, self.upstream, self.receiver = server, secrets, upstream, receiver
        headers = {"Authorization": f"Bearer {server.admin_key}"}
        self.http = httpx.Client(base_url=server.base_url, headers=headers, timeout=60)

    def made(self, path: str, body: Any, **more: Any) -> dict[str, Any]:
        answer = self.http.post(path, json=body, **more)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def ended(self, video_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while (video := self.http.get(f"/v1/videos/{video_id}").json())["status"] not in {
            "completed",
            "failed",
        }:
            assert time.monotonic() < deadline, video
            time.sleep(0.05)
        return dict(video)

    def database(self, statement: str, *values: Any) -> None:
        with sqlite3.connect(self.server.data_dir / "data" / "onereel.db", timeout=30) as connection:
            connection.execute(statement, values)

    def records(self) -> None:
        """Everything that has a secret of its own, made and changed."""
        project = self.server.project_id()
        keys = f"/v1/organization/projects/{project}/api_keys"
        for n in range(2):
            made = self.made(keys, {"name": "k"}, headers={"Idempotency-Key": f"key-{n}"})
            self.secrets.known(f"api key {n}", made["value"])
        hook = {
            "url": f"http://127.0.0.1:{self.receiver.port}/hook",
            "name": "mine",
            "event_types": ["video.completed"],
        }
        endpoint = self.made("/v1/webhook_endpoints", hook)
        self.secrets.known("signing secret", endpoint["signing_secret"].removeprefix("whsec_"))
        again = self.made(f"/v1/webhook_endpoints/{endpoint['id']}/rotate_secret", {})
        self.secrets.known("new signing secret", again["signing_secret"].removeprefix("whsec_"))
        self.made(f"/v1/webhook_endpoints/{endpoint['id']}/test", {"event_type": "video.completed"})
        nobody = f"http://127.0.0.1:{free_port()}/v1"
        stored = {"name": "other", "base_url": nobody, "models": [{"id": "other/one"}]}
        self.made("/v1/upstreams", {**stored, "api_key": self.secrets.word("credential", "sk-")})
        self.made("/v1/upstreams/other/rotate", {"api_key": self.secrets.word("new credential")})
        self.http.post("/v1/upstreams/check", json={})

    def videos(self) -> None:
        """Videos that end well and badly, with a prompt in each of the places that have one."""
        query = f"?token={self.secrets.word('token of a webhook')}"
        waiting: list[str] = []
        for n, prompt in enumerate(PROMPTS):
            body = {
                "model": MODEL,
                "prompt": prompt.format(self.secrets.word(f"prompt {n}")),
                "webhook_url": f"http://127.0.0.1:{self.receiver.port}/own{query}",
                "metadata": {"api_key": self.secrets.word(f"key in metadata {n}")},
            }
            video = self.made("/v1/videos", body, headers={"Idempotency-Key": f"video-{n}"})
            self.made("/v1/videos", body, headers={"Idempotency-Key": f"video-{n}"})
            waiting.append(video["id"])
        for fault in (
            "invalid",
            "moderation",
            "failed",
            "ambiguous_drop",
            "html_502",
            "private_redirect",
        ):
            prompt = f"[fault:{fault}] {self.secrets.word(f'prompt that ends in {fault}')}"
            waiting.append(self.made("/v1/videos", {"model": MODEL, "prompt": prompt})["id"])
        ended = [self.ended(each)["status"] for each in waiting]
        assert ended[: len(PROMPTS)] == ["completed"] * len(PROMPTS)
        prompt = f"[fault:auth] {self.secrets.word('prompt that ends in auth')}"
        self.ended(
            self.made("/v1/videos", {"model": MODEL, "prompt": prompt})["id"]
        )  # and pauses the upstream
        self.made("/v1/upstreams/acme/resume", {})
        self.made(f"/v1/videos/{video['id']}/remix", {"prompt": self.secrets.word("prompt of a remix")})
        link = f"http://gone.example/a.png?X-Amz-Signature={self.secrets.word('signature')}"
        picture = {"image_url": link}
        video = self.made(
            "/v1/videos", {"model": MODEL, "prompt": "x", "size": "720x1280", "input_reference": picture}
        )
        assert self.ended(video["id"])["status"] == "failed"

    def refusals(self) -> None:
        """What is refused is not written down, either."""
        wrong = self.secrets.word("wrong key", "sk-")
        assert self.http.get("/v1/models", headers={"Authorization": f"Bearer {wrong}"}).status_code == 401
        basic = base64.b64encode(self.secrets.word("basic").encode()).decode()
        self.secrets.known("basic as sent", basic)
        assert self.http.get("/v1/models", headers={"Authorization": f"Basic {basic}"}).status_code == 401
        for n, text in enumerate(
            (
                '{{"prompt": "{}"',
                '{{"prompt": "{}", "seconds": "99"}}',
                '{{"propmt": "{}"}}',
                '{{"prompt": "{}", "model": "none"}}',
                '{{"prompt": ["{}"]}}',
            )
        ):
            body = text.format(self.secrets.word(f"refused prompt {n}"))
            answer = self.http.post("/v1/videos", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in {400, 404}
        files = {"input_reference": (self.secrets.word("a file's name"), make_image("PNG"), "image/png")}
        form = {"prompt": self.secrets.word("prompt in a form"), "model": MODEL, "size": "1280x720"}
        assert self.http.post("/v1/videos", data=form, files=files).status_code == 200
        checkout = {
            "amount_usd": "5",
            "success_url": f"http://a.example/?token={self.secrets.word('token of a page')}",
        }
        assert self.http.post("/v1/billing/checkout", json=checkout).status_code >= 400
        signed = {"Stripe-Signature": f"t=1,v1={self.secrets.word('stripe signature')}"}
        assert self.http.post("/v1/billing/stripe/webhook", content=b"{}", headers=signed).status_code == 400
        token = {
            "Authorization": f"Bearer {self.secrets.word('wrong metrics token')}",
            "X-Forwarded-For": "1.2.3.4",
        }
        assert self.http.get("/metrics", headers=token).status_code == 403
        noise = f"GET /v1/models?key={self.secrets.word('key in a broken request')} HTTP/1.1\r\n: \r\n\r\n"
        assert exchange(self.server.port, [noise.encode()]).status == 400
        query = f"/v1/videos?limit=x&api_key={self.secrets.word('key in a query')}"
        assert exchange(self.server.port, [request("GET", query, key=self.server.admin_key)]).status == 400

    def ruin(self) -> None:
        """The database breaks under videos in every state, and under every request."""
        self.upstream.config(run_seconds=[30, 30])
        for n, prompt in enumerate(PROMPTS):
            body = {"model": MODEL, "prompt": prompt.format(self.secrets.word(f"prompt in a ruin {n}"))}
            video = self.made("/v1/videos", body)
            broken = json.dumps({"parameters": {"negative_prompt": body["prompt"]}, "prompt": body["prompt"]})
            unreadable = "[" if n % 2 else None
            statement = "UPDATE videos SET request = ?, metadata = ? WHERE id = ?"
            self.database(statement, broken, unreadable, video["id"])
            self.http.get(f"/v1/videos/{video['id']}")
        self.database("UPDATE jobs SET due = 0, lease_until = 0")
        time.sleep(2)  # until the jobs have been looked at
        for table in ("videos", "webhook_endpoints", "api_keys"):
            self.database(f"ALTER TABLE {table} RENAME TO {table}_gone")
        answer = self.http.post(
            "/v1/videos", json={"prompt": self.secrets.word("last prompt"), "model": MODEL}
        )
        assert answer.status_code >= 500
        assert not self.secrets.found(answer.text)
        token = self.secrets.word("callback token")
        self.http.post(f"/v1/callbacks/att_1/{token}", json={})
        self.http.get(f"/v1/inputs/{video['id']}/0/9/{self.secrets.word('link signature')}/a.png")


@pytest.fixture(scope="module", params=LEVELS)
def visited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    folder, secrets = tmp_path_factory.mktemp("logs"), Secrets()
    env = environment(secrets, request.param)
    secrets.known("admin key", admin := f"sk-{uuid4().hex}")
    receiver = Elsewhere(200)
    with FakeUpstream(poll_after_ms=50) as upstream:
        env["ONEREEL_SECURITY__ALLOWED_PRIVATE_HOSTS"] = json.dumps([f"127.0.0.1:{receiver.port}"])
        table = upstream_table(upstream.base_url).replace("upstream-secret", secrets.word("upstream's key"))
        server = Server(config=table, data_dir=folder, env={**env, "ONEREEL_ADMIN_KEY": admin})
        server.admin_key = admin
        with server:
            visit = Visit(server, secrets, upstream, receiver)
            visit.records()
            visit.videos()
            visit.refusals()
            visit.ruin()
            visit.http.close()
        yield visit
    receiver.close()


def test_no_secret_and_no_prompt_is_on_any_line(visited: Visit) -> None:
    log = visited.server.log_path.read_text()
    for happened in ("request_failed", "database_failed", "outbox.delivered", "upstream_changed"):
        assert happened in log, "the test does not do what it says"
    assert len(visited.secrets.words) > 50
    assert visited.secrets.found(log) == {}


def test_secrets_lie_encrypted_or_hashed_in_the_data_directory(visited: Visit) -> None:
    ours = (
        "api key",
        "signing secret",
        "credential",
        "admin key",
        "upstream's key",
        "stripe",
        "redis",
        "encryption key",
    )
    for path in (visited.server.data_dir / "data").rglob("*"):
        if path.is_file():
            found = visited.secrets.found(path.read_bytes().decode("latin-1"))
            assert not [what for what in found if any(word in what for word in ours)], (path, found)


@pytest.mark.parametrize(
    "config",
    [
        '[security]\nencryption_keys = ["{}"]\n',
        '[security]\nencryption_key = "{}"\n',
        '[stripe]\napi_key = ["{}"]\n',
        '[stripe]\napikey = "{}"\n',
        '[provenance]\nprivate_key = "{}"\ncertificates = "onereel.toml"\n',
        'database_url = "mysql://user:{}@127.0.0.1/a"\n',
        'database_url = "postgresql://user:{}@127.0.0.1:9/a"\n',
        'storage_url = "s3://user:{}@127.0.0.1:9/a"\n',
        'redis_url = "nothing://:{}@127.0.0.1/"\n',
        '[[upstreams]]\nname = "a"\ntype = "nothing"\nbase_url = "http://user:{}@127.0.0.1/v1"\napi_key = "{}"\n',
        '[[upstreams]]\nname = "a"\ntype = "google_vertex"\napi_key = "{}"\n',
        '[[upstreams]]\nname = "a"\ntype = "kling"\napi_key = "{}"\n',
        '[[upstreams]]\nname = "a"\napi_key = {{ a = "{}" }}\n',
        'admin_key = "{}\n',
    ],
)
def test_a_server_that_cannot_start_tells_no_secret(config: str, tmp_path: Path) -> None:
    secrets = Secrets()
    word = secrets.word("of the configuration")
    (tmp_path / "onereel.toml").write_text(config.replace("{{", "{").replace("}}", "}").replace("{}", word))
    env = {name: value for name, value in os.environ.items() if not name.startswith("ONEREEL_")}
    env |= {"ONEREEL_CONFIG": str(tmp_path / "onereel.toml"), "ONEREEL_DATA_DIR": str(tmp_path / "data")}
    env |= {"ONEREEL_PORT": str(free_port()), "ONEREEL_LOG_LEVEL": "DEBUG", "ONEREEL_LOCAL__ENABLED": "false"}
    out = tmp_path / "out"
    with out.open("wb") as file:
        process = subprocess.Popen(serve_command(), env=env, cwd=ROOT, stdout=file, stderr=file)
    deadline = time.monotonic() + WAITS
    while process.poll() is None and "listens on" not in out.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.terminate()
    process.wait(30)
    assert out.read_text().strip()
    assert secrets.found(out.read_text()) == {}
