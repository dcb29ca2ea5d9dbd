"""What is special about Luma: frames are keyframes, references say what they are, its failure codes."""

from dataclasses import replace
from typing import Any

import pytest

from providers.adapters import luma
from providers.contract import Completed, ErrorKind, MediaRole, Operation, ProviderError, VideoRequest
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import ended, media, video_request

FIRST = media(MediaRole.FIRST_FRAME, b"a", "image/png")
LAST = replace(media(MediaRole.LAST_FRAME, b"z", "image/jpeg"), url="https://onereel.example/z")
SOURCE = media(MediaRole.SOURCE, b"v", "video/mp4")
BEFORE = media(MediaRole.EXTEND_FROM, b"v", "video/mp4")

START = {"data": "YQ==", "media_type": "image/png"}
END = {"url": "https://onereel.example/z", "media_type": "image/jpeg"}


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> luma.Luma:
    adapter = build_adapter(fake.upstream("luma"), door)
    assert isinstance(adapter, luma.Luma)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    return video_request(**{"model": "ray-3.2", "size": "1920x1080", "seconds": 10, **changes})


async def test_a_text_becomes_a_video(adapter: luma.Luma, fake: FakeProviders) -> None:
    await adapter.submit(asked(provider_options={"user_id": "u1", "video": {"hdr": True}}))
    request = fake.requests("POST")[-1]
    assert request["path"] == "/luma/v1/generations"
    assert request["fields"] == {
        "model": "ray-3.2",
        "prompt": "a fox",
        "type": "video",
        "aspect_ratio": "16:9",
        "video": {"duration": "10s", "resolution": "1080p", "hdr": True},
        "user_id": "u1",
    }


@pytest.mark.parametrize(
    ("changes", "frames"),
    [
        ({"media": (FIRST,)}, {"keyframes": [START], "keyframe_indexes": [0]}),
        ({"media": (LAST, FIRST)}, {"keyframes": [START, END], "keyframe_indexes": [0, 240]}),
        ({"media": (LAST,), "seconds": 5}, {"keyframes": [END], "keyframe_indexes": [120]}),
        (
            {"operation": Operation.EXTEND, "source": {"id": "before"}, "media": (LAST,)},
            {"start_frame": {"generation_id": "before"}, "end_frame": END},
        ),
    ],
)
async def test_frames(
    adapter: luma.Luma, fake: FakeProviders, changes: dict[str, Any], frames: dict[str, Any]
) -> None:
    await adapter.submit(asked(**changes))
    body = fake.requests("POST")[-1]["fields"]
    assert body["type"] == "video"
    assert {name: value for name, value in body["video"].items() if "frame" in name} == frames


@pytest.mark.parametrize(
    ("changes", "source"),
    [
        ({"media": (SOURCE, FIRST)}, {"data": "dg==", "media_type": "video/mp4"}),
        (
            {"media": (replace(SOURCE, url="https://onereel.example/v"), FIRST)},
            {"url": "https://onereel.example/v", "media_type": "video/mp4"},
        ),
        ({"source": {"id": "before"}, "media": (FIRST,)}, {"generation_id": "before"}),
    ],
)
async def test_an_edit_keeps_length_and_shape(
    adapter: luma.Luma, fake: FakeProviders, changes: dict[str, Any], source: dict[str, str]
) -> None:
    edit = asked(operation=Operation.EDIT, seconds="7.3", **changes)
    assert isinstance(await ended(adapter, (await adapter.submit(edit)).handle), Completed)
    assert fake.requests("POST")[-1]["fields"] == {
        "model": "ray-3.2",
        "prompt": "a fox",
        "type": "video_edit",
        "source": source,
        "video": {"resolution": "1080p", "start_frame": START},
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": 4}, "seconds: ray-3.2 makes 5 or 10 s, not 4"),
        ({"size": "3840x2160"}, "size: 3840x2160 is none of the resolutions"),
        ({"size": "720x1680"}, "size: 720x1680 has none of the aspect ratios"),
        ({"parameters": {"seed": 1}}, "seed: .* takes no such parameter"),
        ({"parameters": {"audio": True}}, "audio: .* takes no such parameter"),
        ({"media": (media(MediaRole.REFERENCE, b"r", "image/png"),)}, "reference: .* takes no such file"),
        ({"operation": Operation.EDIT}, "video: .* needs the video to edit"),
        ({"operation": Operation.EXTEND, "media": (BEFORE,)}, "video: .* only what it generated itself"),
    ],
)
async def test_what_it_does_not_take(
    adapter: luma.Luma, fake: FakeProviders, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not fake.requests()


async def test_a_field_that_is_wrong_is_named(adapter: luma.Luma) -> None:
    with pytest.raises(ProviderError, match="aspect_ratio") as caught:
        await adapter.submit(asked(provider_options={"aspect_ratio": "9:21"}))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("content_moderated", ErrorKind.MODERATION_BLOCKED),
        ("generation_failed", ErrorKind.PROVIDER_ERROR),
        ("budget_exhausted", ErrorKind.PROVIDER_FUNDS),
        ("output_not_found", ErrorKind.PROVIDER_ERROR),
        ("image_too_large", ErrorKind.INPUT_MEDIA),
        ("unsupported_format", ErrorKind.INPUT_MEDIA),
        ("corrupt_input", ErrorKind.INPUT_MEDIA),
        ("invalid_request", ErrorKind.INVALID_REQUEST),
        ("rate_limited", ErrorKind.RATE_LIMITED),
        ("something_new", ErrorKind.PROVIDER_ERROR),
    ],
)
def test_failure_codes(code: str, kind: ErrorKind) -> None:
    assert luma._ERRORS.verdict(code, "why").kind is kind
