"""What is special about OpenRouter: frames and references as parts, continued jobs, two addresses, costs in USD."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from providers.adapters import openrouter
from providers.contract import (
    CallbackRefused,
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

FIRST = media(MediaRole.FIRST_FRAME, b"a", "image/png")
LAST = replace(media(MediaRole.LAST_FRAME, b"b", "image/png"), url="https://onereel.example/last.png")


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> openrouter.OpenRouter:
    adapter = build_adapter(fake.upstream("openrouter"), door)
    assert isinstance(adapter, openrouter.OpenRouter)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    values = {"model": "google/veo-3.1", "resolution": "720p", "aspect_ratio": "9:16"}
    return video_request(**{**values, **changes})


async def test_a_text_becomes_a_video(adapter: openrouter.OpenRouter, fake: FakeProviders) -> None:
    callback = "https://onereel.example/callback/1"
    options = {"provider": {"options": {"google-vertex": {"negativePrompt": "blur"}}}}
    parameters = {"audio": False, "seed": 7}
    await adapter.submit(asked(parameters=parameters, callback_url=callback, provider_options=options))
    request = fake.requests("POST")[-1]
    assert request["path"] == "/openrouter/api/v1/videos"
    assert request["headers"]["authorization"] == "Bearer sk-conformance-credential"
    assert request["fields"] == {
        "model": "google/veo-3.1",
        "prompt": "a fox",
        "duration": 4,
        "resolution": "720p",
        "aspect_ratio": "9:16",
        "generate_audio": False,
        "seed": 7,
        "callback_url": callback,
        **options,
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"resolution": "4k", "aspect_ratio": "16:9"}, {"resolution": "4K", "aspect_ratio": "16:9"}),
        ({"resolution": "1080p", "aspect_ratio": "9:21"}, {"resolution": "1080p", "aspect_ratio": "9:21"}),
        ({"resolution": None, "aspect_ratio": None, "size": "960x540"}, {"size": "960x540"}),
    ],
)
async def test_a_size_in_words_or_pixels(
    adapter: openrouter.OpenRouter, fake: FakeProviders, words: dict[str, Any], expected: dict[str, str]
) -> None:
    await adapter.submit(asked(**words, callback_url="http://onereel.example/plain"))
    sent = fake.requests("POST")[-1]["fields"]
    shape = {name: sent.get(name) for name in ("resolution", "aspect_ratio", "size") if name in sent}
    assert shape == expected
    assert "callback_url" not in sent, "it calls https alone"


async def test_frames_and_references_are_parts(adapter: openrouter.OpenRouter, fake: FakeProviders) -> None:
    references = (
        media(MediaRole.REFERENCE, b"c", "image/jpeg"),
        media(MediaRole.REFERENCE, b"d", "video/mp4"),
        media(MediaRole.REFERENCE, b"e", "audio/mpeg"),
    )
    await adapter.submit(asked(media=(LAST, FIRST)))
    sent = fake.requests("POST")[-1]["fields"]
    assert sent["frame_images"] == [
        {
            "type": "image_url",
            "image_url": {"url": "data:image/png;base64,YQ=="},
            "frame_type": "first_frame",
        },
        {
            "type": "image_url",
            "image_url": {"url": "https://onereel.example/last.png"},
            "frame_type": "last_frame",
        },
    ]
    assert "input_references" not in sent
    await adapter.submit(asked(media=references))
    sent = fake.requests("POST")[-1]["fields"]
    assert "frame_images" not in sent
    assert sent["input_references"] == [
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,Yw=="}},
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,ZA=="}},
        {"type": "audio_url", "audio_url": {"url": "data:audio/mpeg;base64,ZQ=="}},
    ]


@pytest.mark.parametrize("operation", [Operation.EDIT, Operation.EXTEND])
async def test_a_job_goes_on_from_one_of_its_own(
    adapter: openrouter.OpenRouter, fake: FakeProviders, operation: Operation
) -> None:
    first = await adapter.submit(asked())
    await adapter.submit(asked(operation=operation, source=first.handle))
    assert fake.requests("POST")[-1]["fields"]["previous_job_id"] == first.handle["id"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"operation": Operation.EXTEND}, "source: .* made itself"),
        ({"operation": Operation.REMIX}, "operation: google/veo-3.1 cannot remix"),
        ({"media": (FIRST, FIRST)}, "first_frame: .* at most 1"),
        ({"media": (FIRST, media(MediaRole.REFERENCE, b"r", "image/png"))}, "only without other frames"),
        ({"media": (media(MediaRole.SOURCE, b"v"),)}, "source: .* takes no such file"),
        ({"parameters": {"negative_prompt": "blur"}}, "negative_prompt: .* takes no such parameter"),
        ({"seconds": Decimal("2.5")}, "seconds: .* takes whole seconds"),
    ],
)
async def test_what_it_does_not_take(
    adapter: openrouter.OpenRouter, fake: FakeProviders, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not fake.requests()


async def test_the_cost_is_reported_and_the_signed_address_needs_no_key(
    adapter: openrouter.OpenRouter, fake: FakeProviders
) -> None:
    fake.config(api_key="sk-conformance-credential", run_seconds=[0.3, 0.3])
    handle = (await adapter.submit(asked())).handle
    assert isinstance(seen := await adapter.poll(handle), Running)
    assert seen.progress is None
    status = await ended(adapter, handle)
    assert isinstance(status, Completed)
    assert status.cost is not None
    assert (status.cost.amount, status.cost.currency) == (Decimal("0.605"), "USD")
    assert status.outputs["url"].startswith("http://localhost")


async def test_without_a_stored_copy_the_key_opens_the_other_address(
    adapter: openrouter.OpenRouter, fake: FakeProviders
) -> None:
    fake.config(api_key="sk-conformance-credential")
    handle = (await adapter.submit(asked(prompt="no copy"))).handle
    status = await ended(adapter, handle)
    assert isinstance(status, Completed)
    assert "/api/v1/videos/" in status.outputs["url"]
    content = await adapter.open_content(handle, status.outputs)
    assert b"".join([chunk async for chunk in content.chunks])[4:8] == b"ftyp"
    gone = {"url": status.outputs["url"].replace(handle["id"], "another")}
    with pytest.raises(ProviderError) as caught:
        await adapter.open_content(handle, gone)
    assert caught.value.kind is ErrorKind.CONTENT_EXPIRED


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Rejected: the prompt was flagged by moderation", ErrorKind.MODERATION_BLOCKED),
        ("Content Policy violation", ErrorKind.MODERATION_BLOCKED),
        ("The provider is overloaded", ErrorKind.PROVIDER_ERROR),
        (None, ErrorKind.PROVIDER_ERROR),
    ],
)
def test_failures_are_told_in_words(text: str | None, kind: ErrorKind) -> None:
    assert openrouter._ERRORS.verdict(None, text).kind is kind


async def test_without_a_secret_no_callback_is_believed(fake: FakeProviders, door: HttpDoor) -> None:
    adapter = build_adapter(fake.upstream("openrouter", options={}), door)
    assert isinstance(adapter, openrouter.OpenRouter)
    handle = (await adapter.submit(asked())).handle
    headers, body = fake.callback()
    with pytest.raises(CallbackRefused, match="no webhook secret is configured"):
        await adapter.verify_callback(handle, headers, body)


async def test_the_check_costs_nothing(adapter: openrouter.OpenRouter, fake: FakeProviders) -> None:
    assert await adapter.check()
    assert fake.stats()["jobs"] == 0
    fake.config(api_key="another")
    with pytest.raises(ProviderError) as caught:
        await adapter.check()
    assert caught.value.kind is ErrorKind.PROVIDER_AUTH
