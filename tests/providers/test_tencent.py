"""What is special about Tencent VOD: one schema for every vendor's model, FINISH that is no success, the lookup."""

from dataclasses import replace
from typing import Any

import pytest

from providers.adapters import tencent
from providers.contract import Completed, ErrorKind, Failed, MediaRole, ProviderError, Running, VideoRequest
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.fakes.tencent import SUB_APP_ID
from tests.providers.wire import answering, ended, media, serving, video_request

FIRST = media(MediaRole.FIRST_FRAME, b"a", "image/png")
LAST = replace(media(MediaRole.LAST_FRAME, b"z", "image/jpeg"), url="https://onereel.example/z.jpg")
REFERENCE = media(MediaRole.REFERENCE, b"r", "image/png")


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> tencent.Tencent:
    adapter = build_adapter(fake.upstream("tencent"), door)
    assert isinstance(adapter, tencent.Tencent)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    values = {"model": "Kling/3.0", "resolution": "720p", "aspect_ratio": "9:16", "seconds": 5}
    return video_request(**{**values, **changes})


async def test_a_text_becomes_a_video(adapter: tencent.Tencent, fake: FakeProviders) -> None:
    parameters = {"audio": True, "seed": 7, "negative_prompt": "blur"}
    options = {"OutputConfig": {"OffPeak": "Enabled"}, "EnhancePrompt": "Disabled"}
    await adapter.submit(asked(parameters=parameters, provider_options=options))
    request = fake.requests("POST")[-1]
    named = {name: request["headers"][f"x-tc-{name}"] for name in ("action", "version", "region")}
    assert named == {"action": "CreateAigcVideoTask", "version": "2018-07-17", "region": "ap-guangzhou"}
    assert request["fields"] == {
        "SubAppId": SUB_APP_ID,
        "ModelName": "Kling",
        "ModelVersion": "3.0",
        "Prompt": "a fox",
        "NegativePrompt": "blur",
        "Seed": 7,
        "SessionId": "att_1",
        "EnhancePrompt": "Disabled",
        "OutputConfig": {
            "StorageMode": "Temporary",
            "Duration": 5,
            "Resolution": "720P",
            "AspectRatio": "9:16",
            "AudioGeneration": "Enabled",
            "OffPeak": "Enabled",
        },
    }


async def test_files_by_their_usage(adapter: tencent.Tencent, fake: FakeProviders) -> None:
    await adapter.submit(asked(media=(LAST, FIRST, REFERENCE)))
    body = fake.requests("POST")[-1]["fields"]
    assert body["FileInfos"] == [
        {"Category": "Image", "Usage": "FirstFrame", "Type": "Base64", "Base64": "YQ=="},
        {"Category": "Image", "Usage": "LastFrame", "Type": "Url", "Url": "https://onereel.example/z.jpg"},
        {"Category": "Image", "Usage": "Reference", "Type": "Base64", "Base64": "cg=="},
    ]
    assert "AspectRatio" not in body["OutputConfig"]  # the first frame has one


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model": "PixVerse/v6", "resolution": "4k"}, {"Resolution": "4k", "AspectRatio": "9:16"}),
        ({"model": "Hailuo/H3", "resolution": "2k"}, {"Resolution": "2K", "AspectRatio": "9:16"}),
        ({"resolution": "768p", "wire": {"aspect_ratio": False}}, {"Resolution": "768P"}),
        ({"media": (REFERENCE,)}, {"Resolution": "720P", "AspectRatio": "9:16"}),
    ],
)
def test_the_shape_in_the_models_words(changes: dict[str, Any], expected: dict[str, str]) -> None:
    request = asked(**changes)
    assert tencent._output(request, request.model.split("/")[0]) == {"Duration": 5, **expected}


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"model": "Kling"}, ErrorKind.INVALID_REQUEST, "model: 'Kling' must be ModelName/ModelVersion"),
        ({"media": (LAST,)}, ErrorKind.INVALID_REQUEST, "last_frame: .* only with a first frame"),
        ({"resolution": "360p"}, ErrorKind.INVALID_REQUEST, "size: .* none of the resolutions"),
        (
            {"media": (media(MediaRole.REFERENCE, bytes(4 * 10**6), "image/png"),) * 2},
            ErrorKind.INPUT_MEDIA,
            "8000000 bytes together; the upstream takes at most 6 MiB",
        ),
    ],
)
async def test_what_it_does_not_take(
    adapter: tencent.Tencent, fake: FakeProviders, changes: dict[str, Any], kind: ErrorKind, message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is kind
    assert not fake.requests()


async def test_progress_is_percent(adapter: tencent.Tencent, fake: FakeProviders) -> None:
    fake.config(run_seconds=[600, 600])
    handle = (await adapter.submit(asked())).handle
    assert handle == {"TaskId": handle["TaskId"], "SubAppId": SUB_APP_ID}
    assert await adapter.poll(handle) == Running(None, queued=True)
    fake.config(run_seconds=[0.5, 0.5])
    handle = (await adapter.submit(asked(attempt_id="att_2"))).handle
    seen = []
    while isinstance(status := await adapter.poll(handle), Running):
        seen.append(status.progress)
    assert isinstance(status, Completed)
    assert any(progress for progress in seen)


async def test_finish_is_not_success(adapter: tencent.Tencent) -> None:
    ends = {
        "failed": (ErrorKind.PROVIDER_ERROR, "ModelGenerateFailed"),
        "moderation": (ErrorKind.MODERATION_BLOCKED, "ContentModerationFailed"),
        "completed_with_error": (ErrorKind.PROVIDER_ERROR, "70000"),
    }
    for fault, (kind, code) in ends.items():
        request = asked(prompt=f"[fault:{fault}]", attempt_id=fault)
        status = await ended(adapter, (await adapter.submit(request)).handle)
        assert isinstance(status, Failed)
        assert (status.error.kind, status.error.upstream_code) == (kind, code)


async def test_an_attempt_is_found_again_on_any_page(adapter: tencent.Tencent, fake: FakeProviders) -> None:
    assert adapter.submit_safety == "lookup"
    with pytest.raises(ProviderError) as caught:
        await adapter.submit(asked(prompt="[fault:ambiguous_drop]", attempt_id="lost"))
    assert caught.value.ambiguous
    for n in range(4):
        await adapter.submit(asked(attempt_id=f"later-{n}"))
    found = await adapter.lookup(asked(attempt_id="lost"))
    assert found is not None
    assert isinstance(await ended(adapter, found.handle), Completed)
    assert await adapter.lookup(asked(attempt_id="never sent")) is None
    assert fake.stats()["jobs"] == 5


async def test_an_attempt_sent_twice_is_refused_as_unclear(
    adapter: tencent.Tencent, fake: FakeProviders
) -> None:
    await adapter.submit(asked())
    with pytest.raises(ProviderError, match="session id was used") as caught:
        await adapter.submit(asked())
    assert caught.value.ambiguous  # there is a task, so nothing else may be tried
    assert fake.stats()["jobs"] == 1


async def test_a_list_without_end_is_no_proof(fake: FakeProviders, door: HttpDoor) -> None:
    page = b'{"Response": {"TaskSet": [{"SessionId": "x"}], "ScrollToken": "more"}}'
    async with serving(answering(200, page)) as endless:
        url = f"http://127.0.0.1:{endless.port}"
        adapter = build_adapter(fake.upstream("tencent", base_url=url), door)
        assert isinstance(adapter, tencent.Tencent)
        with pytest.raises(ProviderError, match="too many tasks"):
            await adapter.lookup(asked())


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AuthFailure.SecretIdNotFound", ErrorKind.PROVIDER_AUTH),
        ("UnauthorizedOperation", ErrorKind.PROVIDER_AUTH),
        ("FailedOperation.InvalidVodUser", ErrorKind.PROVIDER_AUTH),
        ("ResourceNotFound.UserNotExist", ErrorKind.PROVIDER_AUTH),
        ("ResourceNotFound", ErrorKind.JOB_LOST),
        ("RequestLimitExceeded", ErrorKind.RATE_LIMITED),
        ("RequestLimitExceeded.JobNumExceed", ErrorKind.CONCURRENCY_LIMITED),
        ("FailedOperation.ModerationFailed", ErrorKind.MODERATION_BLOCKED),
        ("InvalidParameter.VoilationContent", ErrorKind.MODERATION_BLOCKED),
        ("InvalidParameter.MediaFormat", ErrorKind.INPUT_MEDIA),
        ("InvalidParameterValue.Resolution", ErrorKind.INVALID_REQUEST),
        ("InternalError.DBError", ErrorKind.PROVIDER_UNAVAILABLE),
        ("FailedOperation", None),
    ],
)
def test_codes_of_a_call(code: str, kind: ErrorKind | None) -> None:
    assert tencent._ERRORS.kind(code) is kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("RequestLimitExceeded", ErrorKind.PROVIDER_UNAVAILABLE),
        ("FailedOperation", ErrorKind.PROVIDER_UNAVAILABLE),
        ("OperationCanceled", ErrorKind.CANCELLED),
        ("InvalidParameter.VoilationContent", ErrorKind.MODERATION_BLOCKED),
        ("InvalidParameterValue", ErrorKind.INVALID_REQUEST),
        ("TaskTimeout", ErrorKind.PROVIDER_ERROR),
    ],
)
def test_codes_of_a_task(code: str, kind: ErrorKind) -> None:
    assert tencent._REASONS.verdict(code).kind is kind


async def test_the_check_lists_a_task(adapter: tencent.Tencent, fake: FakeProviders) -> None:
    assert await adapter.check() == "the key may list the tasks of the application"
    assert fake.requests("POST")[-1]["headers"]["x-tc-action"] == "DescribeTasks"
