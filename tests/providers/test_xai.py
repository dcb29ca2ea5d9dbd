"""What is special about xAI: an endpoint per operation, 202 while pending, moderation that looks like success, ticks."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from providers.adapters import xai
from providers.contract import (
    Completed,
    ErrorKind,
    Failed,
    MediaRole,
    Operation,
    ProviderError,
    Running,
    VideoRequest,
)
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import ended, media, video_request

FIRST = media(MediaRole.FIRST_FRAME, b"a", "image/png")
LAST = media(MediaRole.LAST_FRAME, b"z", "image/png")
REFERENCE = media(MediaRole.REFERENCE, b"r", "image/png")
SOURCE = media(MediaRole.SOURCE, b"v", "video/mp4")
BEFORE = replace(media(MediaRole.EXTEND_FROM, b"v", "video/mp4"), url="https://onereel.example/v")


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> xai.Xai:
    adapter = build_adapter(fake.upstream("xai"), door)
    assert isinstance(adapter, xai.Xai)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    return video_request(
        **{
            "model": "grok-imagine-video-1.5",
            "size": "1280x720",
            "resolution": "720p",
            "seconds": 8,
            **changes,
        }
    )


def sent(fake: FakeProviders) -> tuple[str, dict[str, Any]]:
    request = fake.requests("POST")[-1]
    return request["path"], request["fields"]


async def test_a_text_becomes_a_video(adapter: xai.Xai, fake: FakeProviders) -> None:
    await adapter.submit(asked(parameters={"audio": False}, provider_options={"user": "u1"}))
    assert sent(fake) == (
        "/xai/v1/videos/generations",
        {
            "model": "grok-imagine-video-1.5",
            "prompt": "a fox",
            "duration": 8,
            "aspect_ratio": "16:9",
            "resolution": "720p",
            "generate_audio": False,
            "user": "u1",
        },
    )


@pytest.mark.parametrize(
    ("files", "fields"),
    [
        ((FIRST,), {"image": {"url": "data:image/png;base64,YQ=="}}),
        (
            (LAST, replace(FIRST, url="https://onereel.example/1")),
            {
                "image": {"url": "https://onereel.example/1"},
                "last_frame": {"url": "data:image/png;base64,eg=="},
            },
        ),
        ((REFERENCE, REFERENCE), {"reference_images": [{"url": "data:image/png;base64,cg=="}] * 2}),
    ],
)
async def test_images(
    adapter: xai.Xai, fake: FakeProviders, files: tuple[Any, ...], fields: dict[str, Any]
) -> None:
    await adapter.submit(asked(media=files))
    path, body = sent(fake)
    assert path == "/xai/v1/videos/generations"
    assert {
        name: body[name] for name in ("image", "last_frame", "reference_images") if name in body
    } == fields


async def test_an_edit_keeps_length_and_shape(adapter: xai.Xai, fake: FakeProviders) -> None:
    edit = asked(
        operation=Operation.EDIT, media=(SOURCE,), seconds="6.4", size="640x480", parameters={"audio": True}
    )
    assert isinstance(await ended(adapter, (await adapter.submit(edit)).handle), Completed)
    assert sent(fake) == (
        "/xai/v1/videos/edits",
        {"model": edit.model, "prompt": "a fox", "video": {"url": "data:video/mp4;base64,dg=="}},
    )


async def test_an_extension_says_what_it_adds(adapter: xai.Xai, fake: FakeProviders) -> None:
    extension = asked(operation=Operation.EXTEND, media=(BEFORE,), seconds=6)
    await adapter.submit(extension)
    assert sent(fake) == (
        "/xai/v1/videos/extensions",
        {
            "model": extension.model,
            "prompt": "a fox",
            "duration": 6,
            "video": {"url": "https://onereel.example/v"},
        },
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": {"seed": 1}}, "seed: .* takes no such parameter"),
        ({"parameters": {"negative_prompt": "blur"}}, "negative_prompt: .* takes no such parameter"),
        ({"media": (REFERENCE,) * 8}, "reference: .* at most 7"),
        ({"media": (REFERENCE,), "resolution": "1080p"}, "size: .* reference images only up to 720p"),
        ({"operation": Operation.EDIT}, "video: .* needs the video to edit"),
        ({"operation": Operation.EXTEND, "media": (SOURCE,)}, "source: .* takes no such file"),
        (
            {"operation": Operation.EXTEND, "media": (BEFORE,), "parameters": {"audio": False}},
            "audio: .* without sound",
        ),
        ({"operation": Operation.REMIX}, "operation: .* cannot remix"),
        ({"size": "2560x1080", "resolution": None}, "size: 2560x1080 has none of the aspect ratios"),
        ({"seconds": "2.5"}, "seconds: .* whole seconds"),
    ],
)
async def test_what_it_does_not_take(
    adapter: xai.Xai, fake: FakeProviders, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not fake.requests()


async def test_pending_may_have_no_body(adapter: xai.Xai, fake: FakeProviders) -> None:
    fake.config(run_seconds=[600, 600])
    assert await adapter.poll((await adapter.submit(asked())).handle) == Running()
    fake.config(run_seconds=[0.5, 0.5])
    handle = (await adapter.submit(asked())).handle
    seen = set()
    while isinstance(status := await adapter.poll(handle), Running):
        seen.add(status.progress)
    assert seen == {None, 40}


async def test_ticks_are_the_cost(adapter: xai.Xai) -> None:
    status = await ended(adapter, (await adapter.submit(asked())).handle)
    assert isinstance(status, Completed)
    assert status.cost is not None
    assert (status.cost.amount, status.cost.currency) == (Decimal("0.56"), "USD")


async def test_what_moderation_withheld_is_not_a_broken_video(adapter: xai.Xai) -> None:
    for fault, kind in (
        ("moderation", ErrorKind.MODERATION_BLOCKED),
        ("completed_without_video", ErrorKind.PROVIDER_ERROR),
    ):
        status = await ended(adapter, (await adapter.submit(asked(prompt=f"[fault:{fault}]"))).handle)
        assert isinstance(status, Failed)
        assert status.error.kind is kind


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("invalid-argument", "The prompt violates our content policy.", ErrorKind.MODERATION_BLOCKED),
        ("invalid-argument", "Rejected by moderation.", ErrorKind.MODERATION_BLOCKED),
        ("invalid-argument", "duration must be at most 15", None),
    ],
)
def test_words_of_errors(code: str, message: str, kind: ErrorKind | None) -> None:
    assert xai._ERRORS.kind(code, message) is kind
