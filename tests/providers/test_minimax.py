"""What is special about MiniMax: two protocols by model, codes inside HTTP 200, an address by file id.

The conformance suite examines V1; below it runs once more, for V2.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from providers.adapters import minimax
from providers.contract import Account, Completed, ErrorKind, Failed, MediaRole, ProviderError, VideoRequest
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.fakes.minimax import Fake
from tests.providers.test_conformance import (  # noqa: F401 - collected here, for the other protocol
    Examined,
    test_a_failed_read_raises_and_the_next_one_works,
    test_a_refused_credential_is_the_operators_matter,
    test_a_video_from_prompt_to_bytes,
    test_content_that_is_not_to_be_had,
    test_every_other_end_is_a_failure_of_its_kind,
    test_one_submit_is_one_create_whatever_comes_back,
    test_the_credential_goes_to_no_other_host,
)
from tests.providers.wire import answering, ended, media, serving, video_request

FIRST = media(MediaRole.FIRST_FRAME, b"a", "image/png")
LAST = media(MediaRole.LAST_FRAME, b"z", "image/png")
IMAGE = media(MediaRole.REFERENCE, b"r", "image/png")
VIDEO = replace(media(MediaRole.REFERENCE, b"v", "video/mp4"), url="https://o.example/v")
AUDIO = media(MediaRole.REFERENCE, b"s", "audio/mpeg")
A, Z, R = (f"data:image/png;base64,{text}" for text in ("YQ==", "eg==", "cg=="))
CALLBACK = "https://onereel.example/callback/1"


class V2(Fake):
    """What the suite needs to know of the other protocol."""

    example: ClassVar[Mapping[str, Any]] = {"model": "MiniMax-H3", "size": "1366x768", "seconds": 4}
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        **{name: why for name, why in Fake.cannot.items() if name not in {"cancelled", "expired"}},
    }


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> minimax.MiniMax:
    adapter = build_adapter(fake.upstream("minimax"), door)
    assert isinstance(adapter, minimax.MiniMax)
    return adapter


@pytest.fixture
def examined(fake: FakeProviders, adapter: minimax.MiniMax) -> Examined:
    fake.config(api_key=Fake.credential)
    return Examined(adapter, V2(), fake)


def v1(**changes: Any) -> VideoRequest:
    return video_request(**{"model": "MiniMax-Hailuo-02", "size": "1920x1080", "seconds": 6, **changes})


def v2(**changes: Any) -> VideoRequest:
    return video_request(**{"model": "MiniMax-H3", "size": "2560x1440", "seconds": 10, **changes})


async def test_a_text_becomes_a_video_in_v1(adapter: minimax.MiniMax, fake: FakeProviders) -> None:
    await adapter.submit(v1(callback_url=CALLBACK, provider_options={"prompt_optimizer": False}))
    request = fake.requests("POST")[-1]
    assert request["path"] == "/minimax/v1/video_generation"
    assert request["fields"] == {
        "model": "MiniMax-Hailuo-02",
        "prompt": "a fox",
        "duration": 6,
        "resolution": "1080P",
        "callback_url": CALLBACK,
        "prompt_optimizer": False,
    }


async def test_a_text_becomes_a_video_in_v2(adapter: minimax.MiniMax, fake: FakeProviders) -> None:
    await adapter.submit(v2(callback_url=CALLBACK))
    request = fake.requests("POST")[-1]
    assert request["path"] == "/minimax/v2/video_generation"
    assert request["fields"] == {
        "model": "MiniMax-H3",
        "content": [{"type": "text", "text": "a fox"}],
        "duration": 10,
        "resolution": "2K",
        "ratio": "16:9",
        "callback_url": CALLBACK,
    }


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"media": (LAST, FIRST)}, {"first_frame_image": A, "last_frame_image": Z}),
        ({"media": (replace(FIRST, url="https://o.example/1"),)}, {"first_frame_image": "https://o.example/1"}),
        ({"model": "S2V-01", "media": (IMAGE,), "size": "1280x720"}, {
            "subject_reference": [{"type": "character", "image": [R]}], "resolution": "720P",
        }),
        ({"resolution": "512p", "size": "910x512"}, {"resolution": "512P"}),
    ],
)  # fmt: skip
async def test_files_in_v1(
    adapter: minimax.MiniMax, fake: FakeProviders, changes: dict[str, Any], fields: dict[str, Any]
) -> None:
    await adapter.submit(v1(**changes))
    body = fake.requests("POST")[-1]["fields"]
    assert {"model", "prompt", "duration", "resolution", *fields} == set(body)
    assert fields.items() <= body.items()


async def test_files_in_v2(adapter: minimax.MiniMax, fake: FakeProviders) -> None:
    await adapter.submit(v2(media=(LAST, FIRST)))
    body = fake.requests("POST")[-1]["fields"]
    assert body["content"][1:] == [
        {"type": "image_url", "image_url": {"url": A}, "role": "first_frame"},
        {"type": "image_url", "image_url": {"url": Z}, "role": "last_frame"},
    ]
    assert "ratio" not in body
    await adapter.submit(v2(media=(IMAGE, VIDEO, AUDIO)))
    body = fake.requests("POST")[-1]["fields"]
    assert body["content"][1:] == [
        {"type": "image_url", "image_url": {"url": R}, "role": "reference_image"},
        {"type": "video_url", "video_url": {"url": "https://o.example/v"}, "role": "reference_video"},
        {"type": "audio_url", "audio_url": {"url": "data:audio/mpeg;base64,cw=="}, "role": "reference_audio"},
    ]
    assert body["ratio"] == "16:9"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (v1(media=(IMAGE, IMAGE)), "reference: .* at most 1"),
        (v1(media=(replace(IMAGE, media_type="video/mp4"),)), "reference: .* at most 0 of video"),
        (v1(size="2560x1440"), "size: 2560x1440 is none of the resolutions"),
        (v1(parameters={"seed": 1}), "seed: .* takes no such parameter; it takes none"),
        (v2(media=(FIRST, IMAGE)), "reference_images: .* only without other frames"),
        (v2(media=(VIDEO,) * 4), "reference: .* at most 3 of video"),
        (v2(size="1920x1080"), "size: 1920x1080 is none of the resolutions"),
        (v2(seconds="4.5"), "seconds: .* whole seconds"),
    ],
)
async def test_what_it_does_not_take(
    adapter: minimax.MiniMax, fake: FakeProviders, request_: VideoRequest, message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(request_)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not fake.requests()


async def test_v1_asks_for_an_address_each_time(adapter: minimax.MiniMax, fake: FakeProviders) -> None:
    handle = (await adapter.submit(v1())).handle
    status = await ended(adapter, handle)
    assert status == Completed({"file_id": handle["id"]})
    for _ in range(2):
        await adapter.open_content(handle, status.outputs)
    paths = [request["path"].removeprefix("/minimax") for request in fake.requests("GET")]
    assert paths[-4:] == ["/v1/files/retrieve", f"/foreign/{handle['id']}"] * 2
    with pytest.raises(ProviderError, match="invalid params"):
        await adapter.open_content(handle, {"file_id": "7"})


async def test_a_failed_v1_task_says_why_where_errors_stand(adapter: minimax.MiniMax) -> None:
    blocked = await ended(adapter, (await adapter.submit(v1(prompt="a fox [fault:moderation]"))).handle)
    assert isinstance(blocked, Failed)
    assert (blocked.error.kind, blocked.error.upstream_code) == (ErrorKind.MODERATION_BLOCKED, "1027")
    assert blocked.error.message == "output new_sensitive"
    failed = await ended(adapter, (await adapter.submit(v1(prompt="a fox [fault:failed]"))).handle)
    assert isinstance(failed, Failed)
    assert (failed.error.kind, failed.error.upstream_code) == (ErrorKind.PROVIDER_ERROR, "1000")


async def test_a_failed_v1_task_without_a_reason_is_no_success(door: HttpDoor) -> None:
    body = b'{"task_id": "1", "status": "Fail", "base_resp": {"status_code": 0, "status_msg": "success"}}'
    async with serving(answering(200, body, content_type="application/json")) as served:
        adapter = minimax.build(Account("minimax", served.base_url, "key"), door)
        status = await adapter.poll({"version": "v1", "id": "1"})
    assert isinstance(status, Failed)
    assert (status.error.kind, status.error.upstream_code) == (ErrorKind.PROVIDER_ERROR, None)
    assert "success" not in status.error.message


async def test_the_account_can_be_checked(adapter: minimax.MiniMax, fake: FakeProviders) -> None:
    assert await adapter.check()
    fake.config(api_key="another")
    with pytest.raises(ProviderError) as caught:
        await adapter.check()
    assert caught.value.kind is ErrorKind.PROVIDER_AUTH


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("1002", "", ErrorKind.RATE_LIMITED),
        ("2049", "", ErrorKind.PROVIDER_AUTH),
        ("1008", "", ErrorKind.PROVIDER_FUNDS),
        ("1027", "", ErrorKind.MODERATION_BLOCKED),
        ("1042", "", ErrorKind.INVALID_REQUEST),
        ("1033", "", ErrorKind.PROVIDER_UNAVAILABLE),
        ("unprocessable_entity_error", "input new_sensitive (1026)", ErrorKind.MODERATION_BLOCKED),
        ("unprocessable_entity_error", "1026 words", None),
        ("2999", "", None),
    ],
)
def test_codes(code: str, message: str, kind: ErrorKind | None) -> None:
    assert minimax._ERRORS.kind(code, message) is kind
