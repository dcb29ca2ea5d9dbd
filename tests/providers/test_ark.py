"""What is special about Ark: content with roles, flags in a prompt, errors of a task in HTTP 200, what DELETE means."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from providers.adapters import ark
from providers.contract import Completed, ErrorKind, Failed, MediaRole, ProviderError, Running, VideoRequest
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import ended, media, video_request

TASKS = "/ark/api/v3/contents/generations/tasks"
FIRST = media(MediaRole.FIRST_FRAME, b"a", "image/png")
LAST = media(MediaRole.LAST_FRAME, b"z", "image/jpeg")
IMAGE = media(MediaRole.REFERENCE, b"r", "image/webp")
VIDEO = replace(media(MediaRole.REFERENCE, b"v", "video/mp4"), url="https://o.example/v")
AUDIO = media(MediaRole.REFERENCE, b"s", "audio/mpeg")


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> ark.Ark:
    adapter = build_adapter(fake.upstream("ark"), door)
    assert isinstance(adapter, ark.Ark)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    return video_request(
        **{"model": "doubao-seedance-2-0-260128", "size": "1920x1080", "seconds": 10, **changes}
    )


async def test_a_text_becomes_a_video(adapter: ark.Ark, fake: FakeProviders) -> None:
    callback = "https://onereel.example/callback/1"
    parameters = {"audio": False, "seed": 7, "service_tier": "flex", "n": 2}
    await adapter.submit(
        asked(parameters=parameters, callback_url=callback, provider_options={"camera_fixed": True})
    )
    request = fake.requests("POST")[-1]
    assert request["path"] == TASKS
    assert request["fields"] == {
        "model": "doubao-seedance-2-0-260128",
        "content": [{"type": "text", "text": "a fox"}],
        "resolution": "1080p",
        "ratio": "16:9",
        "duration": 10,
        "generate_audio": False,
        "seed": 7,
        "service_tier": "flex",
        "callback_url": callback,
        "camera_fixed": True,
    }


async def test_the_size_in_the_words_of_the_catalogue(adapter: ark.Ark, fake: FakeProviders) -> None:
    await adapter.submit(asked(size="1112x834", resolution="720p", aspect_ratio="4:3"))
    body = fake.requests("POST")[-1]["fields"]
    assert (body["resolution"], body["ratio"]) == ("720p", "4:3")
    await adapter.submit(asked(wire={"aspect_ratio": False}))
    assert "ratio" not in fake.requests("POST")[-1]["fields"]


@pytest.mark.parametrize(
    ("files", "content"),
    [
        ((LAST, FIRST), [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,YQ=="}, "role": "first_frame"},
            {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,eg=="}, "role": "last_frame"},
        ]),
        ((IMAGE, VIDEO, AUDIO), [
            {"type": "image_url", "image_url": {"url": "data:image/webp;base64,cg=="}, "role": "reference_image"},
            {"type": "video_url", "video_url": {"url": "https://o.example/v"}, "role": "reference_video"},
            {"type": "audio_url", "audio_url": {"url": "data:audio/mpeg;base64,cw=="}, "role": "reference_audio"},
        ]),
    ],
)  # fmt: skip
async def test_files_are_content_with_roles(
    adapter: ark.Ark, fake: FakeProviders, files: tuple[Any, ...], content: list[Any]
) -> None:
    await adapter.submit(asked(media=files))
    assert fake.requests("POST")[-1]["fields"]["content"][1:] == content


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"media": (FIRST, IMAGE)}, "reference_images: .* only without other frames"),
        ({"media": (IMAGE,) * 10}, "reference: .* at most 9 of image"),
        ({"media": (VIDEO,) * 4}, "reference: .* at most 3 of video"),
        ({"media": (media(MediaRole.SOURCE, b"v"),)}, "source: .* takes no such file"),
        ({"parameters": {"negative_prompt": "blur"}}, "negative_prompt: .* takes no such parameter"),
        ({"parameters": {"service_tier": "priority"}}, "service_tier: the upstream takes default, flex"),
        ({"size": "640x360"}, "size: 640x360 is none of the resolutions"),
        ({"prompt": "a fox --rs 1080p"}, "prompt: '--rs' would change the video"),
        ({"prompt": "a fox\n--DUR 12"}, "prompt: '--DUR' would change the video"),
    ],
)
async def test_what_it_does_not_take(
    adapter: ark.Ark, fake: FakeProviders, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not fake.requests()


async def test_dashes_in_a_prompt_are_no_flags(adapter: ark.Ark, fake: FakeProviders) -> None:
    prompt = "a fox --seedling, mid--seed, -- and --style raw"
    await adapter.submit(asked(prompt=prompt))
    assert fake.requests("POST")[-1]["fields"]["content"][0]["text"] == prompt


async def test_a_failed_task_says_why_in_http_200(adapter: ark.Ark) -> None:
    status = await ended(adapter, (await adapter.submit(asked(prompt="a fox [fault:moderation]"))).handle)
    assert isinstance(status, Failed)
    assert status.error.upstream_code == "OutputVideoSensitiveContentDetected"
    assert status.error.message == "The output may be sensitive."


async def test_tokens_are_recorded_but_are_no_money(adapter: ark.Ark) -> None:
    status = await ended(adapter, (await adapter.submit(asked(size="1280x720", seconds=5))).handle)
    assert isinstance(status, Completed)
    assert status.cost is not None
    assert (status.cost.raw, status.cost.micros, status.cost.amount) == ("108900 tokens", None, None)


async def test_a_running_task_is_not_stopped(adapter: ark.Ark, fake: FakeProviders) -> None:
    fake.config(run_seconds=[3, 3])  # the first tenth of it in the queue
    handle = (await adapter.submit(asked())).handle
    await asyncio.sleep(0.4)
    assert await adapter.poll(handle) == Running()
    with pytest.raises(ProviderError, match="running") as caught:
        await adapter.cancel(handle)
    assert caught.value.upstream_code == "InvalidAction.RunningTaskDeletion"
    assert fake.stats()["live"] == 1


async def test_the_record_of_an_ended_task_is_not_erased(adapter: ark.Ark, fake: FakeProviders) -> None:
    done = (await adapter.submit(asked())).handle
    with pytest.raises(ProviderError, match="succeeded already"):
        await adapter.cancel(done)
    failed = (await adapter.submit(asked(prompt="a fox [fault:failed]"))).handle
    await adapter.cancel(failed)
    await adapter.cancel({"id": "cgt-gone"})
    assert not fake.requests("DELETE")
    assert isinstance(await ended(adapter, done), Completed)


async def test_the_account_can_be_checked(adapter: ark.Ark, fake: FakeProviders) -> None:
    assert await adapter.check()
    assert fake.requests()[-1]["query"] == {"page_num": "1", "page_size": "1"}
    fake.config(api_key="another")
    with pytest.raises(ProviderError) as caught:
        await adapter.check()
    assert caught.value.kind is ErrorKind.PROVIDER_AUTH


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InputImageSensitiveContentDetected.PrivacyInformation", ErrorKind.MODERATION_BLOCKED),
        ("InputTextRiskDetection", ErrorKind.MODERATION_BLOCKED),
        ("OutputAudioSensitiveContentDetected", ErrorKind.MODERATION_BLOCKED),
        ("InvalidParameter.OversizedImage", ErrorKind.INVALID_REQUEST),
        ("MissingParameter", ErrorKind.INVALID_REQUEST),
        ("AccessDenied", ErrorKind.PROVIDER_AUTH),
        ("AccountOverdueError", ErrorKind.PROVIDER_FUNDS),
        ("ModelNotOpen", ErrorKind.MODEL_RETIRED),
        ("RateLimitExceeded.EndpointRPMExceeded", ErrorKind.RATE_LIMITED),
        ("ModelAccountRpmRateLimitExceeded", ErrorKind.RATE_LIMITED),
        ("ServerOverloaded", ErrorKind.PROVIDER_UNAVAILABLE),
        ("NotFound", None),
    ],
)
def test_codes(code: str, kind: ErrorKind | None) -> None:
    assert ark._ERRORS.kind(code) is kind
