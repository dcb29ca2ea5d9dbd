"""What is special about Higgsfield: a key of two parts, moderation as a state, limits told in words."""

from dataclasses import replace
from typing import Any

import pytest

from providers.adapters import higgsfield
from providers.answers import Response
from providers.contract import Completed, ErrorKind, Failed, MediaRole, ProviderError, Running, VideoRequest
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import ended, media, video_request

FRAME = media(MediaRole.FIRST_FRAME, b"a", "image/png")
HOSTED = replace(FRAME, url="https://onereel.example/1.png")


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> higgsfield.Higgsfield:
    adapter = build_adapter(fake.upstream("higgsfield"), door)
    assert isinstance(adapter, higgsfield.Higgsfield)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    values = {"model": "acme/dop/image-to-video", "resolution": "720p", "aspect_ratio": "16:9"}
    return video_request(**{**values, **changes})


async def test_a_picture_becomes_a_video(adapter: higgsfield.Higgsfield, fake: FakeProviders) -> None:
    callback = "https://onereel.example/callback/1?a=b"
    await adapter.submit(
        asked(
            parameters={"seed": 7},
            media=(HOSTED,),
            callback_url=callback,
            provider_options={"motion": "dolly"},
        )
    )
    request = fake.requests("POST")[-1]
    assert request["path"] == "/higgsfield/acme/dop/image-to-video"
    assert request["query"] == {"hf_webhook": callback}
    assert request["headers"]["authorization"] == "Key conformance-key-id:conformance-key-secret"
    assert request["fields"] == {
        "prompt": "a fox",
        "duration": 4,
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "seed": 7,
        "image_url": "https://onereel.example/1.png",
        "motion": "dolly",
    }


async def test_a_model_spells_its_arguments(adapter: higgsfield.Higgsfield, fake: FakeProviders) -> None:
    last = replace(HOSTED, role=MediaRole.LAST_FRAME)
    wire = {"last_frame": "end_image_url", "audio": "sound", "720p": "720p"}
    await adapter.submit(asked(wire=wire, media=(last,), parameters={"audio": True}))
    sent = fake.requests("POST")[-1]["fields"]
    assert (sent["end_image_url"], sent["sound"]) == ("https://onereel.example/1.png", True)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"media": (FRAME,)}, ErrorKind.INPUT_MEDIA, "ONEREEL_PUBLIC_URL"),
        ({"media": (HOSTED, HOSTED)}, ErrorKind.INVALID_REQUEST, "first_frame: .* at most 1"),
        ({"parameters": {"fps": 24}}, ErrorKind.INVALID_REQUEST, "fps: .* takes no such parameter"),
        (
            {"resolution": None, "aspect_ratio": None},
            ErrorKind.INVALID_REQUEST,
            "size: .* resolutions and aspect ratios",
        ),
    ],
)
async def test_what_it_does_not_take(
    adapter: higgsfield.Higgsfield,
    fake: FakeProviders,
    changes: dict[str, Any],
    kind: ErrorKind,
    message: str,
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is kind
    assert not fake.requests()


@pytest.mark.parametrize(
    ("status", "detail", "kind"),
    [
        (400, "Maximum number of concurrent requests (4) has been reached", ErrorKind.CONCURRENCY_LIMITED),
        (403, "Not enough credits", ErrorKind.PROVIDER_FUNDS),
        (403, "Forbidden", ErrorKind.PROVIDER_AUTH),
        (400, "Bad arguments", ErrorKind.INVALID_REQUEST),
    ],
)
def test_limits_are_told_in_words(status: int, detail: str, kind: ErrorKind) -> None:
    error = higgsfield._ERRORS(Response(status, {}, f'{{"detail": "{detail}"}}'.encode()))
    assert error is not None
    assert (error.kind, error.message) == (kind, detail)


async def test_moderation_is_a_state(adapter: higgsfield.Higgsfield) -> None:
    status = await ended(adapter, (await adapter.submit(asked(prompt="[fault:moderation]"))).handle)
    assert isinstance(status, Failed)
    assert (status.error.kind, status.error.upstream_code) == (ErrorKind.MODERATION_BLOCKED, "nsfw")


async def test_one_that_has_begun_is_not_cancelled(
    adapter: higgsfield.Higgsfield, fake: FakeProviders
) -> None:
    fake.config(run_seconds=[0.3, 0.3])
    handle = (await adapter.submit(asked())).handle
    while isinstance(seen := await adapter.poll(handle), Running) and seen.queued:
        pass
    await adapter.cancel(handle)
    assert isinstance(await ended(adapter, handle), Completed)
