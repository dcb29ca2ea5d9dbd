"""What is special about Together: lengths as text, media in one object, costs in USD."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from providers.adapters import together
from providers.contract import (
    Completed,
    ErrorKind,
    Failed,
    MediaInput,
    MediaRole,
    Operation,
    ProviderError,
    VideoRequest,
)
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import ended, media, video_request


def hosted(role: MediaRole, media_type: str, size: int = 1) -> MediaInput:
    return replace(
        media(role, bytes(size), media_type), url=f"https://onereel.example/{media_type.partition('/')[0]}"
    )


FIRST = media(MediaRole.FIRST_FRAME, b"a", "image/png")


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> together.Together:
    adapter = build_adapter(fake.upstream("together"), door)
    assert isinstance(adapter, together.Together)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    values = {"model": "google/veo-3.1", "resolution": "720p", "aspect_ratio": "16:9"}
    return video_request(**{**values, **changes})


def sent(fake: FakeProviders) -> dict[str, Any]:
    request = fake.requests("POST")[-1]
    assert request["path"] == "/together/v2/videos"
    fields: dict[str, Any] = request["fields"]
    return fields


async def test_a_text_becomes_a_video(adapter: together.Together, fake: FakeProviders) -> None:
    parameters = {"audio": True, "seed": 7, "fps": 24, "negative_prompt": "blur"}
    await adapter.submit(asked(parameters=parameters, provider_options={"steps": 30}))
    assert sent(fake) == {
        "model": "google/veo-3.1",
        "prompt": "a fox",
        "seconds": "4",
        "resolution": "720p",
        "ratio": "16:9",
        "generate_audio": True,
        "seed": 7,
        "fps": 24,
        "negative_prompt": "blur",
        "steps": 30,
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"resolution": None, "aspect_ratio": None, "size": "1366x768"}, {"width": 1366, "height": 768}),
        ({"aspect_ratio": "9:16"}, {"resolution": "720p", "ratio": "9:16"}),
        ({"aspect_ratio": "9:16", "wire": {"720p": "HD"}}, {"resolution": "HD", "ratio": "9:16"}),
    ],
)
def test_a_size_in_words_or_pixels(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    assert together._shape(asked(**changes)) == expected


async def test_media_lie_in_one_object(adapter: together.Together, fake: FakeProviders) -> None:
    references = tuple(hosted(MediaRole.REFERENCE, f"{kind}/x") for kind in ("image", "video", "audio"))
    last = hosted(MediaRole.LAST_FRAME, "image/png", 100_000)
    await adapter.submit(asked(media=(last, *references, FIRST)))
    assert sent(fake)["media"] == {
        "frame_images": [
            {"input_image": "data:image/png;base64,YQ==", "frame": "first"},
            {"input_image": "https://onereel.example/image", "frame": "last"},
        ],
        "reference_images": ["https://onereel.example/image"],
        "reference_videos": [{"video": "https://onereel.example/video"}],
        "audio_inputs": ["https://onereel.example/audio"],
    }


@pytest.mark.parametrize(
    ("operation", "role", "expected"),
    [
        (Operation.EDIT, MediaRole.SOURCE, {"source_video": "https://onereel.example/video"}),
        (
            Operation.EXTEND,
            MediaRole.EXTEND_FROM,
            {"frame_videos": [{"video": "https://onereel.example/video"}]},
        ),
    ],
)
async def test_a_video_is_worked_on(
    adapter: together.Together,
    fake: FakeProviders,
    operation: Operation,
    role: MediaRole,
    expected: dict[str, Any],
) -> None:
    await adapter.submit(asked(operation=operation, media=(hosted(role, "video/mp4"),)))
    assert sent(fake)["media"] == expected


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"media": (FIRST, FIRST)}, ErrorKind.INVALID_REQUEST, "first_frame: .* at most 1"),
        ({"operation": Operation.REMIX}, ErrorKind.INVALID_REQUEST, "operation: .* cannot remix"),
        (
            {"parameters": {"seed": 1}, "wire": {"seed": False}},
            ErrorKind.INVALID_REQUEST,
            "seed: .* takes no such parameter",
        ),
        (
            {"media": (media(MediaRole.FIRST_FRAME, bytes(100_000), "image/png"),)},
            ErrorKind.INPUT_MEDIA,
            "ONEREEL_PUBLIC_URL",
        ),
        ({"media": (media(MediaRole.SOURCE, b"v"),)}, ErrorKind.INPUT_MEDIA, "ONEREEL_PUBLIC_URL"),
    ],
)
async def test_what_it_does_not_take(
    adapter: together.Together, fake: FakeProviders, changes: dict[str, Any], kind: ErrorKind, message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is kind
    assert not fake.requests()


async def test_the_cost_is_reported(adapter: together.Together) -> None:
    status = await ended(adapter, (await adapter.submit(asked())).handle)
    assert isinstance(status, Completed)
    assert status.cost is not None
    assert (status.cost.amount, status.cost.currency) == (Decimal("1.6"), "USD")


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ("moderation", ErrorKind.MODERATION_BLOCKED, "content_policy_violation"),
        ("failed", ErrorKind.PROVIDER_ERROR, "internal_error"),
    ],
)
async def test_a_failure_has_a_code(
    adapter: together.Together, fault: str, kind: ErrorKind, code: str
) -> None:
    status = await ended(adapter, (await adapter.submit(asked(prompt=f"[fault:{fault}]"))).handle)
    assert isinstance(status, Failed)
    assert (status.error.kind, status.error.upstream_code) == (kind, code)
