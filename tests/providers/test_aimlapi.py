"""What is special about AI/ML API: fields that differ by model, ids in the query, a video or a list of them."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from providers.adapters import aimlapi
from providers.answers import Response
from providers.contract import (
    Account,
    Completed,
    ErrorKind,
    Failed,
    MediaRole,
    Operation,
    ProviderError,
    ReportedCost,
    VideoRequest,
)
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import answering, ended, media, serving, video_request

FIRST = media(MediaRole.FIRST_FRAME, b"a", "image/png")
LAST = replace(media(MediaRole.LAST_FRAME, b"z", "image/png"), url="https://onereel.example/z.png")


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> aimlapi.Aimlapi:
    adapter = build_adapter(fake.upstream("aimlapi"), door)
    assert isinstance(adapter, aimlapi.Aimlapi)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    return video_request(**{"model": "bytedance/seedance-2-5", "size": "1280x720", "seconds": 5, **changes})


def sent(fake: FakeProviders) -> dict[str, Any]:
    request = fake.requests("POST")[-1]
    assert request["path"] == "/aimlapi/v2/video/generations"
    fields: dict[str, Any] = request["fields"]
    return fields


async def test_everything_lies_flat(adapter: aimlapi.Aimlapi, fake: FakeProviders) -> None:
    parameters = {"seed": 7, "negative_prompt": "blur", "audio": False}
    await adapter.submit(
        asked(parameters=parameters, media=(FIRST, LAST), provider_options={"cfg_scale": 0.5})
    )
    assert sent(fake) == {
        "model": "bytedance/seedance-2-5",
        "prompt": "a fox",
        "duration": 5,
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "seed": 7,
        "negative_prompt": "blur",
        "generate_audio": False,
        "image_url": "data:image/png;base64,YQ==",
        "last_image_url": "https://onereel.example/z.png",
        "cfg_scale": 0.5,
    }


async def test_a_model_with_words_of_its_own(adapter: aimlapi.Aimlapi, fake: FakeProviders) -> None:
    await adapter.submit(asked(media=(FIRST, LAST), wire={"last_frame": "tail_image_url"}))
    assert {"image_url", "tail_image_url"} <= sent(fake).keys()
    references = (media(MediaRole.REFERENCE, b"r", "image/png"),) * 2
    await adapter.submit(asked(media=references))
    assert sent(fake)["image_urls"] == ["data:image/png;base64,cg=="] * 2


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"operation": Operation.REMIX}, ErrorKind.INVALID_REQUEST, "cannot remix"),
        ({"parameters": {"fps": 24}}, ErrorKind.INVALID_REQUEST, "fps: .* no such parameter"),
        ({"parameters": {"seed": 1}, "wire": {"seed": False}}, ErrorKind.INVALID_REQUEST, "seed: "),
        ({"media": (media(MediaRole.REFERENCE, b"v"),)}, ErrorKind.INPUT_MEDIA, "only by address"),
        ({"media": (media(MediaRole.SOURCE, b"v"),)}, ErrorKind.INVALID_REQUEST, "source: .* no field"),
    ],
)
async def test_what_it_does_not_take(
    adapter: aimlapi.Aimlapi, fake: FakeProviders, changes: dict[str, Any], kind: ErrorKind, message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is kind
    assert not fake.requests()


async def test_an_odd_id_is_one_value_of_the_query(adapter: aimlapi.Aimlapi, fake: FakeProviders) -> None:
    handle = (await adapter.submit(asked())).handle
    status = await ended(adapter, handle)
    assert fake.requests("GET")[-1]["query"] == {"generation_id": handle["id"]}
    assert ":seedance+" in handle["id"]
    assert isinstance(status, Completed)
    assert status.cost == ReportedCost(None, "150000 credit", Decimal(150_000), "credit")


@pytest.mark.parametrize(
    ("video", "url"),
    [
        ({"url": "https://a.example/1"}, "https://a.example/1"),
        ([{"url": "https://a.example/1"}, {"url": "https://a.example/2"}], "https://a.example/1"),
        ([], None),
        (None, None),
    ],
)
async def test_a_video_or_a_list(door: HttpDoor, video: Any, url: str | None) -> None:
    generation = {"status": "completed", "video": video, "meta": {"usage": {"tokens_used": 9}}}
    async with serving(answering(200, json.dumps(generation).encode())) as server:
        status = await aimlapi.build(Account("aimlapi", server.base_url), door).poll({"id": "g"})
    assert status == Completed({"url": url}) if url else isinstance(status, Failed)


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (400, {"statusCode": 400, "message": "Bad."}, ErrorKind.INVALID_REQUEST, "400"),
        (
            400,
            {"error": {"name": "X", "message": "flagged by moderation"}},
            ErrorKind.MODERATION_BLOCKED,
            "X",
        ),
        (401, {"error": {"message": "No."}}, ErrorKind.PROVIDER_AUTH, None),
        (503, {"statusCode": 503, "message": "Busy."}, ErrorKind.PROVIDER_UNAVAILABLE, "503"),
    ],
)
def test_errors_of_two_shapes(status: int, body: Any, kind: ErrorKind, code: str | None) -> None:
    error = aimlapi._ERRORS(Response(status, {}, json.dumps(body).encode()))
    assert error is not None
    assert (error.kind, error.upstream_code) == (kind, code)
