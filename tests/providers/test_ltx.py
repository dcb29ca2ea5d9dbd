"""What is special about LTX: an endpoint per kind of work, which the poll needs again; its error types."""

from dataclasses import replace
from typing import Any

import pytest

from providers.adapters import ltx
from providers.contract import (
    Completed,
    ErrorKind,
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

FIRST = media(MediaRole.FIRST_FRAME, b"a", "image/png")
LAST = replace(media(MediaRole.LAST_FRAME, b"z", "image/png"), url="https://onereel.example/z")
SOURCE = media(MediaRole.SOURCE, b"v", "video/mp4")
BEFORE = media(MediaRole.EXTEND_FROM, b"v", "video/mp4")
VIDEO = "data:video/mp4;base64,dg=="


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> ltx.Ltx:
    adapter = build_adapter(fake.upstream("ltx"), door)
    assert isinstance(adapter, ltx.Ltx)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    return video_request(**{"model": "ltx-2-3-pro", "size": "1920x1080", "seconds": 8, **changes})


async def test_a_text_becomes_a_video(adapter: ltx.Ltx, fake: FakeProviders) -> None:
    parameters = {"audio": False, "fps": 50}
    await adapter.submit(asked(parameters=parameters, provider_options={"camera_motion": "dolly_in"}))
    request = fake.requests("POST")[-1]
    assert request["path"] == "/ltx/v2/text-to-video"
    assert request["fields"] == {
        "model": "ltx-2-3-pro",
        "prompt": "a fox",
        "duration": 8,
        "resolution": "1920x1080",
        "generate_audio": False,
        "fps": 50,
        "camera_motion": "dolly_in",
    }


@pytest.mark.parametrize(
    ("changes", "endpoint", "fields"),
    [
        (
            {"media": (FIRST,)},
            "image-to-video",
            {"duration": 8, "resolution": "1920x1080", "image_uri": "data:image/png;base64,YQ=="},
        ),
        (
            {"media": (LAST, FIRST)},
            "image-to-video",
            {
                "duration": 8,
                "resolution": "1920x1080",
                "image_uri": "data:image/png;base64,YQ==",
                "last_frame_uri": "https://onereel.example/z",
            },
        ),
        (
            {"operation": Operation.EXTEND, "media": (BEFORE,), "parameters": {"audio": True}},
            "extend",
            {"duration": 8, "mode": "end", "video_uri": VIDEO},
        ),
        (
            {"operation": Operation.EDIT, "media": (SOURCE,), "seconds": "6.5"},
            "retake",
            {"start_time": 0, "duration": 6.5, "mode": "replace_audio_and_video", "video_uri": VIDEO},
        ),
    ],
)
async def test_files_choose_the_endpoint_which_the_poll_keeps(
    adapter: ltx.Ltx, fake: FakeProviders, changes: dict[str, Any], endpoint: str, fields: dict[str, Any]
) -> None:
    handle = (await adapter.submit(asked(**changes))).handle
    body = fake.requests("POST")[-1]["fields"]
    assert body == {"model": "ltx-2-3-pro", "prompt": "a fox", **fields}
    assert isinstance(await ended(adapter, handle), Completed)
    assert fake.requests("GET")[-1]["path"] == f"/ltx/v2/{endpoint}/{handle['id']}"
    with pytest.raises(ProviderError) as caught:
        await adapter.poll({**handle, "path": "/v2/another"})
    assert caught.value.kind is ErrorKind.JOB_LOST


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"media": (LAST,)}, "last_frame: .* only with a first frame"),
        ({"media": (media(MediaRole.REFERENCE, b"r", "image/png"),)}, "reference: .* takes no such file"),
        ({"operation": Operation.EDIT}, "video: .* needs the video to edit"),
        ({"operation": Operation.EXTEND}, "video: .* needs the video to extend"),
        (
            {"operation": Operation.EXTEND, "media": (BEFORE,), "parameters": {"audio": False}},
            "audio: .* silent",
        ),
        ({"operation": Operation.EDIT, "media": (SOURCE,), "parameters": {"fps": 24}}, "fps: .* no such"),
        ({"parameters": {"seed": 1}}, "seed: .* takes no such parameter"),
        ({"parameters": {"negative_prompt": "blur"}}, "negative_prompt: .* takes no such parameter"),
        ({"seconds": "6.5"}, "seconds: .* whole seconds"),
    ],
)
async def test_what_it_does_not_take(
    adapter: ltx.Ltx, fake: FakeProviders, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not fake.requests()


@pytest.mark.parametrize(
    ("file", "fits"),
    [
        (media(MediaRole.FIRST_FRAME, bytes(5_249_925), "image/png"), True),
        (media(MediaRole.FIRST_FRAME, bytes(5_249_926), "image/png"), False),
    ],
)
async def test_a_data_uri_has_at_most_seven_megabytes(
    adapter: ltx.Ltx, fake: FakeProviders, file: MediaInput, fits: bool
) -> None:
    if fits:
        await adapter.submit(asked(media=(file,)))
        assert len(fake.requests("POST")[-1]["fields"]["image_uri"]) <= 7_000_000
        return
    with pytest.raises(ProviderError) as caught:
        await adapter.submit(asked(media=(file,)))
    assert caught.value.kind is ErrorKind.INPUT_MEDIA


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("content_filtered_error", ErrorKind.MODERATION_BLOCKED),
        ("request_too_large", ErrorKind.INPUT_MEDIA),
        ("invalid_request_error", ErrorKind.INVALID_REQUEST),
        ("api_error", ErrorKind.PROVIDER_ERROR),
        (None, ErrorKind.PROVIDER_ERROR),
    ],
)
def test_error_types_of_a_job(code: str | None, kind: ErrorKind) -> None:
    assert ltx._ERRORS.verdict(code, "why").kind is kind
