"""Public addresses of input files: what upstreams that fetch by URL get."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection, select

from gateway.clock import Clock
from gateway.crypto import open_secret_box
from gateway.db import Database
from gateway.db_open import open_database
from gateway.videos.input_links import InputLinks
from gateway.videos.stored import StoredMedia
from gateway.videos.tables import videos
from providers.contract import ErrorKind, MediaRole, ProviderError, Submitted, VideoRequest
from providers.spec import UpstreamSpec
from tests.gateway.jobs.bench import engine, upstream
from tests.gateway.jobs.test_edges import NOWHERE
from tests.gateway.live import Live, live, settings_for
from tests.gateway.media_files import make_image
from tests.gateway.test_callbacks import Proving

SLOW = UpstreamSpec.model_validate(
    {"name": "acme", "base_url": "http://127.0.0.1:9/v1", "models": [{"id": "acme/fast"}]}
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("gateway")
    settings = settings_for(
        folder, upstreams=[SLOW], public_url="https://gateway.example/base/", roles=("api",)
    )
    with live(settings) as running:
        yield running


def links(gateway: Live, clock: Clock | None = None) -> InputLinks:
    settings = gateway.settings
    db = open_database(settings, Clock())
    return InputLinks(db, clock or Clock(), open_secret_box(settings), settings.public_url)


def test_an_input_is_served_to_whoever_has_its_address_until_it_ends(gateway: Live) -> None:
    image = make_image("PNG")
    with gateway.client() as client:
        video = client.post(
            "/v1/videos",
            data={"prompt": "a cat", "model": "acme/fast"},
            files={"input_reference": ("cat.png", image, "image/png")},
        ).json()
    made = links(gateway)
    address = made.url(video["id"], 0, "image/png", 60)
    assert address is not None
    assert address.startswith("https://gateway.example/base/v1/inputs/")
    assert address.endswith("/input.png")
    path = address.removeprefix("https://gateway.example/base")
    with httpx.Client(base_url=gateway.base_url) as anyone:
        whole = anyone.get(path)
        assert (whole.status_code, whole.content) == (200, image)
        assert whole.headers["content-type"] == "image/png"
        head = anyone.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(image))
        assert head.headers["content-type"] == "image/png"
        part = anyone.get(path, headers={"Range": "bytes=2-5"})
        assert (part.status_code, part.content) == (206, image[2:6])
        parts = path.split("/")
        for n, wrong in ((4, "1"), (5, str(int(parts[5]) + 1)), (6, "0" * 32), (3, "video_" + "0" * 32)):
            tried = "/".join([*parts[:n], wrong, *parts[n + 1 :]])
            assert anyone.get(tried).status_code == 404, tried
        assert anyone.post(path).status_code == 405
    earlier = links(gateway, Clock(lambda: 1_700_000_000.0))
    ended = (earlier.url(video["id"], 0, "image/png", 60) or "").removeprefix("https://gateway.example/base")
    with httpx.Client(base_url=gateway.base_url) as anyone:
        assert anyone.get(ended).status_code == 404
    for each in (made, earlier):
        asyncio.run(each._db.close())


async def test_an_upstream_is_handed_the_address_of_each_input(db: Database, tmp_path: Path) -> None:
    media = [StoredMedia(role=MediaRole.FIRST_FRAME, storage_key="inputs/1", media_type="image/png", size=3)]
    async with engine(db, tmp_path, [upstream("acme", NOWHERE, spec={"deadline_seconds": 50})]) as made:
        asked: list[VideoRequest] = []

        class Listening(Proving):
            async def submit(self, request: VideoRequest) -> Submitted:
                asked.append(request)
                raise ProviderError(ErrorKind.INVALID_REQUEST, "seen enough")

        made.ctx.adapter = lambda _spec: Listening()
        made.ctx.input_url = lambda video_id, n, kind, seconds: f"https://x/{video_id}/{n}/{kind}/{seconds:g}"
        await made.finish(await made.add(media=media))
        (address,) = [each.url for each in asked[0].media]
        assert address == f"https://x/{(await made.db.read(first_video))}/0/image/png/50"


def first_video(conn: Connection) -> str:
    return str(conn.execute(select(videos.c.id)).scalar_one())


def test_without_a_public_url_there_is_no_address(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    db = open_database(settings, Clock())
    assert InputLinks(db, Clock(), open_secret_box(settings), None).url("video_1", 0, "image/png", 60) is None
