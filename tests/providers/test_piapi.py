"""What is special about PiAPI: model/task_type, an output of many shapes, states in any case, the cost of a task."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from providers.adapters import piapi
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
    VideoRequest,
)
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import answering, ended, media, serving, video_request

FRAME = replace(media(MediaRole.FIRST_FRAME, b"a", "image/png"), url="https://onereel.example/a.png")


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> piapi.Piapi:
    adapter = build_adapter(fake.upstream("piapi"), door)
    assert isinstance(adapter, piapi.Piapi)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    return video_request(**{"model": "seedance/seedance-2.5", "size": "1280x720", "seconds": 5, **changes})


async def test_a_task_says_its_model_its_type_and_its_mode(adapter: piapi.Piapi, fake: FakeProviders) -> None:
    await adapter.submit(asked(provider_options={"holographic": True}))
    request = fake.requests("POST")[-1]
    assert request["path"] == "/piapi/api/v1/task"
    assert request["headers"]["x-api-key"] == fake.upstream("piapi").credential
    assert request["fields"] == {
        "model": "seedance",
        "task_type": "seedance-2.5",
        "input": {
            "prompt": "a fox",
            "duration": 5,
            "resolution": "720p",
            "aspect_ratio": "16:9",
            "holographic": True,
        },
        "config": {"service_mode": "public"},
    }


async def test_a_model_may_have_a_slash_and_words_of_its_own(fake: FakeProviders, door: HttpDoor) -> None:
    adapter = build_adapter(fake.upstream("piapi", options={"service_mode": "private"}), door)
    wire = {"first_frame": "image_url", "audio": "sound"}
    await adapter.submit(
        asked(model="Qubico/wanx/img2video", media=(FRAME,), wire=wire, parameters={"audio": False})
    )
    fields = fake.requests("POST")[-1]["fields"]
    assert (fields["model"], fields["task_type"]) == ("Qubico/wanx", "img2video")
    assert fields["config"] == {"service_mode": "private"}
    assert fields["input"]["image_url"] == "https://onereel.example/a.png"
    assert fields["input"]["sound"] is False


async def test_every_attempt_has_its_own_secret(adapter: piapi.Piapi, fake: FakeProviders) -> None:
    url = "https://onereel.example/callback"
    for attempt in ("att_1", "att_2"):
        await adapter.submit(asked(callback_url=url, attempt_id=attempt))
    hooks = [request["fields"]["config"]["webhook_config"] for request in fake.requests("POST")]
    assert [hook["endpoint"] for hook in hooks] == [url, url]
    assert len({hook["secret"] for hook in hooks}) == 2
    assert not any(fake.upstream("piapi").credential in hook["secret"] for hook in hooks)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"model": "seedance-2.5"}, ErrorKind.INVALID_REQUEST, "model: .* not written model/task_type"),
        ({"operation": Operation.EDIT}, ErrorKind.INVALID_REQUEST, "cannot edit"),
        ({"parameters": {"seed": 7}}, ErrorKind.INVALID_REQUEST, "seed: .* takes no such parameter"),
        ({"media": (FRAME,)}, ErrorKind.INVALID_REQUEST, "first_frame: .* no field"),
        (
            {"media": (replace(FRAME, url=None),), "wire": {"first_frame": "image_url"}},
            ErrorKind.INPUT_MEDIA,
            "ONEREEL_PUBLIC_URL",
        ),
    ],
)
async def test_what_it_does_not_take(
    adapter: piapi.Piapi, fake: FakeProviders, changes: dict[str, Any], kind: ErrorKind, message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is kind
    assert not fake.requests()


async def polled(door: HttpDoor, task: dict[str, Any]) -> Status:
    body = json.dumps({"code": 200, "data": task, "message": "success"}).encode()
    async with serving(answering(200, body)) as server:
        adapter = piapi.build(Account("piapi", server.base_url, "key"), door)
        return await adapter.poll({"id": "t", "attempt": "a"})


@pytest.mark.parametrize(
    ("state", "queued"),
    [("pending", True), ("Pending", True), ("staged", True), ("Staged", True), ("Processing", False)],
)
async def test_states_in_any_case(door: HttpDoor, state: str, queued: bool) -> None:
    assert await polled(door, {"status": state}) == Running(queued=queued)


@pytest.mark.parametrize(
    ("output", "found"),
    [
        (
            {"works": [{"video": {"resource_without_watermark": "https://a.example/w"}}]},
            "https://a.example/w",
        ),
        ({"video_url": "https://a.example/u"}, "https://a.example/u"),
        ({"video": "https://a.example/v"}, "https://a.example/v"),
        ({"video_url": "", "video": "https://a.example/v"}, "https://a.example/v"),
        ({"works": []}, None),
        (None, None),
    ],
)
async def test_outputs_of_many_shapes(door: HttpDoor, output: Any, found: str | None) -> None:
    status = await polled(door, {"status": "Completed", "output": output})
    assert status == Completed({"url": found}) if found else isinstance(status, Failed)


async def test_what_a_task_took_is_its_cost(adapter: piapi.Piapi) -> None:
    status = await ended(adapter, (await adapter.submit(asked())).handle)
    assert isinstance(status, Completed)
    assert status.cost == ReportedCost(None, "1.75 USD", Decimal("1.75"))


async def test_a_task_that_runs_is_not_stopped_and_that_is_no_error(door: HttpDoor) -> None:
    for code, fails in ((400, False), (404, False), (401, True)):
        refusal = json.dumps({"code": code, "message": "only pending tasks"}).encode()
        async with serving(answering(code, refusal)) as server:
            adapter = piapi.build(Account("piapi", server.base_url, "key"), door)
            try:
                await adapter.cancel({"id": "t", "attempt": "a"})
            except ProviderError:
                assert fails
            else:
                assert not fails
            assert server.exchanges[0].line.startswith("DELETE /v1/api/v1/task/t ")
