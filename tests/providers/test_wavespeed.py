"""What is special about WaveSpeed: fields per model, two codes, uploads, callbacks with a secret taken as text."""

from dataclasses import replace
from typing import Any

import pytest

from providers.adapters import wavespeed
from providers.catalog_files import catalog_of
from providers.contract import (
    CallbackRefused,
    ErrorKind,
    Failed,
    MediaRole,
    ProviderError,
    VideoRequest,
)
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import answering, ended, media, serving, video_request

FRAME = media(MediaRole.FIRST_FRAME, b"a", "image/png")


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> wavespeed.WaveSpeed:
    adapter = build_adapter(fake.upstream("wavespeed"), door)
    assert isinstance(adapter, wavespeed.WaveSpeed)
    return adapter


def asked(model: str = "google/veo3", **changes: Any) -> VideoRequest:
    row = catalog_of("wavespeed").find(model)
    assert row is not None
    resolution, aspect_ratio = row.words_of("1280x720")
    values = {
        "model": model,
        "size": "1280x720",
        "resolution": resolution,
        "aspect_ratio": aspect_ratio,
        "wire": row.wire,
    }
    return video_request(**{**values, **changes})


async def test_a_text_becomes_a_video(adapter: wavespeed.WaveSpeed, fake: FakeProviders) -> None:
    callback = "https://onereel.example/callback/1?a=b"
    parameters = {"audio": True, "seed": 7, "negative_prompt": "blur"}
    await adapter.submit(asked(parameters=parameters, callback_url=callback, provider_options={"seed": 8}))
    request = fake.requests("POST")[-1]
    assert (request["path"], request["query"]) == ("/wavespeed/api/v3/google/veo3", {"webhook": callback})
    assert request["fields"] == {
        "prompt": "a fox",
        "duration": 4,
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "generate_audio": True,
        "seed": 8,
        "negative_prompt": "blur",
    }


async def test_a_model_spells_its_fields(adapter: wavespeed.WaveSpeed, fake: FakeProviders) -> None:
    await adapter.submit(
        asked("wavespeed-ai/wan-2.1/t2v-720p-ultra-fast", callback_url="http://onereel.example/plain")
    )
    request = fake.requests("POST")[-1]
    assert request["fields"] == {"prompt": "a fox", "duration": 4, "size": "1280*720"}
    assert not request["query"], "it calls https alone"
    await adapter.submit(asked("alibaba/wan-3.0/text-to-video", parameters={"audio": False}))
    assert fake.requests("POST")[-1]["fields"]["enable_audio"] is False


async def test_a_picture_gives_the_shape(adapter: wavespeed.WaveSpeed, fake: FakeProviders) -> None:
    hosted = replace(FRAME, url="https://onereel.example/1.png")
    await adapter.submit(asked("kwaivgi/kling-v2.1-i2v-standard", seconds=5, media=(hosted,)))
    assert fake.requests("POST")[-1]["fields"] == {
        "prompt": "a fox",
        "duration": 5,
        "image": "https://onereel.example/1.png",
    }


async def test_files_are_uploaded_unless_they_have_an_address(
    adapter: wavespeed.WaveSpeed, fake: FakeProviders
) -> None:
    await adapter.submit(asked(media=(FRAME,)))
    upload, create = fake.requests("POST")
    assert upload["path"] == "/wavespeed/api/v3/media/upload/binary"
    assert upload["files"]["file"][0]["size"] == 1
    assert create["fields"]["image"].startswith("https://cdn.example/")
    hosted = replace(FRAME, url="https://onereel.example/1.png")
    await adapter.submit(asked(media=(hosted,)))
    assert fake.requests("POST")[-1]["fields"]["image"] == "https://onereel.example/1.png"
    assert len(fake.requests("POST")) == 3


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b'{"code": 200, "data": {}}', ErrorKind.PROVIDER_ERROR),
        (200, b"{", ErrorKind.PROVIDER_ERROR),
        (503, b"<html>busy</html>", ErrorKind.PROVIDER_UNAVAILABLE),
    ],
)
async def test_an_upload_that_fails_has_made_no_job(
    fake: FakeProviders, door: HttpDoor, status: int, body: bytes, kind: ErrorKind
) -> None:
    async with serving(answering(status, body)) as other:
        adapter = build_adapter(fake.upstream("wavespeed", base_url=other.base_url), door)
        with pytest.raises(ProviderError) as caught:
            await adapter.submit(asked(media=(FRAME,)))
    assert (caught.value.kind, caught.value.ambiguous) == (kind, False)
    assert len(other.exchanges) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"media": (FRAME, FRAME)}, "first_frame: google/veo3 takes at most 1"),
        ({"media": (media(MediaRole.LAST_FRAME, b"a"),)}, "last_frame: .* has no field for such a file"),
        ({"parameters": {"fps": 24}}, "fps: .* takes no such parameter"),
    ],
)
async def test_what_a_model_does_not_take(
    adapter: wavespeed.WaveSpeed, fake: FakeProviders, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not [r for r in fake.requests() if not r["path"].endswith("/upload/binary")]


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ("moderation", ErrorKind.MODERATION_BLOCKED, "1200"),
        ("failed", ErrorKind.PROVIDER_ERROR, "1403"),
        ("expired", ErrorKind.PROVIDER_ERROR, "5004"),
        ("out_of_memory", ErrorKind.OUT_OF_MEMORY, "5000"),
    ],
)
async def test_a_failed_prediction_has_a_code(
    adapter: wavespeed.WaveSpeed, fault: str, kind: ErrorKind, code: str
) -> None:
    status = await ended(adapter, (await adapter.submit(asked(prompt=f"[fault:{fault}]"))).handle)
    assert isinstance(status, Failed)
    assert (status.error.kind, status.error.upstream_code) == (kind, code)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1400, ErrorKind.INVALID_REQUEST),
        (1401, ErrorKind.INVALID_REQUEST),
        (1402, ErrorKind.INPUT_MEDIA),
        (1405, ErrorKind.PROVIDER_ERROR),
        (5003, ErrorKind.PROVIDER_ERROR),
        (None, ErrorKind.PROVIDER_ERROR),
    ],
)
def test_the_codes_of_predictions(code: int | None, kind: ErrorKind) -> None:
    assert wavespeed._ERRORS.verdict(code, "why").kind is kind


def test_a_deleted_prediction_has_no_video() -> None:
    assert wavespeed._STATES.read("deleted") is ErrorKind.PROVIDER_ERROR
    assert wavespeed._STATES.read("cancelled") is ErrorKind.CANCELLED


async def test_the_secret_of_callbacks_is_read_once_or_configured(
    fake: FakeProviders, door: HttpDoor
) -> None:
    for options, right in (({}, True), ({"webhook_secret": "whsec_another"}, False)):
        adapter = build_adapter(fake.upstream("wavespeed", options=options), door)
        assert isinstance(adapter, wavespeed.WaveSpeed)
        handle = (await adapter.submit(asked())).handle
        headers, body = fake.callback()
        for _ in range(2):
            if right:
                await adapter.verify_callback(handle, headers, body)
            else:
                with pytest.raises(CallbackRefused):
                    await adapter.verify_callback(handle, headers, body)
        assert sum(r["path"].endswith("/webhook/secret") for r in fake.requests()) == 1


async def test_the_check_costs_nothing(adapter: wavespeed.WaveSpeed, fake: FakeProviders) -> None:
    assert await adapter.check() == "the balance is 12.5"
    assert fake.stats()["jobs"] == 0
    fake.config(api_key="another")
    with pytest.raises(ProviderError) as caught:
        await adapter.check()
    assert caught.value.kind is ErrorKind.PROVIDER_AUTH
