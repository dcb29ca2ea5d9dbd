"""What is special about Replicate: inputs per model, versions, uploads, run times, waits told in words."""

import base64
from decimal import Decimal
from typing import Any

import pytest

from providers.adapters import replicate
from providers.answers import Response
from providers.contract import (
    CallbackRefused,
    Completed,
    ErrorKind,
    MediaRole,
    ProviderError,
    Running,
    VideoRequest,
)
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import media, video_request

WIRE = {"first_frame": "image", "reference": "reference_images"}


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> replicate.Replicate:
    adapter = build_adapter(fake.upstream("replicate"), door)
    assert isinstance(adapter, replicate.Replicate)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    values = {"model": "google/veo-3.1", "resolution": "720p", "aspect_ratio": "16:9"}
    return video_request(**{**values, **changes})


async def test_a_text_becomes_a_video(adapter: replicate.Replicate, fake: FakeProviders) -> None:
    callback = "https://onereel.example/callback/1"
    parameters = {"audio": True, "seed": 7, "negative_prompt": "blur"}
    await adapter.submit(asked(parameters=parameters, callback_url=callback, provider_options={"seed": 8}))
    request = fake.requests("POST")[-1]
    assert request["path"] == "/replicate/v1/models/google/veo-3.1/predictions"
    assert request["fields"] == {
        "input": {
            "prompt": "a fox",
            "duration": 4,
            "resolution": "720p",
            "aspect_ratio": "16:9",
            "generate_audio": True,
            "seed": 8,
            "negative_prompt": "blur",
        },
        "webhook": callback,
        "webhook_events_filter": ["completed"],
    }


async def test_a_version_is_named_in_the_body(adapter: replicate.Replicate, fake: FakeProviders) -> None:
    await adapter.submit(asked(model="acme/fox:0123abcd", callback_url="http://onereel.example/plain"))
    request = fake.requests("POST")[-1]
    assert request["path"] == "/replicate/v1/predictions"
    assert request["fields"]["version"] == "acme/fox:0123abcd"
    assert "webhook" not in request["fields"], "it calls https alone"


async def test_small_files_are_sent_along_and_large_ones_before(
    adapter: replicate.Replicate, fake: FakeProviders
) -> None:
    small = media(MediaRole.FIRST_FRAME, b"a", "image/png")
    large = media(MediaRole.REFERENCE, bytes(200_000), "image/png")
    await adapter.submit(asked(wire=WIRE, media=(small, large)))
    upload, create = fake.requests("POST")
    assert upload["path"] == "/replicate/v1/files"
    assert upload["files"]["content"][0]["size"] == 200_000
    assert create["fields"]["input"]["image"] == "data:image/png;base64,YQ=="
    (address,) = create["fields"]["input"]["reference_images"]
    assert address.startswith(f"{fake.origin}/replicate/v1/files/")


async def test_progress_is_read_from_the_logs(adapter: replicate.Replicate, fake: FakeProviders) -> None:
    fake.config(run_seconds=[0.5, 0.5])
    handle = (await adapter.submit(asked())).handle
    seen = set()
    while isinstance(status := await adapter.poll(handle), Running):
        seen.add((status.progress, status.queued))
    assert seen <= {(None, True), (40, False)}
    assert (40, False) in seen
    assert isinstance(status, Completed)
    assert status.gpu_seconds == Decimal("12.5")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("The output was flagged as sensitive", ErrorKind.MODERATION_BLOCKED),
        ("NSFW (E005)", ErrorKind.MODERATION_BLOCKED),
        ("CUDA out of memory", ErrorKind.OUT_OF_MEMORY),
        ("Prediction failed", ErrorKind.PROVIDER_ERROR),
        (None, ErrorKind.PROVIDER_ERROR),
    ],
)
def test_failures_are_told_in_words(text: str | None, kind: ErrorKind) -> None:
    assert replicate._ERRORS.verdict(None, text).kind is kind


def test_a_wait_is_told_in_words() -> None:
    body = b'{"detail": "Request was throttled. Your rate limit resets in ~30s."}'
    told = replicate._ERRORS(Response(429, {}, body))
    by_header = replicate._ERRORS(Response(429, {"retry-after": "7"}, body))
    assert told is not None
    assert by_header is not None
    assert (told.kind, told.retry_after, by_header.retry_after) == (ErrorKind.RATE_LIMITED, 30, 7)


async def test_the_secret_of_callbacks_is_read_once_or_configured(
    fake: FakeProviders, door: HttpDoor
) -> None:
    wrong = "whsec_" + base64.b64encode(b"another").decode()
    for secret, reads in ((None, 1), (wrong, 1)):
        options = {} if secret is None else {"webhook_secret": secret}
        adapter = build_adapter(fake.upstream("replicate", options=options), door)
        assert isinstance(adapter, replicate.Replicate)
        handle = (await adapter.submit(asked())).handle
        headers, body = fake.callback()
        for _ in range(2):
            if secret is None:
                await adapter.verify_callback(handle, headers, body)
            else:
                with pytest.raises(CallbackRefused):
                    await adapter.verify_callback(handle, headers, body)
        assert sum(r["path"].endswith("/default/secret") for r in fake.requests()) == reads


async def test_the_check_costs_nothing(adapter: replicate.Replicate, fake: FakeProviders) -> None:
    assert await adapter.check()
    assert fake.stats()["jobs"] == 0
    fake.config(api_key="another")
    with pytest.raises(ProviderError) as caught:
        await adapter.check()
    assert caught.value.kind is ErrorKind.PROVIDER_AUTH
