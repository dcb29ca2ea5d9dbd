"""What is special about Higgsfield: a key of two parts, moderation as a state, limits told in words."""

import json
from dataclasses import replace
from typing import Any

import pytest

from providers.adapters import higgsfield
from providers.answers import Response
from providers.contract import Completed, ErrorKind, Failed, MediaRole, ProviderError, Running, VideoRequest
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import Exchange, answering, ended, media, serving, video_request

FRAME = media(MediaRole.FIRST_FRAME, b"a", "image/png")
HOSTED = replace(FRAME, url="https://onereel.example/1.png")


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> higgsfield.Higgsfield:
    adapter = build_adapter(fake.upstream("higgsfield"), door)
    assert isinstance(adapter, higgsfield.Higgsfield)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    values = {"model": "acme/dop/image-to-video", "resolution": "720p", "aspect_ratio": "16:9"}
    return video_request(**{**values, **changes})


async def test_a_picture_becomes_a_video(adapter: higgsfield.Higgsfield, fake: FakeProviders) -> None:
    callback = "https://onereel.example/callback/1?a=b"
    await adapter.submit(
        asked(
            parameters={"seed": 7},
            media=(HOSTED,),
            callback_url=callback,
            provider_options={"motion": "dolly"},
        )
    )
    request = fake.requests("POST")[-1]
    assert request["path"] == "/higgsfield/acme/dop/image-to-video"
    assert request["query"] == {"hf_webhook": callback}
    assert request["headers"]["authorization"] == "Key conformance-key-id:conformance-key-secret"
    assert request["fields"] == {
        "prompt": "a fox",
        "duration": 4,
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "seed": 7,
        "image_url": "https://onereel.example/1.png",
        "motion": "dolly",
    }


async def test_a_model_spells_its_arguments(adapter: higgsfield.Higgsfield, fake: FakeProviders) -> None:
    last = replace(HOSTED, role=MediaRole.LAST_FRAME)
    wire = {"last_frame": "end_image_url", "audio": "sound", "720p": "720p"}
    await adapter.submit(asked(wire=wire, media=(last,), parameters={"audio": True}))
    sent = fake.requests("POST")[-1]["fields"]
    assert (sent["end_image_url"], sent["sound"]) == ("https://onereel.example/1.png", True)


async def test_a_file_without_an_address_is_uploaded(
    adapter: higgsfield.Higgsfield, fake: FakeProviders
) -> None:
    await adapter.submit(asked(media=(FRAME,)))
    ticket, upload, create = fake.requests()
    assert ticket["fields"] == {"content_type": "image/png"}
    assert (upload["method"], upload["path"]) == ("PUT", "/higgsfield/uploads/image.png")
    assert upload["headers"]["content-type"] == "image/png"
    assert "authorization" not in upload["headers"]
    assert create["fields"]["image_url"] == "https://cdn.example/image.png"


@pytest.mark.parametrize(
    ("ticket", "put", "kind"),
    [
        (b"{}", 200, ErrorKind.PROVIDER_ERROR),
        (b"{", 200, ErrorKind.PROVIDER_ERROR),
        (None, 403, ErrorKind.PROVIDER_ERROR),
        (None, 503, ErrorKind.PROVIDER_UNAVAILABLE),
    ],
)
async def test_an_upload_that_fails_has_made_no_job(
    fake: FakeProviders, ticket: bytes | None, put: int, kind: ErrorKind
) -> None:
    async def respond(exchange: Exchange) -> None:
        await exchange.body()
        url = f"http://localhost:{other.port}/put"
        named = json.dumps({"public_url": "https://cdn.example/1", "upload_url": url}).encode()
        is_put = exchange.line.startswith("PUT ")
        await exchange.answer(put if is_put else 200, b"" if is_put else ticket or named)

    async with serving(respond) as other:
        door = HttpDoor(allowed_private_hosts=(f"localhost:{other.port}",))
        adapter = build_adapter(fake.upstream("higgsfield", base_url=f"http://127.0.0.1:{other.port}"), door)
        with pytest.raises(ProviderError) as caught:
            await adapter.submit(asked(media=(FRAME,)))
        await door.close()
    assert (caught.value.kind, caught.value.ambiguous) == (kind, False)
    methods = [exchange.line.partition(" ")[0] for exchange in other.exchanges]
    assert methods == (["POST"] if ticket else ["POST", "PUT"])


async def test_an_address_of_this_network_gets_no_file(fake: FakeProviders) -> None:
    body = b'{"public_url": "https://cdn.example/1", "upload_url": "http://127.0.0.1:1/put"}'
    async with serving(answering(200, body)) as other:
        door = HttpDoor()
        adapter = build_adapter(fake.upstream("higgsfield", base_url=f"http://127.0.0.1:{other.port}"), door)
        with pytest.raises(ProviderError, match="named for the upload is refused") as caught:
            await adapter.submit(asked(media=(FRAME,)))
        await door.close()
    assert caught.value.kind is ErrorKind.PROVIDER_ERROR
    assert len(other.exchanges) == 1


async def test_a_large_file_is_refused(adapter: higgsfield.Higgsfield, fake: FakeProviders) -> None:
    with pytest.raises(ProviderError, match=f"{50 * 1024 * 1024} can be uploaded") as caught:
        await adapter.submit(asked(media=(replace(FRAME, size=50 * 1024 * 1024 + 1),)))
    assert caught.value.kind is ErrorKind.INPUT_MEDIA
    assert fake.stats()["jobs"] == 0


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"media": (HOSTED, HOSTED)}, ErrorKind.INVALID_REQUEST, "first_frame: .* at most 1"),
        ({"parameters": {"fps": 24}}, ErrorKind.INVALID_REQUEST, "fps: .* takes no such parameter"),
        (
            {"resolution": None, "aspect_ratio": None},
            ErrorKind.INVALID_REQUEST,
            "size: .* resolutions and aspect ratios",
        ),
    ],
)
async def test_what_it_does_not_take(
    adapter: higgsfield.Higgsfield,
    fake: FakeProviders,
    changes: dict[str, Any],
    kind: ErrorKind,
    message: str,
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is kind
    assert not fake.requests()


@pytest.mark.parametrize(
    ("status", "detail", "kind"),
    [
        (400, "Maximum number of concurrent requests (4) has been reached", ErrorKind.CONCURRENCY_LIMITED),
        (403, "Not enough credits", ErrorKind.PROVIDER_FUNDS),
        (403, "Forbidden", ErrorKind.PROVIDER_AUTH),
        (400, "Bad arguments", ErrorKind.INVALID_REQUEST),
    ],
)
def test_limits_are_told_in_words(status: int, detail: str, kind: ErrorKind) -> None:
    error = higgsfield._ERRORS(Response(status, {}, f'{{"detail": "{detail}"}}'.encode()))
    assert error is not None
    assert (error.kind, error.message) == (kind, detail)


async def test_moderation_is_a_state(adapter: higgsfield.Higgsfield) -> None:
    status = await ended(adapter, (await adapter.submit(asked(prompt="[fault:moderation]"))).handle)
    assert isinstance(status, Failed)
    assert (status.error.kind, status.error.upstream_code) == (ErrorKind.MODERATION_BLOCKED, "nsfw")


async def test_one_that_has_begun_is_not_cancelled(
    adapter: higgsfield.Higgsfield, fake: FakeProviders
) -> None:
    fake.config(run_seconds=[0.3, 0.3])
    handle = (await adapter.submit(asked())).handle
    while isinstance(seen := await adapter.poll(handle), Running) and seen.queued:
        pass
    await adapter.cancel(handle)
    assert isinstance(await ended(adapter, handle), Completed)
