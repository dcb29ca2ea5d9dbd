"""What is special about SiliconFlow: one length, three sizes, a status asked for by POST, errors without a shape."""

from dataclasses import replace
from typing import Any

import pytest

from providers.adapters import siliconflow
from providers.contract import Completed, ErrorKind, Failed, MediaRole, ProviderError, Running, VideoRequest
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import ended, media, video_request

FRAME = media(MediaRole.FIRST_FRAME, b"a", "image/png")


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> siliconflow.SiliconFlow:
    adapter = build_adapter(fake.upstream("siliconflow"), door)
    assert isinstance(adapter, siliconflow.SiliconFlow)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    return video_request(**{"model": "Wan-AI/Wan2.2-T2V-A14B", "size": "960x960", "seconds": 5, **changes})


async def test_a_text_becomes_a_video(adapter: siliconflow.SiliconFlow, fake: FakeProviders) -> None:
    await adapter.submit(asked(parameters={"seed": 7, "negative_prompt": "blur"}))
    request = fake.requests("POST")[-1]
    assert request["path"] == "/siliconflow/v1/video/submit"
    assert request["fields"] == {
        "model": "Wan-AI/Wan2.2-T2V-A14B",
        "prompt": "a fox",
        "image_size": "960x960",
        "seed": 7,
        "negative_prompt": "blur",
    }


@pytest.mark.parametrize(
    ("frame", "image"),
    [
        (FRAME, "data:image/png;base64,YQ=="),
        (replace(FRAME, url="https://onereel.example/1.png"), "https://onereel.example/1.png"),
    ],
)
async def test_an_image(
    adapter: siliconflow.SiliconFlow, fake: FakeProviders, frame: Any, image: str
) -> None:
    await adapter.submit(asked(model="Wan-AI/Wan2.2-I2V-A14B", media=(frame,)))
    assert fake.requests("POST")[-1]["fields"]["image"] == image


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": 8}, "seconds: .* makes videos of 5 seconds"),
        ({"parameters": {"audio": True}}, "audio: .* takes no such parameter"),
        ({"media": (media(MediaRole.LAST_FRAME, b"z", "image/png"),)}, "last_frame: .* takes no such file"),
    ],
)
async def test_what_it_does_not_take(
    adapter: siliconflow.SiliconFlow, fake: FakeProviders, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not fake.requests()


async def test_a_poll_is_a_post(adapter: siliconflow.SiliconFlow, fake: FakeProviders) -> None:
    fake.config(run_seconds=[600, 600])
    handle = (await adapter.submit(asked())).handle
    assert await adapter.poll(handle) == Running(queued=True)
    request = fake.requests("POST")[-1]
    assert (request["path"], request["fields"]) == (
        "/siliconflow/v1/video/status",
        {"requestId": handle["id"]},
    )


async def test_an_address_that_expired_is_renewed_by_polling(adapter: siliconflow.SiliconFlow) -> None:
    handle = (await adapter.submit(asked(prompt="[fault:expired_url]"))).handle
    status = await ended(adapter, handle)
    assert isinstance(status, Completed)
    assert status.cost is None
    with pytest.raises(ProviderError) as caught:
        await adapter.open_content(handle, status.outputs)
    assert caught.value.kind is ErrorKind.CONTENT_EXPIRED
    again = await ended(adapter, handle)
    assert isinstance(again, Completed)
    content = await adapter.open_content(handle, again.outputs)
    assert (b"".join([chunk async for chunk in content.chunks]))[4:8] == b"ftyp"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("The prompt contains sensitive words", ErrorKind.MODERATION_BLOCKED),
        ("内容违规", ErrorKind.MODERATION_BLOCKED),
        ("inference failed", ErrorKind.PROVIDER_ERROR),
        (None, ErrorKind.PROVIDER_ERROR),
    ],
)
def test_a_failure_is_known_by_its_words(reason: str | None, kind: ErrorKind) -> None:
    error = siliconflow._ERRORS.verdict(None, reason)
    assert error.kind is kind
    assert error.message


async def test_a_failed_job_carries_its_reason(adapter: siliconflow.SiliconFlow) -> None:
    status = await ended(adapter, (await adapter.submit(asked(prompt="[fault:failed]"))).handle)
    assert isinstance(status, Failed)
    assert status.error.message == "inference failed"


async def test_an_error_may_be_no_more_than_a_text(
    adapter: siliconflow.SiliconFlow, fake: FakeProviders
) -> None:
    fake.config(api_key="another")
    with pytest.raises(ProviderError, match=r"^Invalid token$") as caught:
        await adapter.check()
    assert caught.value.kind is ErrorKind.PROVIDER_AUTH
    fake.config(api_key="sk-conformance-credential")
    assert await adapter.check() == "the key may list the models"
