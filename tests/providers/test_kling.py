"""What is special about Kling: its endpoints, its words for shape and sound, its business codes, its units."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from providers.adapters import kling
from providers.contract import (
    Completed,
    ErrorKind,
    Handle,
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
LAST = media(MediaRole.LAST_FRAME, b"z", "image/png")
REFERENCE = media(MediaRole.REFERENCE, b"r", "image/png")


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> kling.Kling:
    adapter = build_adapter(fake.upstream("kling"), door)
    assert isinstance(adapter, kling.Kling)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    return video_request(**{"model": "kling-v2-6", "size": "1920x1080", "seconds": 10, **changes})


async def test_a_text_becomes_a_video(adapter: kling.Kling, fake: FakeProviders) -> None:
    callback = "https://onereel.example/callback/1"
    parameters = {"audio": True, "negative_prompt": "blur"}
    submitted = await adapter.submit(
        asked(parameters=parameters, callback_url=callback, provider_options={"cfg_scale": 0.4})
    )
    request = fake.requests("POST")[-1]
    assert request["path"] == "/kling/v1/videos/text2video"
    assert request["fields"] == {
        "model_name": "kling-v2-6",
        "prompt": "a fox",
        "duration": "10",
        "mode": "pro",
        "aspect_ratio": "16:9",
        "sound": "on",
        "negative_prompt": "blur",
        "external_task_id": "att_1",
        "callback_url": callback,
        "cfg_scale": 0.4,
    }
    assert submitted.handle["path"] == "/v1/videos/text2video"


@pytest.mark.parametrize(
    ("files", "kind", "fields"),
    [
        ((FIRST,), "image2video", {"image": "YQ=="}),
        ((LAST, FIRST), "image2video", {"image": "YQ==", "image_tail": "eg=="}),
        ((replace(FIRST, url="https://o.example/1"),), "image2video", {"image": "https://o.example/1"}),
        ((REFERENCE, REFERENCE), "multi-image2video", {"image_list": [{"image": "cg=="}, {"image": "cg=="}]}),
    ],
)
async def test_files_choose_the_path_which_the_poll_keeps(
    adapter: kling.Kling, fake: FakeProviders, files: tuple[Any, ...], kind: str, fields: dict[str, Any]
) -> None:
    handle = (await adapter.submit(asked(media=files))).handle
    body = fake.requests("POST")[-1]["fields"]
    assert {name: value for name, value in body.items() if name.startswith("image")} == fields
    assert ("aspect_ratio" in body) == (kind == "multi-image2video")
    assert isinstance(await ended(adapter, handle), Completed)
    assert fake.requests("GET")[-1]["path"] == f"/kling/v1/videos/{kind}/{handle['id']}"


def extension(handle: Handle | None, **changes: Any) -> VideoRequest:
    return asked(operation=Operation.EXTEND, model="video-extend", seconds=5, source=handle, **changes)


async def test_an_extension_goes_on_from_the_video_of_an_earlier_task(
    adapter: kling.Kling, fake: FakeProviders
) -> None:
    first = (await adapter.submit(asked(seconds=5))).handle
    assert isinstance(await ended(adapter, first), Completed)
    second = (await adapter.submit(extension(first, parameters={"negative_prompt": "blur"}))).handle
    request = fake.requests("POST")[-1]
    assert request["path"] == "/kling/v1/videos/video-extend"
    assert request["fields"] == {
        "video_id": f"v{first['id']}",
        "prompt": "a fox",
        "negative_prompt": "blur",
        "external_task_id": "att_1",
    }
    assert isinstance(await ended(adapter, second), Completed)
    third = (await adapter.submit(extension(second))).handle
    assert isinstance(await ended(adapter, third), Completed)
    assert fake.requests("POST")[-1]["fields"]["video_id"] == f"v{second['id']}"


async def test_an_extension_needs_a_video_that_kling_still_has(
    adapter: kling.Kling, fake: FakeProviders
) -> None:
    gone = {"path": "/v1/videos/text2video", "id": "gone"}
    for handle, message in ((None, "video: .* only what this account made"), (gone, "video: .* 30 days")):
        with pytest.raises(ProviderError, match=message) as caught:
            await adapter.submit(extension(handle))
        assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not fake.requests("POST")


async def test_a_source_that_cannot_be_read_leaves_no_doubt_about_the_create(
    adapter: kling.Kling, fake: FakeProviders
) -> None:
    source = (await adapter.submit(asked(prompt="a fox [fault:html_502_poll]"))).handle
    with pytest.raises(ProviderError) as caught:
        await adapter.submit(extension(source))
    assert (caught.value.kind, caught.value.ambiguous) == (ErrorKind.PROVIDER_UNAVAILABLE, False)
    assert len(fake.requests("POST")) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"media": (LAST,)}, "last_frame: .* only with a first frame"),
        ({"media": (FIRST, REFERENCE)}, "reference_images: .* only without other frames"),
        ({"media": (REFERENCE,) * 5}, "reference: .* at most 4"),
        ({"size": "854x480"}, "size: 854x480 is none of the resolutions"),
        ({"size": "960x720"}, "size: 960x720 has none of the aspect ratios"),
        ({"parameters": {"seed": 1}}, "seed: kling-v2-6 takes no such parameter"),
        ({"seconds": "2.5"}, "seconds: .* whole seconds"),
    ],
)
async def test_what_it_does_not_take(
    adapter: kling.Kling, fake: FakeProviders, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not fake.requests()


async def test_a_key_of_two_parts_signs_a_token(fake: FakeProviders, door: HttpDoor) -> None:
    fake.config(api_key="access-key-1:secret-key-1")
    good = build_adapter(fake.upstream("kling", api_key="access-key-1:secret-key-1"), door)
    assert isinstance(await ended(good, (await good.submit(asked())).handle), Completed)
    assert "secret-key-1" not in str(fake.requests())
    for wrong in ("access-key-1:secret-key-2", "access-key-2:secret-key-1", "access-key-1"):
        with pytest.raises(ProviderError) as caught:
            await build_adapter(fake.upstream("kling", api_key=wrong), door).submit(asked())
        assert caught.value.kind is ErrorKind.PROVIDER_AUTH


async def test_units_are_the_cost(adapter: kling.Kling) -> None:
    status = await ended(adapter, (await adapter.submit(asked())).handle)
    assert isinstance(status, Completed)
    assert status.cost is not None
    assert (status.cost.amount, status.cost.currency) == (Decimal(3), "credit")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1000, ErrorKind.PROVIDER_AUTH),
        (1004, ErrorKind.PROVIDER_AUTH),
        (1304, ErrorKind.PROVIDER_AUTH),
        (1101, ErrorKind.PROVIDER_FUNDS),
        (1200, ErrorKind.INVALID_REQUEST),
        (1203, ErrorKind.JOB_LOST),
        (1301, ErrorKind.MODERATION_BLOCKED),
        (1302, ErrorKind.RATE_LIMITED),
        (1303, ErrorKind.CONCURRENCY_LIMITED),
        (5002, ErrorKind.PROVIDER_UNAVAILABLE),
        (1999, None),
    ],
)
def test_business_codes(code: int, kind: ErrorKind | None) -> None:
    assert kling._ERRORS.kind(str(code)) is kind
