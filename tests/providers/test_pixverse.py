"""What is special about PixVerse: uploads, a path per kind of input, states that are numbers, codes in HTTP 200."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from providers.adapters import pixverse
from providers.answers import Response
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
from tests.providers.wire import Exchange, answering, ended, media, serving, video_request

FIRST = media(MediaRole.FIRST_FRAME, b"a", "image/png")
LAST = media(MediaRole.LAST_FRAME, b"z", "image/jpeg")
REFERENCE = media(MediaRole.REFERENCE, b"r", "image/png")
VIDEO = media(MediaRole.EXTEND_FROM, b"v")


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> pixverse.PixVerse:
    adapter = build_adapter(fake.upstream("pixverse"), door)
    assert isinstance(adapter, pixverse.PixVerse)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    values = {"model": "v6", "resolution": "720p", "aspect_ratio": "9:16", "seconds": 5}
    return video_request(**{**values, **changes})


def sent(fake: FakeProviders) -> tuple[str, dict[str, Any]]:
    request = fake.requests("POST")[-1]
    return request["path"].removeprefix("/pixverse/openapi/v2/video/"), request["fields"]


async def test_a_text_becomes_a_video(adapter: pixverse.PixVerse, fake: FakeProviders) -> None:
    parameters = {"seed": 7, "audio": False, "negative_prompt": "blur"}
    await adapter.submit(asked(parameters=parameters, provider_options={"style": "anime"}))
    assert sent(fake) == (
        "text/generate",
        {
            "model": "v6",
            "prompt": "a fox",
            "duration": 5,
            "quality": "720p",
            "aspect_ratio": "9:16",
            "seed": 7,
            "generate_audio_switch": False,
            "negative_prompt": "blur",
            "style": "anime",
        },
    )


async def test_nothing_that_was_not_asked_for_is_sent(
    adapter: pixverse.PixVerse, fake: FakeProviders
) -> None:
    await adapter.submit(asked())
    assert set(sent(fake)[1]) == {"model", "prompt", "duration", "quality", "aspect_ratio"}


async def test_files_are_uploaded_and_named_by_number(
    adapter: pixverse.PixVerse, fake: FakeProviders
) -> None:
    await adapter.submit(asked(media=(LAST, FIRST)))
    first, last, _ = fake.requests("POST")
    assert [r["path"] for r in (first, last)] == ["/pixverse/openapi/v2/image/upload"] * 2
    assert [r["files"]["image"][0]["content_type"] for r in (first, last)] == ["image/png", "image/jpeg"]
    path, body = sent(fake)
    assert path == "transition/generate"
    assert body["first_frame_img"] != body["last_frame_img"]
    assert not {"aspect_ratio", "img_id"} & set(body)  # the frames have a shape


async def test_one_frame_and_references(adapter: pixverse.PixVerse, fake: FakeProviders) -> None:
    await adapter.submit(asked(media=(FIRST,)))
    path, body = sent(fake)
    assert (path, type(body["img_id"])) == ("img/generate", int)
    await adapter.submit(asked(media=(REFERENCE, REFERENCE)))
    path, body = sent(fake)
    assert (path, body["aspect_ratio"]) == ("fusion/generate", "9:16")
    references = [(one["type"], one["ref_name"]) for one in body["image_references"]]
    assert references == [("subject", "image1"), ("subject", "image2")]
    assert len({one["img_id"] for one in body["image_references"]}) == 2


async def test_an_extension_names_its_video_or_uploads_it(
    adapter: pixverse.PixVerse, fake: FakeProviders
) -> None:
    handle = (await adapter.submit(asked())).handle
    await adapter.submit(asked(operation=Operation.EXTEND, source=handle))
    path, body = sent(fake)
    assert (path, body["source_video_id"]) == ("extend/generate", int(handle["id"]))
    assert "aspect_ratio" not in body
    await adapter.submit(asked(operation=Operation.EXTEND, media=(VIDEO,)))
    upload, create = fake.requests("POST")[-2:]
    assert upload["path"] == "/pixverse/openapi/v2/media/upload"
    assert upload["files"]["media"][0]["content_type"] == "video/mp4"
    assert type(create["fields"]["video_media_id"]) is int


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"media": (LAST,)}, "last_frame: .* only with a first frame"),
        ({"media": (FIRST, REFERENCE)}, "reference_images: .* without other frames"),
        ({"media": (REFERENCE,) * 8}, "reference: .* at most 7"),
        ({"operation": Operation.EXTEND}, "extend_from: .* give one"),
        ({"operation": Operation.EDIT}, "operation: v6 cannot edit"),
        ({"resolution": "4k"}, "size: .* none of the resolutions"),
        ({"seconds": Decimal("2.5")}, "seconds: .* whole seconds"),
    ],
)
async def test_what_it_does_not_take(
    adapter: pixverse.PixVerse, fake: FakeProviders, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not fake.requests()


async def test_a_trace_id_is_new_for_each_request_and_the_keys_for_the_create(
    adapter: pixverse.PixVerse, fake: FakeProviders
) -> None:
    request = asked(media=(FIRST,), idempotency_key="key-1")
    handle = (await adapter.submit(request)).handle
    await adapter.submit(request)
    await adapter.submit(asked(idempotency_key="key-2"))
    await adapter.poll(handle)
    traces = [r["headers"]["ai-trace-id"] for r in fake.requests()]
    assert all(str(UUID(trace)) == trace for trace in traces)
    assert traces[1] == traces[3]
    assert len(set(traces)) == len(traces) - 1


async def test_a_failed_upload_is_never_ambiguous(fake: FakeProviders, door: HttpDoor) -> None:
    async def reset(exchange: Exchange) -> None:
        await exchange.body()
        exchange.reset()

    bodies = ((502, b"<html></html>"), (200, b"<html></html>"), (200, b'{"ErrCode": 0, "Resp": {}}'))
    for respond in (reset, *(answering(*answer) for answer in bodies)):
        async with serving(respond) as broken:
            url = f"http://127.0.0.1:{broken.port}"
            adapter = build_adapter(fake.upstream("pixverse", base_url=url), door)
            with pytest.raises(ProviderError) as caught:
                await adapter.submit(asked(media=(FIRST,)))
        assert not caught.value.ambiguous
        assert len(broken.exchanges) == 1


async def test_the_credits_of_the_create_are_the_cost(adapter: pixverse.PixVerse) -> None:
    status = await ended(adapter, (await adapter.submit(asked())).handle)
    assert isinstance(status, Completed)
    assert status.cost is not None
    assert (status.cost.amount, status.cost.currency) == (Decimal(45), "credit")


async def test_a_state_is_a_number(adapter: pixverse.PixVerse, fake: FakeProviders) -> None:
    fake.config(run_seconds=[600, 600])
    assert await adapter.poll((await adapter.submit(asked())).handle) == Running(queued=True)
    fake.config(run_seconds=[0, 0])
    for fault, message in (("moderation", "moderation refused"), ("expired", "was deleted")):
        status = await ended(adapter, (await adapter.submit(asked(prompt=f"[fault:{fault}]"))).handle)
        assert isinstance(status, Failed)
        assert message in status.error.message


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400018, ErrorKind.INVALID_REQUEST),
        (10005, ErrorKind.PROVIDER_AUTH),
        (500020, ErrorKind.PROVIDER_AUTH),
        (500044, ErrorKind.CONCURRENCY_LIMITED),
        (500054, ErrorKind.MODERATION_BLOCKED),
        (500060, ErrorKind.PROVIDER_FUNDS),
        (500069, ErrorKind.PROVIDER_UNAVAILABLE),
        (999999, ErrorKind.PROVIDER_ERROR),
    ],
)
def test_codes_in_http_200(code: int, kind: ErrorKind) -> None:
    error = pixverse._ERRORS(Response(200, {}, b'{"ErrCode": %d, "ErrMsg": "why"}' % code))
    assert error is not None
    assert (error.kind, error.message) == (kind, "why")


async def test_the_check_reads_the_balance(adapter: pixverse.PixVerse, fake: FakeProviders) -> None:
    assert await adapter.check() == "the key may read the balance"
    assert fake.requests()[-1]["path"] == "/pixverse/openapi/v2/account/balance"
