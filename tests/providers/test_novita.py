"""What is special about Novita: two shapes of a body, sizes with a star, reasons as codes, progress."""

from dataclasses import replace
from typing import Any

import pytest

from providers.adapters import novita
from providers.contract import Completed, ErrorKind, Failed, MediaRole, ProviderError, Running, VideoRequest
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import ended, media, video_request

FRAME = media(MediaRole.FIRST_FRAME, b"a", "image/png")
LAST = media(MediaRole.LAST_FRAME, b"z", "image/png")
PUBLIC = replace(FRAME, url="https://onereel.example/1.png")
SEEDANCE = {
    "model": "seedance-v1.5-pro-i2v",
    "wire": {"aspect_ratio": "ratio", "first_frame": "image", "last_frame": "last_image"},
}


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> novita.Novita:
    adapter = build_adapter(fake.upstream("novita"), door)
    assert isinstance(adapter, novita.Novita)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    values = {
        "model": "wan-2.5-t2v-preview",
        "size": "1088x832",
        "seconds": 5,
        "wire": {"size": "1280*720"},
    }
    return video_request(**{**values, **changes})


async def test_a_wan_model_has_input_and_parameters(adapter: novita.Novita, fake: FakeProviders) -> None:
    parameters = {"audio": False, "seed": 7, "negative_prompt": "blur"}
    options = {"parameters": {"prompt_extend": False}, "extra": {"webhook": {"url": "https://x.example/"}}}
    await adapter.submit(asked(parameters=parameters, provider_options=options))
    request = fake.requests("POST")[-1]
    assert request["path"] == "/novita/v3/async/wan-2.5-t2v-preview"
    assert request["fields"] == {
        "input": {"prompt": "a fox", "negative_prompt": "blur"},
        "parameters": {
            "size": "1088*832",
            "duration": 5,
            "audio": False,
            "seed": 7,
            "prompt_extend": False,
        },
        "extra": {"webhook": {"url": "https://x.example/"}},
    }


async def test_a_wan_model_takes_its_frame_by_address(adapter: novita.Novita, fake: FakeProviders) -> None:
    wan = {
        "model": "wan-2.5-i2v-preview",
        "resolution": "720p",
        "wire": {"720p": "720P", "aspect_ratio": False},
    }
    await adapter.submit(asked(media=(PUBLIC,), **wan))
    assert fake.requests("POST")[-1]["fields"] == {
        "input": {"prompt": "a fox", "img_url": "https://onereel.example/1.png"},
        "parameters": {"resolution": "720P", "duration": 5},
    }
    with pytest.raises(ProviderError, match="only by address") as caught:
        await adapter.submit(asked(media=(FRAME,), **wan))
    assert caught.value.kind is ErrorKind.INPUT_MEDIA


async def test_the_others_are_flat_and_spelled_by_their_row(
    adapter: novita.Novita, fake: FakeProviders
) -> None:
    words = {"resolution": "720p", "aspect_ratio": "9:16", "parameters": {"audio": True}}
    await adapter.submit(asked(media=(PUBLIC, LAST), **words, **SEEDANCE))
    request = fake.requests("POST")[-1]
    assert request["path"] == "/novita/v3/async/seedance-v1.5-pro-i2v"
    assert request["fields"] == {
        "prompt": "a fox",
        "duration": 5,
        "resolution": "720p",
        "ratio": "9:16",
        "generate_audio": True,
        "image": "https://onereel.example/1.png",
        "last_image": "data:image/png;base64,eg==",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"media": (LAST,)}, "last_frame: .* has no field for such a file"),
        ({"media": (PUBLIC,), "model": "kling-v2.5-turbo-i2v"}, "first_frame: .* has no field"),
        ({"parameters": {"fps": 24}}, "fps: .* takes no such parameter"),
    ],
)
async def test_what_a_model_does_not_take(
    adapter: novita.Novita, fake: FakeProviders, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not fake.requests()


async def test_progress_is_percent(adapter: novita.Novita, fake: FakeProviders) -> None:
    fake.config(run_seconds=[600, 600])
    assert await adapter.poll((await adapter.submit(asked())).handle) == Running(0, queued=True)
    fake.config(run_seconds=[0.5, 0.5])
    handle = (await adapter.submit(asked())).handle
    seen = set()
    while isinstance(status := await adapter.poll(handle), Running):
        seen.add((status.progress, status.queued))
    assert (40, False) in seen
    assert isinstance(status, Completed)
    assert status.cost is None


async def test_a_failed_task_carries_its_reason(adapter: novita.Novita) -> None:
    ends = {
        "failed": (ErrorKind.PROVIDER_ERROR, "the worker failed"),
        "moderation": (ErrorKind.MODERATION_BLOCKED, "ILLEGAL_PROMPT: the content is not allowed"),
    }
    for fault, end in ends.items():
        status = await ended(adapter, (await adapter.submit(asked(prompt=f"[fault:{fault}]"))).handle)
        assert isinstance(status, Failed)
        assert (status.error.kind, status.error.message) == end


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("ILLEGAL_IMAGE_CONTENT", ErrorKind.MODERATION_BLOCKED),
        ("NEED_REAL_NAME_VERIFY", ErrorKind.PROVIDER_AUTH),
        ("BILLING_BALANCE_NOT_ENOUGH", ErrorKind.PROVIDER_FUNDS),
        ("RATE_LIMIT_EXCEEDED", ErrorKind.RATE_LIMITED),
        ("TASK_FAILED", None),
    ],
)
def test_reasons(reason: str, kind: ErrorKind | None) -> None:
    assert novita._ERRORS.kind(reason) is kind
