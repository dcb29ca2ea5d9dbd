"""The fields that reach an OpenAI-shaped upstream, per operation, and the answers read from it."""

import asyncio
import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from providers.adapters.openai_compatible import OpenAICompatible, build
from providers.contract import (
    Account,
    Completed,
    ErrorKind,
    Failed,
    MediaRole,
    Operation,
    ProviderError,
    ReportedCost,
    Running,
    Status,
)
from providers.http import HttpDoor
from providers.testing import FakeUpstream
from providers.testing_media import mp4
from tests.providers.wire import answering, ended, media, serving, video_request

CLIP = mp4(320, 240, Fraction(3))


def adapter_of(fake: FakeUpstream, door: HttpDoor, **options: Any) -> OpenAICompatible:
    adapter = build(Account("acme", fake.base_url, "s3cret", options), door)
    assert isinstance(adapter, OpenAICompatible)
    return adapter


async def sent(fake: FakeUpstream, adapter: OpenAICompatible, request: Any) -> dict[str, Any]:
    """The one create that a submit made."""
    await adapter.submit(request)
    creates = fake.requests("POST")
    assert len(creates) == 1
    return creates[0]


async def test_generate_is_fully_explicit(fake: FakeUpstream, door: HttpDoor) -> None:
    request = video_request(
        "line one\nline two",
        seconds=Decimal(10),
        parameters={"seed": 7, "negative_prompt": "blur", "audio": False, "fps": 24, "n": 3},
        provider_options={"lora": ["a", "b"], "camera": {"pan": 1, "tilt": None}},
    )
    create = await sent(fake, adapter_of(fake, door), request)
    assert create["path"] == "/v1/videos"
    assert create["headers"]["idempotency-key"] == request.idempotency_key
    assert create["headers"]["content-type"].startswith("multipart/form-data")
    assert create["fields"] == {
        "model": "fake-1",
        "prompt": "line one\nline two",
        "seconds": "10",
        "size": "720x1280",
        "seed": "7",
        "negative_prompt": "blur",
        "audio": "false",
        "fps": "24",
        "lora[]": ["a", "b"],
        "camera[pan]": "1",
    }


async def test_json_where_the_operator_says_so(fake: FakeUpstream, door: HttpDoor) -> None:
    request = video_request(parameters={"audio": True, "seed": 7}, provider_options={"x": {"y": [1]}})
    create = await sent(fake, adapter_of(fake, door, format="json"), request)
    assert create["headers"]["content-type"] == "application/json"
    assert create["fields"]["audio"] is True
    assert create["fields"]["x"] == {"y": [1]}
    assert create["fields"]["seconds"] == "4"


@pytest.mark.parametrize(("seconds", "text"), [("4", "4"), ("10.0", "10"), ("2.50", "2.5"), ("100", "100")])
async def test_seconds_are_plain_text(fake: FakeUpstream, door: HttpDoor, seconds: str, text: str) -> None:
    create = await sent(fake, adapter_of(fake, door), video_request(seconds=Decimal(seconds)))
    assert create["fields"]["seconds"] == text


async def test_every_role_has_its_part(fake: FakeUpstream, door: HttpDoor) -> None:
    files = (
        media(MediaRole.FIRST_FRAME, b"first", "image/png"),
        media(MediaRole.LAST_FRAME, b"last", "image/jpeg"),
        media(MediaRole.REFERENCE, b"ref1", "image/webp"),
        media(MediaRole.REFERENCE, b"ref2", "image/webp"),
        media(MediaRole.CHARACTER, b"char1", name="Mia"),
        media(MediaRole.CHARACTER, b"char2", name="Tom"),
    )
    create = await sent(fake, adapter_of(fake, door, format="json"), video_request(media=files))
    shown = {name: [part["size"] for part in parts] for name, parts in create["files"].items()}
    assert shown == {
        "input_reference": [5],
        "last_frame": [4],
        "reference_images[]": [4, 4],
        "characters[][video]": [5, 5],
    }
    assert create["fields"]["characters[][name]"] == ["Mia", "Tom"]
    assert create["files"]["input_reference"][0]["content_type"] == "image/png"


async def test_remix_by_handle(fake: FakeUpstream, door: HttpDoor) -> None:
    adapter = adapter_of(fake, door)
    source = (await adapter.submit(video_request("source"))).handle
    request = video_request("more rain", operation=Operation.REMIX, source=source)
    handle = (await adapter.submit(request)).handle
    create = fake.requests("POST")[-1]
    assert create["path"] == f"/v1/videos/{source['id']}/remix"
    assert create["headers"]["content-type"] == "application/json"
    fields = {"model": "fake-1", "prompt": "more rain", "seconds": "4", "size": "720x1280"}
    assert create["fields"] == fields
    assert isinstance(await ended(adapter, handle), Completed)


@pytest.mark.parametrize(
    ("operation", "role", "path"),
    [
        (Operation.REMIX, MediaRole.SOURCE, "/v1/videos/edits"),
        (Operation.EDIT, MediaRole.SOURCE, "/v1/videos/edits"),
        (Operation.EXTEND, MediaRole.EXTEND_FROM, "/v1/videos/extensions"),
    ],
)
async def test_work_on_a_file(
    fake: FakeUpstream, door: HttpDoor, operation: Operation, role: MediaRole, path: str
) -> None:
    request = video_request(operation=operation, media=(media(role, CLIP),), size="320x240")
    create = await sent(fake, adapter_of(fake, door), request)
    assert create["path"] == path
    assert create["files"]["video"][0]["size"] == len(CLIP)
    fields = {"model": "fake-1", "prompt": "a fox", "seconds": "4", "size": "320x240"}
    assert create["fields"] == fields


@pytest.mark.parametrize("operation", [Operation.EDIT, Operation.EXTEND])
async def test_work_on_a_handle(fake: FakeUpstream, door: HttpDoor, operation: Operation) -> None:
    adapter = adapter_of(fake, door)
    source = (await adapter.submit(video_request("source"))).handle
    await adapter.submit(video_request("x", operation=operation, source=source))
    assert fake.requests("POST")[-1]["fields"]["video[id]"] == source["id"]


async def test_a_source_that_is_gone_upstream_is_the_inputs_fault(fake: FakeUpstream, door: HttpDoor) -> None:
    async with serving(answering(404, b"{}")) as server:
        adapter = build(Account("acme", server.base_url), door)
        kinds = []
        remix = video_request(operation=Operation.REMIX, source={"id": "video_1"})
        for request in (video_request(), remix):
            with pytest.raises(ProviderError) as caught:
                await adapter.submit(request)
            kinds.append(caught.value.kind)
    assert kinds == [ErrorKind.PROVIDER_ERROR, ErrorKind.INPUT_MEDIA]


async def test_a_missing_source_is_refused_before_anything_is_sent(
    fake: FakeUpstream, door: HttpDoor
) -> None:
    with pytest.raises(ProviderError, match="source video is missing") as caught:
        await adapter_of(fake, door).submit(video_request(operation=Operation.EXTEND))
    assert caught.value.kind is ErrorKind.INPUT_MEDIA
    assert not fake.requests()


async def test_the_local_dialect_names_the_attempt(fake: FakeUpstream, door: HttpDoor) -> None:
    create = await sent(fake, adapter_of(fake, door, dialect="local"), video_request(attempt_id="att_9"))
    assert create["fields"]["attempt_id"] == "att_9"


async def test_a_callback_is_asked_for_and_comes_twice_at_will(fake: FakeUpstream, door: HttpDoor) -> None:
    async with serving(answering(200)) as hook:
        url = f"http://127.0.0.1:{hook.port}/hook"
        request = video_request("x [fault:duplicate_callback]", callback_url=url)
        await adapter_of(fake, door).submit(request)
        await adapter_of(fake, door, callback_field="callback_url").submit(request)
        for _ in range(250):
            await asyncio.sleep(0.02)
            if len(hook.exchanges) == 2:
                break
    creates = fake.requests("POST")
    assert [create["fields"].get("callback_url") for create in creates] == [None, url]
    assert fake.stats()["calls"]["callback"] == 2


async def test_lookup_finds_a_lost_submission_and_no_other(fake: FakeUpstream, door: HttpDoor) -> None:
    fake.config(lookup=True)
    adapter = adapter_of(fake, door, submit_safety="lookup")
    request = video_request("[fault:ambiguous_drop]", attempt_id="att_lost")
    assert await adapter.lookup(request) is None
    with pytest.raises(ProviderError):
        await adapter.submit(request)
    for number in range(130):
        await adapter.submit(video_request("other", attempt_id=f"att_{number}"))
    found = await adapter.lookup(request)
    assert found is not None
    assert isinstance(await ended(adapter, found.handle), Completed)
    assert await adapter.lookup(video_request("never sent", attempt_id="att_absent")) is None
    pages = [r["query"] for r in fake.requests("GET") if r["path"] == "/v1/videos"]
    assert pages[0] == {"limit": "100", "order": "desc"}
    assert len(pages) == 5


async def polled(video: dict[str, Any], door: HttpDoor, **headers: str) -> Status:
    async with serving(answering(200, json.dumps(video).encode(), **headers)) as server:
        return await build(Account("acme", server.base_url), door).poll({"id": "v"})


@pytest.mark.parametrize(
    ("state", "queued"),
    [
        ("queued", True),
        ("pending", True),
        ("in_progress", False),
        ("processing", False),
        ("running", False),
        ("IN_PROGRESS", False),
    ],
)
async def test_states_of_waiting(door: HttpDoor, state: str, queued: bool) -> None:
    status = await polled({"status": state, "progress": 41.6}, door, openai_poll_after_ms="1500")
    assert status == Running(41, queued, 1.5)


@pytest.mark.parametrize(("progress", "expected"), [(None, None), ("12%", None), (-5, 0), (250, 100), (7, 7)])
async def test_progress_is_bounded(door: HttpDoor, progress: Any, expected: int | None) -> None:
    status = await polled({"status": "in_progress", "progress": progress}, door, openai_poll_after_ms="soon")
    assert status == Running(expected)


@pytest.mark.parametrize(
    ("extra", "cost"),
    [
        ({}, None),
        ({"cost": {"currency": "usd", "amount": "0.400000"}}, ReportedCost(400_000, "0.400000")),
        ({"usage": {"cost": {"amount": 0.25}}}, ReportedCost(250_000, "0.25")),
        ({"usage": {"cost": 1.5}}, ReportedCost(1_500_000, "1.5")),
        ({"cost": "free"}, None),
        ({"cost": "NaN"}, None),
        ({"cost": {"amount": "Infinity"}}, None),
        ({"usage": 3}, None),
    ],
)
async def test_reported_cost(door: HttpDoor, extra: dict[str, Any], cost: ReportedCost | None) -> None:
    assert await polled({"status": "completed", **extra}, door) == Completed({}, cost)


@pytest.mark.parametrize(
    ("usage", "seconds"),
    [
        ({"gpu_seconds": "12.345"}, Decimal("12.345")),
        ({"gpu_seconds": 3}, Decimal(3)),
        ({"gpu_seconds": 0.25}, Decimal("0.25")),
        *[({"gpu_seconds": bad}, None) for bad in (None, True, "soon", "NaN", "Infinity", -1, [1])],
        (None, None),
        ("3", None),
    ],
)
async def test_gpu_seconds(door: HttpDoor, usage: Any, seconds: Decimal | None) -> None:
    status = await polled({"status": "completed", "usage": usage}, door)
    assert status == Completed({}, None, seconds)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ({"code": "moderation_blocked", "message": "No."}, ErrorKind.MODERATION_BLOCKED, "No."),
        ({"code": "content_policy_violation", "message": "No."}, ErrorKind.MODERATION_BLOCKED, "No."),
        ({"code": 17, "message": "CUDA"}, ErrorKind.PROVIDER_ERROR, "CUDA"),
        ("plain words", ErrorKind.PROVIDER_ERROR, "plain words"),
        (None, ErrorKind.PROVIDER_ERROR, "the upstream reports: failed"),
        ({"message": "<html>"}, ErrorKind.PROVIDER_ERROR, "the upstream reports: failed"),
    ],
)
async def test_verdicts(door: HttpDoor, error: Any, kind: ErrorKind, message: str) -> None:
    status = await polled({"status": "failed", "error": error}, door)
    assert isinstance(status, Failed)
    assert (status.error.kind, status.error.message) == (kind, message)


@pytest.mark.parametrize("video", [{"status": "hibernating"}, {"status": None}, {}, {"status": "done"}])
async def test_an_unknown_state_never_ends_a_job(door: HttpDoor, video: dict[str, Any]) -> None:
    with pytest.raises(ProviderError) as caught:
        await polled(video, door)
    assert caught.value.kind is ErrorKind.UNKNOWN_STATE


async def test_odd_ids_are_one_path_segment(door: HttpDoor) -> None:
    async with serving(answering(200, b'{"status": "queued"}')) as server:
        await build(Account("acme", server.base_url), door).poll({"id": "video_a/b+c==?x#y"})
        assert server.exchanges[0].line == "GET /v1/videos/video_a%2Fb%2Bc%3D%3D%3Fx%23y HTTP/1.1"
