"""What is special about Runway: its endpoints, its version header, its failure codes, its credits."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from providers.adapters import runway
from providers.contract import (
    Completed,
    ErrorKind,
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

FRAME = media(MediaRole.FIRST_FRAME, b"a", "image/png")
REFERENCE = media(MediaRole.REFERENCE, b"r", "image/png")
SOURCE = media(MediaRole.SOURCE, b"s")


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> runway.Runway:
    adapter = build_adapter(fake.upstream("runway"), door)
    assert isinstance(adapter, runway.Runway)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    return video_request(**{"model": "gen4.5", "size": "1280x720", "seconds": 5, **changes})


def sent(fake: FakeProviders) -> tuple[str, dict[str, Any]]:
    request = fake.requests("POST")[-1]
    assert request["headers"]["x-runway-version"] == "2024-11-06"
    return request["path"], request["fields"]


async def test_a_text_becomes_a_video(adapter: runway.Runway, fake: FakeProviders) -> None:
    parameters = {"seed": 7, "audio": True, "negative_prompt": "blur", "aspect_ratio": "16:9"}
    options = {"contentModeration": {"publicFigureThreshold": "low"}, "seed": 8}
    await adapter.submit(asked(parameters=parameters, provider_options=options))
    assert sent(fake) == (
        "/runway/v1/text_to_video",
        {
            "model": "gen4.5",
            "promptText": "a fox",
            "ratio": "1280:720",
            "duration": 5,
            "seed": 8,
            "audio": True,
            "negativePrompt": "blur",
            "contentModeration": {"publicFigureThreshold": "low"},
        },
    )


async def test_frames_are_positions_of_the_image_endpoint(
    adapter: runway.Runway, fake: FakeProviders
) -> None:
    frames = (
        media(MediaRole.LAST_FRAME, b"z", "image/png"),
        media(MediaRole.FIRST_FRAME, b"a", "image/jpeg"),
    )
    await adapter.submit(asked(media=frames))
    path, body = sent(fake)
    assert path == "/runway/v1/image_to_video"
    assert body["promptImage"] == [
        {"position": "first", "uri": "data:image/jpeg;base64,YQ=="},
        {"position": "last", "uri": "data:image/png;base64,eg=="},
    ]


async def test_references_and_sources(adapter: runway.Runway, fake: FakeProviders) -> None:
    await adapter.submit(asked(model="seedance2", media=(REFERENCE, REFERENCE)))
    path, body = sent(fake)
    assert path == "/runway/v1/text_to_video"
    assert body["references"] == [{"uri": "data:image/png;base64,cg=="}] * 2
    for wire, name in (({}, "videoUri"), ({"source": "promptVideo"}, "promptVideo")):
        await adapter.submit(asked(model="aleph2", operation=Operation.EDIT, media=(SOURCE,), wire=wire))
        assert sent(fake) == (
            "/runway/v1/video_to_video",
            {"model": "aleph2", "promptText": "a fox", name: "data:video/mp4;base64,cw=="},
        )


async def test_some_models_speak_in_words(adapter: runway.Runway) -> None:
    request = asked(resolution="768p", aspect_ratio="16:9")
    assert runway._FIELDS.shape(request) == {"resolution": "768p", "ratio": "16:9"}
    assert runway._FIELDS.shape(replace(request, wire={"aspect_ratio": False})) == {"resolution": "768p"}


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        (
            {"media": (media(MediaRole.CHARACTER, b"c"),)},
            ErrorKind.INVALID_REQUEST,
            "character: .* no such file",
        ),
        (
            {"media": (FRAME, REFERENCE)},
            ErrorKind.INVALID_REQUEST,
            "reference_images: .* only without frames",
        ),
        ({"operation": Operation.EDIT}, ErrorKind.INVALID_REQUEST, "video: gen4.5 edits a video"),
        ({"operation": Operation.EXTEND}, ErrorKind.INVALID_REQUEST, "operation: gen4.5 cannot extend"),
        (
            {"media": (media(MediaRole.FIRST_FRAME, bytes(4 * 2**20)),)},
            ErrorKind.INPUT_MEDIA,
            "at most 3 MiB",
        ),
    ],
)
async def test_what_it_does_not_take(
    adapter: runway.Runway, fake: FakeProviders, changes: dict[str, Any], kind: ErrorKind, message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is kind
    assert not fake.requests()


async def test_throttled_is_queued_and_progress_is_percent(
    adapter: runway.Runway, fake: FakeProviders
) -> None:
    fake.config(run_seconds=[600, 600])
    handle = (await adapter.submit(asked())).handle
    assert await adapter.poll(handle) == Running(None, queued=True)
    fake.config(run_seconds=[0.5, 0.5])
    handle = (await adapter.submit(asked())).handle
    seen = set()
    while isinstance(status := await adapter.poll(handle), Running):
        seen.add((status.progress, status.queued))
    assert seen <= {(None, True), (25, False)}
    assert (25, False) in seen


async def test_credits_are_the_cost(adapter: runway.Runway) -> None:
    status = await ended(adapter, (await adapter.submit(asked())).handle)
    assert isinstance(status, Completed)
    assert status.cost is not None
    assert (status.cost.amount, status.cost.currency) == (Decimal(48), "credit")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("SAFETY.INPUT.TEXT", ErrorKind.MODERATION_BLOCKED),
        ("SAFETY.OUTPUT.VIDEO", ErrorKind.MODERATION_BLOCKED),
        ("ASSET.INVALID", ErrorKind.INPUT_MEDIA),
        ("INTERNAL.BAD_OUTPUT.CODE01", ErrorKind.PROVIDER_ERROR),
        ("INTERNAL", ErrorKind.PROVIDER_ERROR),
        (None, ErrorKind.PROVIDER_ERROR),
    ],
)
def test_failure_codes(code: str | None, kind: ErrorKind) -> None:
    assert runway._ERRORS.verdict(code, "why").kind is kind
