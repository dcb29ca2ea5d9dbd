"""What is special about kie.ai: what its models call their fields, errors inside HTTP 200, results as text."""

import json
from dataclasses import replace
from typing import Any

import pytest

from providers.adapters import kie
from providers.answers import Response
from providers.catalog_files import catalog_of
from providers.contract import (
    Account,
    CallbackRefused,
    Completed,
    ErrorKind,
    Failed,
    MediaRole,
    Operation,
    ProviderError,
    VideoRequest,
)
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import answering, ended, media, serving, video_request

KLING = catalog_of("kie").find("kling-3.0/video")


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> kie.Kie:
    adapter = build_adapter(fake.upstream("kie"), door)
    assert isinstance(adapter, kie.Kie)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    assert KLING is not None
    usual = {"model": KLING.upstream_id, "size": "1280x720", "seconds": 5, "wire": KLING.wire}
    return video_request(**{**usual, **changes})


def sent(fake: FakeProviders) -> dict[str, Any]:
    request = fake.requests("POST")[-1]
    assert request["path"] == "/kie/api/v1/jobs/createTask"
    fields: dict[str, Any] = request["fields"]
    return fields


def frame(role: MediaRole, name: str) -> Any:
    return replace(media(role, b"x", "image/png"), url=f"https://onereel.example/{name}.png")


async def test_kling_in_its_own_words(adapter: kie.Kie, fake: FakeProviders) -> None:
    frames = (frame(MediaRole.LAST_FRAME, "z"), frame(MediaRole.FIRST_FRAME, "a"))
    request = asked(
        size="1080x1920",
        resolution="1080p",
        aspect_ratio="9:16",
        media=frames,
        parameters={"audio": True},
        provider_options={"cfg_scale": 0.5},
        callback_url="https://onereel.example/callback",
    )
    await adapter.submit(request)
    assert sent(fake) == {
        "model": "kling-3.0/video",
        "callBackUrl": "https://onereel.example/callback",
        "input": {
            "prompt": "a fox",
            "duration": "5",
            "mode": "pro",
            "aspect_ratio": "9:16",
            "sound": True,
            "multi_shots": False,
            "image_urls": ["https://onereel.example/a.png", "https://onereel.example/z.png"],
            "cfg_scale": 0.5,
        },
    }


async def test_a_model_with_the_usual_words(adapter: kie.Kie, fake: FakeProviders) -> None:
    parameters = {"seed": 7, "negative_prompt": "blur"}
    await adapter.submit(asked(model="bytedance/seedance-2-mini", wire={}, parameters=parameters))
    usual = {"prompt": "a fox", "duration": 5, "resolution": "720p", "aspect_ratio": "16:9", **parameters}
    assert sent(fake) == {"model": "bytedance/seedance-2-mini", "input": usual}


async def test_without_the_key_of_its_callbacks_none_is_asked_for(
    fake: FakeProviders, door: HttpDoor
) -> None:
    adapter = build_adapter(fake.upstream("kie", options={}), door)
    handle = (await adapter.submit(asked(callback_url="https://onereel.example/callback"))).handle
    assert "callBackUrl" not in sent(fake)
    assert isinstance(adapter, kie.Kie)
    with pytest.raises(CallbackRefused, match="no webhook secret"):
        await adapter.verify_callback(handle, *fake.callback())


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"operation": Operation.EXTEND}, ErrorKind.INVALID_REQUEST, "cannot extend"),
        ({"parameters": {"fps": 24}}, ErrorKind.INVALID_REQUEST, "fps: .* takes no such parameter"),
        (
            {"media": (media(MediaRole.FIRST_FRAME, b"a", "image/png"),)},
            ErrorKind.INPUT_MEDIA,
            "ONEREEL_PUBLIC_URL",
        ),
        (
            {"media": (frame(MediaRole.LAST_FRAME, "z"),)},
            ErrorKind.INVALID_REQUEST,
            "last_frame: .* only with a first frame",
        ),
        (
            {"media": (frame(MediaRole.REFERENCE, "r"),)},
            ErrorKind.INVALID_REQUEST,
            "reference: .* no field",
        ),
        ({"size": "1000x700"}, ErrorKind.INVALID_REQUEST, "no usual resolution"),
    ],
)
async def test_what_it_does_not_take(
    adapter: kie.Kie, fake: FakeProviders, changes: dict[str, Any], kind: ErrorKind, message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is kind
    assert not fake.requests()


@pytest.mark.parametrize(
    ("code", "message", "kind", "ambiguous"),
    [
        (401, "No access.", ErrorKind.PROVIDER_AUTH, False),
        (402, "No credits.", ErrorKind.PROVIDER_FUNDS, False),
        (408, "Upstream timeout.", ErrorKind.PROVIDER_UNAVAILABLE, True),
        (422, "duration is required", ErrorKind.INVALID_REQUEST, False),
        (422, "Your content violates the policy", ErrorKind.MODERATION_BLOCKED, False),
        (429, "Too many.", ErrorKind.RATE_LIMITED, False),
        (455, "Maintenance.", ErrorKind.PROVIDER_UNAVAILABLE, False),
        (500, "Broken.", ErrorKind.PROVIDER_UNAVAILABLE, True),
        (505, "Feature disabled.", ErrorKind.PROVIDER_UNAVAILABLE, False),
        (777, "New.", ErrorKind.PROVIDER_ERROR, True),
    ],
)
def test_codes_of_the_envelope(code: int, message: str, kind: ErrorKind, ambiguous: bool) -> None:
    error = kie._refusal(Response(200, {}, json.dumps({"code": code, "msg": message}).encode()))
    assert error is not None
    assert (error.kind, error.ambiguous, error.message) == (kind, ambiguous, message)


async def test_a_failure_is_told_in_words(adapter: kie.Kie) -> None:
    status = await ended(adapter, (await adapter.submit(asked(prompt="a fox [fault:failed]"))).handle)
    assert isinstance(status, Failed)
    assert (status.error.upstream_code, status.error.message) == ("501", "Generation failed.")


@pytest.mark.parametrize(
    ("result", "url"),
    [
        ('{"resultUrls": ["https://a.example/1.mp4", "https://a.example/2.mp4"]}', "https://a.example/1.mp4"),
        ('{"resultUrls": []}', None),
        ("not JSON", None),
        (None, None),
    ],
)
async def test_the_result_is_json_in_a_text(door: HttpDoor, result: Any, url: str | None) -> None:
    record = {"code": 200, "data": {"state": "success", "resultJson": result}}
    async with serving(answering(200, json.dumps(record).encode())) as server:
        adapter = kie.build(Account("kie", server.base_url), door)
        status = await adapter.poll({"id": "task/1"})
    assert server.exchanges[0].line.split()[1] == "/v1/api/v1/jobs/recordInfo?taskId=task%2F1"
    assert status == Completed({"url": url}) if url else isinstance(status, Failed)
