"""A prompt in, a video out: the stock SDK against `onereel serve` with its real local worker, nothing in between."""

import asyncio
import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import openai
import pytest
from c2pa import Reader
from openai import AsyncOpenAI, OpenAI
from openai.types import Video

from providers.testing import FakeUpstream
from tests.server import MODEL, Server

pytestmark = [
    pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning"),
]
LOCAL = "onereel/demo"
SIZE = "720x1280"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with FakeUpstream() as upstream, Server(upstream=upstream, env={"ONEREEL_LOCAL__ENABLED": "true"}) as it:
        yield it


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return server.make_key()


def _film(data: bytes) -> tuple[str, str, Fraction]:
    """Codec, size and length in seconds; every frame is decoded."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        frames = sum(1 for _ in container.decode(stream))
        assert stream.average_rate is not None
        return (
            stream.codec_context.name,
            f"{stream.width}x{stream.height}",
            Fraction(frames) / stream.average_rate,
        )


def _extra(video: Video) -> dict[str, Any]:
    return dict(video.model_extra or {})


async def _finished(client: AsyncOpenAI, started: Video) -> tuple[Video, bytes]:
    video = await client.videos.poll(started.id, poll_interval_ms=200)
    assert video.status == "completed", video.error
    return video, (await client.videos.download_content(video.id)).content


async def test_prompt_to_video_and_what_is_made_of_it(server: Server, key: str) -> None:
    def first() -> tuple[Video, bytes]:
        with OpenAI(base_url=server.api_url, api_key=key) as client:
            video = client.videos.create_and_poll(prompt="a lighthouse at dusk", poll_interval_ms=200)
            return video, client.videos.download_content(video.id).read()

    video, data = await asyncio.to_thread(first)
    assert (video.status, video.model, video.size, video.seconds) == ("completed", LOCAL, SIZE, "4")
    assert _extra(video)["cost"] == {"currency": "usd", "amount": "0.000000", "status": "captured"}
    assert _film(data) == ("h264", SIZE, Fraction(4))
    assert _extra(video)["provenance"]["c2pa"] == "signed"
    with Reader("video/mp4", io.BytesIO(data)) as claim:
        assert claim.get_validation_state() == "Valid"
        assert LOCAL in claim.json()

    async with AsyncOpenAI(base_url=server.api_url, api_key=key) as client:
        remix = await client.videos.remix(video.id, prompt="the same by night")
        longer = await client.videos.extend(
            prompt="and then dawn",
            seconds="4",
            video=openai.omit,  # type: ignore[arg-type]  # the SDK itself refuses the object it declares
            extra_body={"video": {"id": video.id}},
        )
        unwanted = await client.videos.create(prompt="never mind")
        assert (remix.remixed_from_video_id, longer.seconds) == (video.id, "8")

        stopped = await client.post(f"/videos/{unwanted.id}/cancel", cast_to=Video)
        assert stopped.id == unwanted.id
        ended = await client.videos.poll(unwanted.id, poll_interval_ms=200)
        assert ended.status == "failed"
        assert ended.error is not None
        assert ended.error.code == "cancelled"
        assert _extra(ended)["cost"]["status"] == "released"

        (remix, changed), (longer, joined) = await asyncio.gather(
            _finished(client, remix), _finished(client, longer)
        )
        assert _film(changed) == ("h264", SIZE, Fraction(4))
        assert changed != data
        assert (longer.seconds, longer.size) == ("8", SIZE)
        assert _film(joined) == ("h264", SIZE, Fraction(8))

        picture = await client.videos.download_content(longer.id, variant="thumbnail")
        assert picture.content[8:12] == b"WEBP"
        listed = [each.id async for each in client.videos.list(order="asc")]
        assert listed == [video.id, remix.id, longer.id, unwanted.id]


async def test_price_is_quoted_held_and_captured(server: Server, key: str) -> None:
    async with AsyncOpenAI(base_url=server.api_url, api_key=key) as client:
        body = {"prompt": "a lighthouse", "model": MODEL, "seconds": "8"}
        quote: Any = await client.post("/videos/quote", body=body, cast_to=object)
        assert quote["cost"] == {"currency": "usd", "amount": "0.800000"}
        started = await client.videos.create(prompt="a lighthouse", model=MODEL, seconds="8")
        assert _extra(started)["cost"] == {"currency": "usd", "amount": "0.800000", "status": "held"}
        video, data = await _finished(client, started)
        assert _extra(video)["cost"] == {"currency": "usd", "amount": "0.800000", "status": "captured"}
        assert _film(data)[2] == 8
