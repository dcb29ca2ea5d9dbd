"""What is special about fal: fields that differ per endpoint, addresses in the answer, failures on the result."""

from dataclasses import replace
from typing import Any

import pytest

from providers.adapters import fal
from providers.contract import Completed, ErrorKind, Failed, MediaRole, ProviderError, Submitted, VideoRequest
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import Exchange, answering, ended, media, serving, video_request

FRAME = media(MediaRole.FIRST_FRAME, b"a", "image/png")


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> fal.Fal:
    adapter = build_adapter(fake.upstream("fal"), door)
    assert isinstance(adapter, fal.Fal)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    values = {
        "model": "fal-ai/veo3.1",
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "wire": {"seconds": "4s"},
    }
    return video_request(**{**values, **changes})


async def test_a_text_becomes_a_video(adapter: fal.Fal, fake: FakeProviders) -> None:
    callback = "https://onereel.example/callback/1?a=b"
    parameters = {"audio": False, "seed": 7, "negative_prompt": "blur"}
    await adapter.submit(
        asked(parameters=parameters, callback_url=callback, provider_options={"auto_fix": True})
    )
    request = fake.requests("POST")[-1]
    assert (request["path"], request["query"]) == ("/fal/fal-ai/veo3.1", {"fal_webhook": callback})
    assert request["headers"]["authorization"] == "Key conformance-key-id:conformance-key-secret"
    assert request["fields"] == {
        "prompt": "a fox",
        "duration": "4s",
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "generate_audio": False,
        "seed": 7,
        "negative_prompt": "blur",
        "auto_fix": True,
    }


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        ({"seconds": "4s", "audio": "sound"}, {"duration": "8s", "sound": True}),
        ({"seconds": '"4"', "resolution": False}, {"duration": "8", "resolution": None}),
        ({"seconds": "4", "aspect_ratio": False}, {"duration": 8, "aspect_ratio": None}),
        ({"seconds": "num_seconds", "720p": "hd"}, {"num_seconds": 8, "duration": None, "resolution": "hd"}),
        ({"seconds": False, "resolution": "quality"}, {"duration": None, "quality": "720p"}),
        ({"size": "1280*720"}, {"size": "720*1280", "resolution": None, "aspect_ratio": None}),
        ({}, {"duration": 8, "generate_audio": True}),
    ],
)
def test_an_endpoint_spells_its_fields(wire: dict[str, Any], expected: dict[str, Any]) -> None:
    request = asked(wire=wire, seconds=8, parameters={"audio": True})
    body = fal._FIELDS.length(request) | fal._FIELDS.shape(request) | fal._FIELDS.parameters(request)
    assert {name: body.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        ({"size": "1280*720"}, {"size": "1280*720"}),
        ({"size": "dimensions"}, {"dimensions": "1280x720"}),
        ({"resolution": False}, {"aspect_ratio": "16:9"}),
        ({}, {"resolution": "720p", "aspect_ratio": "16:9"}),
    ],
)
def test_a_size_that_the_row_has_no_words_for(wire: dict[str, Any], expected: dict[str, Any]) -> None:
    request = asked(wire=wire, resolution=None, aspect_ratio=None, size="1280x720")
    assert fal._FIELDS.shape(request) == expected
    with pytest.raises(ProviderError, match="size: 1000x900 has no usual resolution"):
        fal._FIELDS.shape(replace(request, wire={}, size="1000x900"))


async def test_files_lie_under_the_endpoints_names(adapter: fal.Fal, fake: FakeProviders) -> None:
    wire = {"seconds": "4s", "first_frame": "image_url", "reference": "image_urls"}
    reference = replace(media(MediaRole.REFERENCE, b"r", "image/png"), url="https://onereel.example/1.png")
    await adapter.submit(asked(wire=wire, media=(reference, FRAME, reference)))
    body = fake.requests("POST")[-1]["fields"]
    assert body["image_url"] == "data:image/png;base64,YQ=="
    assert body["image_urls"] == ["https://onereel.example/1.png"] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"media": (FRAME,)}, "first_frame: fal-ai/veo3.1 has no field for such a file"),
        ({"media": (FRAME, FRAME), "wire": {"first_frame": "image_url"}}, "first_frame: .* at most 1"),
        ({"parameters": {"seed": 1}, "wire": {"seed": False}}, "seed: .* takes no such parameter"),
        ({"parameters": {"fps": 24}}, "fps: .* takes no such parameter"),
    ],
)
async def test_what_an_endpoint_does_not_take(
    adapter: fal.Fal, fake: FakeProviders, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not fake.requests()


async def test_the_handle_holds_the_addresses_of_the_answer(adapter: fal.Fal, fake: FakeProviders) -> None:
    handle = (await adapter.submit(asked(model="fal-ai/veo3.1/fast/image-to-video"))).handle
    base = f"{fake.origin}/fal/fal-ai/veo3.1/requests/{handle['request_id']}"
    assert handle == {
        "request_id": handle["request_id"],
        "response_url": base,
        "status_url": f"{base}/status",
        "cancel_url": f"{base}/cancel",
    }


async def test_an_address_of_another_host_is_not_asked(adapter: fal.Fal, fake: FakeProviders) -> None:
    async with serving(answering(200, b'{"status": "COMPLETED"}')) as stranger:
        url = f"http://127.0.0.1:{stranger.port}/x"
        handle = {"request_id": "1", "status_url": url, "response_url": url, "cancel_url": url}
        for call in (adapter.poll(handle), adapter.cancel(handle)):
            with pytest.raises(ProviderError, match="not its own"):
                await call
        assert not stranger.exchanges


async def test_completed_is_not_success(adapter: fal.Fal) -> None:
    kinds = {
        "moderation": (ErrorKind.MODERATION_BLOCKED, "content_policy_violation"),
        "failed": (ErrorKind.PROVIDER_ERROR, "runner_server_error"),
        "completed_with_error": (ErrorKind.PROVIDER_ERROR, "startup_timeout"),
    }
    for fault, (kind, code) in kinds.items():
        status = await ended(adapter, (await adapter.submit(asked(prompt=f"[fault:{fault}]"))).handle)
        assert isinstance(status, Failed)
        assert (status.error.kind, status.error.upstream_code) == (kind, code)


async def test_a_result_that_cannot_be_read_is_no_verdict(fake: FakeProviders, door: HttpDoor) -> None:
    async def respond(exchange: Exchange) -> None:
        if "/status" in exchange.line:
            await exchange.answer(200, b'{"status": "COMPLETED"}')
        else:
            await exchange.answer(503, b"<html>busy</html>")

    async with serving(respond) as busy:
        base = f"http://127.0.0.1:{busy.port}"
        adapter = build_adapter(fake.upstream("fal", base_url=base), door)
        with pytest.raises(ProviderError) as caught:
            await adapter.poll({"status_url": f"{base}/status", "response_url": base})
    assert caught.value.kind is ErrorKind.PROVIDER_UNAVAILABLE


async def test_a_finished_request_is_cancelled_without_complaint(adapter: fal.Fal) -> None:
    submitted: Submitted = await adapter.submit(asked())
    assert isinstance(await ended(adapter, submitted.handle), Completed)
    await adapter.cancel(submitted.handle)
    await adapter.cancel({**submitted.handle, "cancel_url": f"{submitted.handle['cancel_url']}x/cancel"})
