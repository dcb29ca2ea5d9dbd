"""What is special about Vidu: a Token, a path per kind of input, credits, a cancel in time, signed callbacks."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from providers.adapters import vidu
from providers.contract import (
    CallbackRefused,
    Completed,
    ErrorKind,
    Failed,
    MediaRole,
    ProviderError,
    Running,
    VideoRequest,
)
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import ended, media, video_request

FIRST = media(MediaRole.FIRST_FRAME, b"a", "image/png")
LAST = media(MediaRole.LAST_FRAME, b"z", "image/png")
IMAGE = media(MediaRole.REFERENCE, b"r", "image/png")
LARGE = media(MediaRole.REFERENCE, bytes(8 * 2**20), "image/png")
A, Z, R = (f"data:image/png;base64,{text}" for text in ("YQ==", "eg==", "cg=="))
CALLBACK = "https://onereel.example/callback/1?x=1"


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> vidu.Vidu:
    adapter = build_adapter(fake.upstream("vidu"), door)
    assert isinstance(adapter, vidu.Vidu)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    return video_request(**{"model": "viduq3-pro", "size": "1920x1080", "seconds": 10, **changes})


async def test_a_text_becomes_a_video(adapter: vidu.Vidu, fake: FakeProviders) -> None:
    parameters = {"seed": 7, "audio": False, "service_tier": "flex"}
    options = {"movement_amplitude": "small"}
    await adapter.submit(asked(parameters=parameters, callback_url=CALLBACK, provider_options=options))
    request = fake.requests("POST")[-1]
    assert request["path"] == "/vidu/ent/v2/text2video"
    assert request["headers"]["authorization"] == "Token sk-conformance-credential"
    assert request["fields"] == {
        "model": "viduq3-pro",
        "prompt": "a fox",
        "duration": 10,
        "resolution": "1080p",
        "aspect_ratio": "16:9",
        "payload": "att_1",
        "seed": 7,
        "audio": False,
        "off_peak": True,
        "callback_url": CALLBACK,
        "movement_amplitude": "small",
    }


@pytest.mark.parametrize(
    ("files", "kind", "images"),
    [
        ((FIRST,), "img2video", [A]),
        ((replace(FIRST, url="https://o.example/1"),), "img2video", ["https://o.example/1"]),
        ((LAST, FIRST), "start-end2video", [A, Z]),
        ((IMAGE,) * 7, "reference2video", [R] * 7),
    ],
)
async def test_files_choose_the_path(
    adapter: vidu.Vidu, fake: FakeProviders, files: tuple[Any, ...], kind: str, images: list[str]
) -> None:
    await adapter.submit(asked(media=files))
    request = fake.requests("POST")[-1]
    assert request["path"] == f"/vidu/ent/v2/{kind}"
    assert request["fields"]["images"] == images
    assert ("aspect_ratio" in request["fields"]) == (kind == "reference2video")


async def test_the_size_in_the_words_of_the_catalogue(adapter: vidu.Vidu, fake: FakeProviders) -> None:
    await adapter.submit(asked(size="2560x1440", media=(FIRST,)))
    assert fake.requests("POST")[-1]["fields"]["resolution"] == "2K"
    await adapter.submit(asked(size="960x540", resolution="540p", wire={"aspect_ratio": False}))
    body = fake.requests("POST")[-1]["fields"]
    assert body["resolution"] == "540p"
    assert "aspect_ratio" not in body


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"media": (LAST,)}, ErrorKind.INVALID_REQUEST, "last_frame: .* only with a first frame"),
        ({"media": (FIRST, IMAGE)}, ErrorKind.INVALID_REQUEST, "reference_images: .* only without other frames"),
        ({"media": (IMAGE,) * 8}, ErrorKind.INVALID_REQUEST, "reference: .* at most 7"),
        ({"media": (media(MediaRole.REFERENCE, b"v"),)}, ErrorKind.INVALID_REQUEST, "at most 0 of video"),
        ({"media": (LARGE, LARGE)}, ErrorKind.INPUT_MEDIA, "16777216 bytes together; .* at most 14 MiB"),
        ({"parameters": {"negative_prompt": "blur"}}, ErrorKind.INVALID_REQUEST, "negative_prompt: .* takes no such"),
        ({"parameters": {"service_tier": "priority"}}, ErrorKind.INVALID_REQUEST, "service_tier: the upstream takes"),
        ({"size": "854x480"}, ErrorKind.INVALID_REQUEST, "size: 854x480 is none of the resolutions"),
    ],
)  # fmt: skip
async def test_what_it_does_not_take(
    adapter: vidu.Vidu, fake: FakeProviders, changes: dict[str, Any], kind: ErrorKind, message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is kind
    assert not fake.requests()


async def test_large_images_go_by_address_beside_one_that_cannot(
    adapter: vidu.Vidu, fake: FakeProviders
) -> None:
    await adapter.submit(asked(media=(LARGE, replace(LARGE, url="https://o.example/l"))))
    embedded, named = fake.requests("POST")[-1]["fields"]["images"]
    assert (embedded[:22], named) == ("data:image/png;base64,", "https://o.example/l")


async def test_credits_are_the_cost(adapter: vidu.Vidu) -> None:
    status = await ended(adapter, (await adapter.submit(asked(seconds=5))).handle)
    assert isinstance(status, Completed)
    assert status.cost is not None
    assert (status.cost.amount, status.cost.currency) == (Decimal(40), "credit")


async def test_a_failed_task_names_its_reason(adapter: vidu.Vidu) -> None:
    status = await ended(adapter, (await adapter.submit(asked(prompt="a fox [fault:moderation]"))).handle)
    assert isinstance(status, Failed)
    assert status.error.upstream_code == "CreationPolicyViolation"
    assert status.error.message == "the upstream reports: CreationPolicyViolation"


async def test_a_running_task_is_not_stopped(adapter: vidu.Vidu, fake: FakeProviders) -> None:
    fake.config(run_seconds=[3, 3])  # the first tenth of it in the queue
    handle = (await adapter.submit(asked())).handle
    await asyncio.sleep(0.4)
    assert await adapter.poll(handle) == Running()
    with pytest.raises(ProviderError, match="can not cancel"):
        await adapter.cancel(handle)
    assert fake.stats()["live"] == 1


async def test_a_task_that_ended_or_is_gone_needs_no_stop(adapter: vidu.Vidu) -> None:
    await adapter.cancel((await adapter.submit(asked(prompt="a fox [fault:failed]"))).handle)
    await adapter.cancel({"id": "gone"})
    done = (await adapter.submit(asked())).handle
    with pytest.raises(ProviderError):  # it is made, and billed
        await adapter.cancel(done)


async def test_a_callback_is_signed_for_its_own_address(adapter: vidu.Vidu, fake: FakeProviders) -> None:
    handle = (await adapter.submit(asked(callback_url=CALLBACK))).handle
    headers, body = fake.callback()
    await adapter.verify_callback(handle, headers, body)
    another = (await adapter.submit(asked(callback_url=CALLBACK + "2"))).handle
    without = (await adapter.submit(asked())).handle
    for wrong in (another, without):
        with pytest.raises(CallbackRefused):
            await adapter.verify_callback(wrong, headers, body)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("AuditSubmitIllegal", ErrorKind.MODERATION_BLOCKED),
        ("ImageDownloadFailure", ErrorKind.INPUT_MEDIA),
        ("ImageCheckFaceFailed", ErrorKind.INPUT_MEDIA),
        ("CreditInsufficient", ErrorKind.PROVIDER_FUNDS),
        ("UserCancelled", ErrorKind.CANCELLED),
        ("FieldItemCountOutOfRange", ErrorKind.INVALID_REQUEST),
        ("QuotaExceeded", ErrorKind.CONCURRENCY_LIMITED),
        ("OperationInProcess", ErrorKind.RATE_LIMITED),
        ("Conflict", None),
    ],
)
def test_reasons(reason: str, kind: ErrorKind | None) -> None:
    assert vidu._ERRORS.kind(reason) is kind
