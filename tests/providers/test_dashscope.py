"""What is special about DashScope: a header, two spellings of inputs, tasks that are UNKNOWN, a cancel in time."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from providers.adapters import dashscope
from providers.contract import (
    Completed,
    ErrorKind,
    Failed,
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

CREATE = "/dashscope/api/v1/services/aigc/video-generation/video-synthesis"
FIRST = media(MediaRole.FIRST_FRAME, b"a", "image/png")
LAST = media(MediaRole.LAST_FRAME, b"z", "image/png")
IMAGE = media(MediaRole.REFERENCE, b"r", "image/png")
VIDEO = replace(media(MediaRole.REFERENCE, b"v", "video/mp4"), url="https://o.example/v")
SOURCE = replace(media(MediaRole.SOURCE, b"s", "video/mp4"), url="https://o.example/s")
A, Z, R = (f"data:image/png;base64,{text}" for text in ("YQ==", "eg==", "cg=="))


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> dashscope.DashScope:
    adapter = build_adapter(fake.upstream("dashscope", options={"workspace": "ws-1"}), door)
    assert isinstance(adapter, dashscope.DashScope)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    return video_request(**{"model": "wan2.7-t2v", "size": "1920x1080", "seconds": 10, **changes})


async def test_a_text_becomes_a_video(adapter: dashscope.DashScope, fake: FakeProviders) -> None:
    parameters = {"seed": 7, "negative_prompt": "blur", "audio": True}
    options = {"parameters": {"prompt_extend": False}}
    await adapter.submit(asked(parameters=parameters, provider_options=options))
    request = fake.requests("POST")[-1]
    assert request["path"] == CREATE
    assert request["headers"]["x-dashscope-async"] == "enable"
    assert request["headers"]["x-dashscope-workspace"] == "ws-1"
    assert request["fields"] == {
        "model": "wan2.7-t2v",
        "input": {"prompt": "a fox", "negative_prompt": "blur"},
        "parameters": {
            "resolution": "1080P",
            "ratio": "16:9",
            "duration": 10,
            "watermark": False,
            "seed": 7,
            "audio": True,
            "prompt_extend": False,
        },
    }


@pytest.mark.parametrize(
    ("model", "files", "named"),
    [
        ("wan3.0-video", (LAST, FIRST), {"media": [
            {"type": "first_frame", "url": A}, {"type": "last_frame", "url": Z},
        ]}),
        ("wan3.0-video", (IMAGE, VIDEO), {"media": [
            {"type": "reference_image", "url": R}, {"type": "reference_video", "url": "https://o.example/v"},
        ]}),
        ("happyhorse-1.1-i2v", (FIRST,), {"media": [{"type": "first_frame", "url": A}]}),
        ("wan2.5-i2v-preview", (FIRST,), {"img_url": A}),
        ("wan2.6-r2v", (IMAGE, VIDEO), {"reference_urls": [R, "https://o.example/v"]}),
        ("wan2.2-kf2v-flash", (LAST, FIRST), {"first_frame_url": A, "last_frame_url": Z}),
    ],
)  # fmt: skip
async def test_files_in_the_spelling_of_the_model(
    adapter: dashscope.DashScope,
    fake: FakeProviders,
    model: str,
    files: tuple[Any, ...],
    named: dict[str, Any],
) -> None:
    await adapter.submit(asked(model=model, media=files))
    request = fake.requests("POST")[-1]
    assert request["fields"]["input"] == {"prompt": "a fox", **named}
    assert request["path"] == (
        CREATE.replace("video-generation", "image2video") if "kf2v" in model else CREATE
    )


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({"model": "wan2.5-t2v-preview", "size": "832x480"}, {"size": "832*480"}),
        ({"model": "wan2.5-t2v-preview", "wire": {"size": "1280*720"}}, {"size": "1920*1080"}),
        ({"model": "wan2.5-i2v-preview", "media": (FIRST,)}, {"resolution": "1080P"}),
        ({"model": "wan2.2-kf2v-flash", "media": (FIRST, LAST)}, {"resolution": "1080P"}),
        ({"model": "wan2.7-i2v", "media": (FIRST,)}, {"resolution": "1080P"}),
        ({"model": "wan2.7-r2v", "media": (IMAGE,)}, {"resolution": "1080P", "ratio": "16:9"}),
        ({"model": "happyhorse-1.1-r2v", "media": (IMAGE,), "wire": {"aspect_ratio": False}}, {"resolution": "1080P"}),
        ({"size": "1112x834", "resolution": "720p", "aspect_ratio": "4:3"}, {"resolution": "720P", "ratio": "4:3"}),
    ],
)  # fmt: skip
async def test_the_shape_in_the_words_of_the_model(
    adapter: dashscope.DashScope, fake: FakeProviders, changes: dict[str, Any], shape: dict[str, Any]
) -> None:
    await adapter.submit(asked(**changes))
    parameters = fake.requests("POST")[-1]["fields"]["parameters"]
    assert parameters == {"duration": 10, "watermark": False, **shape}


async def test_a_resold_model_gets_no_word_about_watermarks(
    adapter: dashscope.DashScope, fake: FakeProviders
) -> None:
    await adapter.submit(asked(model="vidu/viduq3-turbo_text2video"))
    assert "watermark" not in fake.requests("POST")[-1]["fields"]["parameters"]


@pytest.mark.parametrize(
    ("size", "resolution"), [("1280x720", "720P"), ("640x360", "720P"), ("1080x1920", "1080P")]
)
async def test_an_edit_is_as_long_as_its_source(
    adapter: dashscope.DashScope, fake: FakeProviders, size: str, resolution: str
) -> None:
    edit = asked(model="wan2.7-videoedit", operation=Operation.EDIT, media=(IMAGE, SOURCE), size=size)
    await adapter.submit(edit)
    body = fake.requests("POST")[-1]["fields"]
    assert body["input"]["media"] == [
        {"type": "video", "url": "https://o.example/s"},
        {"type": "reference_image", "url": R},
    ]
    assert body["parameters"] == {"resolution": resolution, "watermark": False}


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"media": (FIRST, IMAGE)}, ErrorKind.INVALID_REQUEST, "reference_images: .* only without other frames"),
        ({"media": (VIDEO,) * 6}, ErrorKind.INVALID_REQUEST, "reference: .* at most 5 of video"),
        ({"model": "wan2.5-i2v-preview", "media": (FIRST, LAST)}, ErrorKind.INVALID_REQUEST, "last_frame: "),
        ({"operation": Operation.EXTEND}, ErrorKind.INVALID_REQUEST, "operation: .* cannot extend"),
        ({"operation": Operation.EDIT}, ErrorKind.INPUT_MEDIA, "the source video is missing"),
        ({"size": "960x540"}, ErrorKind.INVALID_REQUEST, "size: 960x540 is none of the resolutions"),
        ({"parameters": {"fps": 24}}, ErrorKind.INVALID_REQUEST, "fps: .* takes no such parameter"),
        ({"media": (media(MediaRole.FIRST_FRAME, bytes(15 * 2**20 + 1), "image/png"),)}, ErrorKind.INPUT_MEDIA, "at most 15 MiB"),
    ],
)  # fmt: skip
async def test_what_it_does_not_take(
    adapter: dashscope.DashScope, fake: FakeProviders, changes: dict[str, Any], kind: ErrorKind, message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is kind
    assert not fake.requests()


async def test_a_failed_task_says_why_in_http_200(adapter: dashscope.DashScope) -> None:
    status = await ended(adapter, (await adapter.submit(asked(prompt="a fox [fault:moderation]"))).handle)
    assert isinstance(status, Failed)
    assert status.error.upstream_code == "DataInspectionFailed"


async def test_a_running_task_is_not_stopped(adapter: dashscope.DashScope, fake: FakeProviders) -> None:
    fake.config(run_seconds=[3, 3])  # the first tenth of it in the queue
    handle = (await adapter.submit(asked())).handle
    await asyncio.sleep(0.4)
    assert await adapter.poll(handle) == Running()
    with pytest.raises(ProviderError) as caught:
        await adapter.cancel(handle)
    assert caught.value.upstream_code == "UnsupportedOperation"
    assert fake.stats()["live"] == 1


async def test_a_task_that_ended_or_is_gone_needs_no_stop(adapter: dashscope.DashScope) -> None:
    failed = (await adapter.submit(asked(prompt="a fox [fault:failed]"))).handle
    await adapter.cancel(failed)
    await adapter.cancel({"id": "gone"})
    done = (await adapter.submit(asked())).handle
    with pytest.raises(ProviderError):  # it is made, and billed
        await adapter.cancel(done)
    assert isinstance(await ended(adapter, done), Completed)


async def test_the_account_can_be_checked(adapter: dashscope.DashScope, fake: FakeProviders) -> None:
    assert await adapter.check()
    fake.config(api_key="another")
    with pytest.raises(ProviderError) as caught:
        await adapter.check()
    assert caught.value.kind is ErrorKind.PROVIDER_AUTH


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("DataInspectionFailed", ErrorKind.MODERATION_BLOCKED),
        ("InvalidParameter.InappropriateContent", ErrorKind.MODERATION_BLOCKED),
        ("IPInfringementSuspect", ErrorKind.MODERATION_BLOCKED),
        ("Throttling", ErrorKind.RATE_LIMITED),
        ("Throttling.AllocationQuota", ErrorKind.RATE_LIMITED),
        ("Arrearage", ErrorKind.PROVIDER_FUNDS),
        ("Model.AccessDenied", ErrorKind.MODEL_RETIRED),
        ("InvalidURL", ErrorKind.INPUT_MEDIA),
        ("InvalidParameter", ErrorKind.INVALID_REQUEST),
        ("InternalError", None),
    ],
)
def test_codes(code: str, kind: ErrorKind | None) -> None:
    assert dashscope._ERRORS.kind(code) is kind
