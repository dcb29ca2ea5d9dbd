"""What is special about Zhipu: pixels or ratios by the model, one or several images in one field, its codes."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from providers.adapters import zhipu
from providers.contract import Completed, ErrorKind, Failed, MediaRole, ProviderError, Running, VideoRequest
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import ended, media, video_request

FIRST = media(MediaRole.FIRST_FRAME, b"a", "image/png")
LAST = replace(media(MediaRole.LAST_FRAME, b"z", "image/jpeg"), url="https://onereel.example/z.jpg")
REFERENCE = media(MediaRole.REFERENCE, b"r", "image/png")
A, Z, R = "data:image/png;base64,YQ==", "https://onereel.example/z.jpg", "data:image/png;base64,cg=="


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> zhipu.Zhipu:
    adapter = build_adapter(fake.upstream("zhipu"), door)
    assert isinstance(adapter, zhipu.Zhipu)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    return video_request(**{"model": "cogvideox-3", "size": "1920x1080", "seconds": 5, **changes})


async def test_a_text_becomes_a_video(adapter: zhipu.Zhipu, fake: FakeProviders) -> None:
    options = {"quality": "quality", "watermark_enabled": False}
    await adapter.submit(asked(parameters={"audio": True, "fps": 60}, provider_options=options))
    request = fake.requests("POST")[-1]
    assert request["path"] == "/zhipu/api/paas/v4/videos/generations"
    assert request["fields"] == {
        "model": "cogvideox-3",
        "prompt": "a fox",
        "duration": 5,
        "size": "1920x1080",
        "request_id": "att_1",
        "with_audio": True,
        "fps": 60,
        "quality": "quality",
        "watermark_enabled": False,
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"media": (FIRST,)}, A),
        ({"media": (LAST, FIRST)}, [A, Z]),
        ({"model": "vidu2-reference", "seconds": 4, "media": (REFERENCE,)}, [R]),
        ({"model": "vidu2-reference", "seconds": 4, "media": (REFERENCE, REFERENCE)}, [R, R]),
    ],
)
async def test_images(
    adapter: zhipu.Zhipu, fake: FakeProviders, changes: dict[str, Any], expected: Any
) -> None:
    await adapter.submit(asked(**changes))
    assert fake.requests("POST")[-1]["fields"]["image_url"] == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"size": "720x1280"}, {"size": "720x1280"}),
        ({"resolution": "1080p", "aspect_ratio": "9:16"}, {"aspect_ratio": "9:16"}),
        ({"resolution": "1080p", "size": "1080x1080"}, {"aspect_ratio": "1:1"}),
        ({"resolution": "720p", "wire": {"aspect_ratio": False}}, {}),
    ],
)
def test_the_shape_is_in_the_words_of_the_models_row(
    changes: dict[str, Any], expected: dict[str, str]
) -> None:
    assert zhipu._shape(asked(**changes)) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"media": (LAST,)}, "last_frame: .* only with a first frame"),
        ({"media": (FIRST, REFERENCE)}, "reference_images: .* without other frames"),
        ({"media": (FIRST, FIRST)}, "first_frame: .* at most 1"),
        ({"parameters": {"seed": 1}}, "seed: .* takes no such parameter"),
        ({"seconds": Decimal("5.5")}, "seconds: .* whole seconds"),
        ({"resolution": "1080p", "size": "1600x1200"}, "size: .* none of the aspect ratios"),
    ],
)
async def test_what_it_does_not_take(
    adapter: zhipu.Zhipu, fake: FakeProviders, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not fake.requests()


async def test_a_failed_task_says_why_or_does_not(adapter: zhipu.Zhipu, fake: FakeProviders) -> None:
    handle = (await adapter.submit(asked(prompt="[fault:moderation]"))).handle
    status = await ended(adapter, handle)
    assert isinstance(status, Failed)
    assert (status.error.kind, status.error.upstream_code) == (ErrorKind.MODERATION_BLOCKED, "1301")
    status = await ended(adapter, (await adapter.submit(asked(prompt="[fault:failed]"))).handle)
    assert isinstance(status, Failed)
    assert status.error.kind is ErrorKind.PROVIDER_ERROR
    fake.config(run_seconds=[600, 600])
    assert await adapter.poll((await adapter.submit(asked())).handle) == Running()


async def test_it_reports_no_cost(adapter: zhipu.Zhipu) -> None:
    status = await ended(adapter, (await adapter.submit(asked())).handle)
    assert isinstance(status, Completed)
    assert status.cost is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("1000", ErrorKind.PROVIDER_AUTH),
        ("1112", ErrorKind.PROVIDER_AUTH),
        ("1113", ErrorKind.PROVIDER_FUNDS),
        ("1211", ErrorKind.MODEL_RETIRED),
        ("1215", ErrorKind.INVALID_REQUEST),
        ("1231", ErrorKind.PROVIDER_ERROR),
        ("1301", ErrorKind.MODERATION_BLOCKED),
        ("1302", ErrorKind.CONCURRENCY_LIMITED),
        ("1304", ErrorKind.RATE_LIMITED),
        ("1305", ErrorKind.RATE_LIMITED),
        ("1312", ErrorKind.PROVIDER_UNAVAILABLE),
        ("9999", None),
    ],
)
def test_codes(code: str, kind: ErrorKind | None) -> None:
    assert zhipu._ERRORS.kind(code) is kind
