"""An upstream's call back brings the next poll forward, and does nothing else."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import openai
import pytest
from sqlalchemy import select

from gateway.crypto import SecretBox, new_key
from gateway.db import Database, now_ms
from gateway.errors import Forbidden, PayloadTooLarge, Unavailable
from gateway.jobs import moves
from gateway.jobs.tables import jobs
from gateway.videos.callbacks import Callbacks
from providers.contract import (
    CallbackRefused,
    Content,
    ErrorKind,
    Handle,
    ProviderError,
    Status,
    SubmitSafety,
    Submitted,
    VideoRequest,
)
from providers.testing import FakeUpstream
from tests.gateway.jobs.bench import engine, upstream
from tests.gateway.jobs.test_edges import NOWHERE, begin, claimed, intent
from tests.server import Server, free_port


def post(url: str, body: bytes = b"{}") -> int:
    return answer_to(url, body)[0]


def answer_to(url: str, body: bytes) -> tuple[int, Any]:
    request = urllib.request.Request(url, data=body, method="POST")
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status), json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_duplicate_callback_finishes_a_video_long_before_its_next_poll(tmp_path: Path) -> None:
    port = free_port()
    env = {"ONEREEL_PUBLIC_URL": f"http://127.0.0.1:{port}"}
    with FakeUpstream(poll_after_ms=60_000, run_seconds=(0.5, 0.5)) as fake:
        config = f"""
[[upstreams]]
name = "acme"
base_url = "{fake.base_url}"
options = {{ callback_field = "callback_url" }}
[[upstreams.models]]
id = "acme/fast"
price_per_second_usd = "0.10"
"""
        with Server(config=config, env=env, port=port) as server:
            client = openai.OpenAI(base_url=server.api_url, api_key=server.admin_key)
            started = time.monotonic()
            video = client.videos.create(prompt="a cat [fault:duplicate_callback]", model="acme/fast")
            while video.status in ("queued", "in_progress"):
                assert time.monotonic() < started + 30
                time.sleep(0.1)
                video = client.videos.retrieve(video.id)
            assert video.status == "completed"
            address = next(
                r["fields"]["callback_url"] for r in fake.requests("POST") if r["path"] == "/v1/videos"
            )
            assert post(address) == 200  # long over: still harmless
            assert post(address, b"\xff no JSON") == 200
            assert post(address, b"x" * 300_000) == 200  # not read to its end, and a hint all the same
            assert answer_to(address, b'{"challenge": "word"}') == (200, {"challenge": "word"})
            assert answer_to(address, b'{"challenge": 1}') == (200, {"received": True})
            assert post(address[:-1] + "x") == 404
            assert answer_to(address[:-1] + "x", b'{"challenge": "word"}')[0] == 404
            assert post(f"{server.api_url}/callbacks/att_1/guess") == 404


class Proving:
    """An upstream that proves its calls by a header."""

    submit_safety: SubmitSafety = "none"
    poll_interval: ClassVar[float] = 1.0
    error: ProviderError | None = None

    async def submit(self, request: VideoRequest) -> Submitted:
        raise AssertionError

    async def poll(self, handle: Handle) -> Status:
        raise AssertionError

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:
        raise AssertionError

    async def verify_callback(self, handle: Handle, headers: Mapping[str, str], body: bytes) -> None:
        if self.error is not None:
            raise self.error
        if headers.get("x-proof") != f"{handle['id']}:{len(body)}":
            raise CallbackRefused("the proof is wrong")


async def test_where_an_upstream_proves_its_calls_one_without_proof_does_not_count(
    db: Database, tmp_path: Path
) -> None:
    async with engine(db, tmp_path, [upstream("acme", NOWHERE)], run=False) as made:
        video_id, proving = await made.add(), Proving()
        lease = (await claimed(made))[video_id]
        (attempt,) = await begin(made, intent(lease))
        await db.write(
            lambda conn: moves.taken(conn, [moves.Taken(lease, attempt.id, {"id": "7"}, 60_000, 9)])
        )
        calls = Callbacks(
            db,
            SecretBox([new_key()]),
            made.ctx.hints,
            "https://gateway.example",
            catalogue=made.ctx.catalogue,
            adapter=lambda _spec: proving,
        )

        async def due_now() -> bool:
            return bool(await db.read(lambda conn: conn.execute(select(jobs.c.due <= now_ms())).scalar_one()))

        for headers, body, refusal in (
            ({}, b"{}", Forbidden),
            ({"x-proof": "8:2"}, b"{}", Forbidden),
            ({"x-proof": "7:2"}, None, PayloadTooLarge),
            ({}, b'{"challenge": "word"}', Forbidden),
        ):
            with pytest.raises(refusal):
                await calls.receive(attempt.id, headers, body)
        proving.error = ProviderError(ErrorKind.PROVIDER_UNAVAILABLE, "no keys")
        with pytest.raises(Unavailable):
            await calls.receive(attempt.id, {}, b"{}")
        assert not await due_now()
        proving.error = None
        assert await calls.receive(attempt.id, {"x-proof": "7:2"}, b"{}") is None
        assert await due_now()


def test_a_signature_is_known_under_old_keys_and_never_under_strange_ones() -> None:
    old, new = new_key(), new_key()
    signed = SecretBox([old]).signature("att_1")
    assert SecretBox([new, old]).is_signature("att_1", signed)
    assert not SecretBox([new]).is_signature("att_1", signed)
    assert not SecretBox([old]).is_signature("att_2", signed)
    assert not SecretBox([old]).is_signature("att_1", "é")
