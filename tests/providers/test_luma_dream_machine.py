"""Luma's older Dream Machine API, which the adapter speaks where base_url names it."""

from dataclasses import replace
from typing import Any

import pytest

from providers.adapters import luma
from providers.contract import (
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
from tests.providers.wire import ended, media, video_request

FIRST = replace(media(MediaRole.FIRST_FRAME, b"a", "image/png"), url="https://onereel.example/a")
LAST = replace(media(MediaRole.LAST_FRAME, b"z", "image/png"), url="https://onereel.example/z")


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> luma.Luma:
    base_url = f"{fake.origin}/luma/dream-machine/v1"
    adapter = build_adapter(fake.upstream("luma", base_url=base_url), door)
    assert isinstance(adapter, luma.Luma)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    return video_request(**{"model": "ray-2", "size": "1920x1080", "seconds": 9, **changes})


async def test_its_requests_are_its_own(adapter: luma.Luma, fake: FakeProviders) -> None:
    callback = "https://onereel.example/callback/1"
    await adapter.submit(asked(media=(LAST, FIRST), callback_url=callback, provider_options={"loop": True}))
    request = fake.requests("POST")[-1]
    assert request["path"] == "/luma/dream-machine/v1/generations/video"
    assert request["fields"] == {
        "model": "ray-2",
        "prompt": "a fox",
        "duration": "9s",
        "resolution": "1080p",
        "aspect_ratio": "16:9",
        "keyframes": {
            "frame0": {"type": "image", "url": "https://onereel.example/a"},
            "frame1": {"type": "image", "url": "https://onereel.example/z"},
        },
        "callback_url": callback,
        "loop": True,
    }


async def test_an_extension_from_prompt_to_bytes(adapter: luma.Luma, fake: FakeProviders) -> None:
    fake.config(run_seconds=[0.3, 0.3])
    extension = asked(operation=Operation.EXTEND, source={"id": "before"}, media=(LAST,))
    handle = (await adapter.submit(extension)).handle
    frames = fake.requests("POST")[-1]["fields"]["keyframes"]
    assert frames["frame0"] == {"type": "generation", "id": "before"}
    status = await ended(adapter, handle)
    assert isinstance(status, Completed)
    content = await adapter.open_content(handle, status.outputs)
    assert b"".join([chunk async for chunk in content.chunks])[4:8] == b"ftyp"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("failed", ErrorKind.PROVIDER_ERROR),
        ("moderation", ErrorKind.MODERATION_BLOCKED),
        ("completed_without_video", ErrorKind.PROVIDER_ERROR),
    ],
)
async def test_it_fails_in_words(adapter: luma.Luma, fault: str, kind: ErrorKind) -> None:
    status = await ended(adapter, (await adapter.submit(asked(prompt=f"[fault:{fault}]"))).handle)
    assert isinstance(status, Failed)
    assert status.error.kind is kind


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"media": (replace(FIRST, url=None),)}, ErrorKind.INPUT_MEDIA, "only by address"),
        ({"seconds": 10}, ErrorKind.INVALID_REQUEST, "seconds: ray-2 makes 5 or 9 s, not 10"),
        ({"operation": Operation.EDIT}, ErrorKind.INVALID_REQUEST, "operation: ray-2 cannot edit"),
        ({"operation": Operation.EXTEND}, ErrorKind.INVALID_REQUEST, "only what it generated itself"),
    ],
)
async def test_what_it_does_not_take(
    adapter: luma.Luma, fake: FakeProviders, changes: dict[str, Any], kind: ErrorKind, message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is kind
    assert not fake.requests()
