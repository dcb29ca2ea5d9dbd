"""Downloads: whole, in ranges, conditional, previews on demand, and twenty clients at once in little memory."""

import asyncio
import hashlib
import io
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from c2pa import Reader
from PIL import Image
from sqlalchemy import update

from gateway.clock import Clock
from gateway.db import Database
from gateway.media.claim import Claim
from gateway.media.identity import SigningIdentity
from gateway.videos.tables import videos
from providers.contract import Operation
from tests.gateway.asgi import asgi_client
from tests.gateway.media_app import HEADERS, Parts, add_project, add_video, media_app, settings_in
from tests.gateway.media_files import make_video

URL = "/v1/videos/video_1/content"
MIB = 1024 * 1024


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite only: the one statement here is plain, and test_files runs on both."""
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture
async def parts(db: Database, clock: Clock, tmp_path: Path, database_url: str) -> AsyncIterator[Parts]:
    async with media_app(settings_in(tmp_path, database_url), clock, db) as built:
        yield built


@pytest.fixture
async def client(parts: Parts) -> AsyncIterator[httpx.AsyncClient]:
    async with asgi_client(parts.app, headers=HEADERS) as http:
        yield http


@pytest.fixture
async def data(parts: Parts, tmp_path: Path) -> bytes:
    """Store a completed video and answer its bytes."""
    path = make_video(tmp_path / "made.mp4", width=640, height=360)
    stored = await parts.storage.put_file("videos/video_1/content.mp4", path, content_type="video/mp4")
    await add_video(parts.db, content_bytes=stored.bytes, content_sha256=stored.sha256)
    return path.read_bytes()


async def test_the_whole_video(client: httpx.AsyncClient, data: bytes) -> None:
    answer = await client.get(URL, headers={"Accept": "application/binary"})
    assert answer.status_code == 200
    assert answer.content == data
    expected = {
        "content-type": "video/mp4",
        "content-length": str(len(data)),
        "accept-ranges": "bytes",
        "etag": f'"{hashlib.sha256(data).hexdigest()}"',
        "content-disposition": 'attachment; filename="video_1.mp4"',
        "cache-control": "private",
    }
    assert {name: answer.headers[name] for name in expected} == expected


async def test_head_tells_the_same_without_a_body(client: httpx.AsyncClient, data: bytes) -> None:
    whole, head = await client.get(URL), await client.head(URL, headers={"Range": "bytes=0-1"})
    assert head.status_code == 200
    assert head.content == b""
    assert dict(head.headers) == dict(whole.headers)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=1000-", 1000, None),
        ("bytes=-100", -100, None),
        ("bytes=0-99999999999", 0, None),
        ("bytes=-99999999999", 0, None),
    ],
)
async def test_one_range(
    client: httpx.AsyncClient, data: bytes, asked: str, start: int, end: int | None
) -> None:
    part = data[start:end]
    answer = await client.get(URL, headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == part
    first = data.index(part) if start < 0 else start
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(part) - 1}/{len(data)}"
    assert answer.headers["content-length"] == str(len(part))


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,5-6", "bytes=9-1", "lines=1-2", "bytes=a-b", "bytes=", "bytes=-"]
)
async def test_other_ranges_give_the_whole(client: httpx.AsyncClient, data: bytes, asked: str) -> None:
    answer = await client.get(URL, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, data)


@pytest.mark.parametrize("asked", ["bytes={size}-", "bytes={size}-{size}", "bytes=-0"])
async def test_a_range_beyond_the_end(client: httpx.AsyncClient, data: bytes, asked: str) -> None:
    answer = await client.get(URL, headers={"Range": asked.format(size=len(data))})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(data)}"
    assert answer.json()["error"]["code"] == "range_not_satisfiable"


async def test_conditions(client: httpx.AsyncClient, data: bytes) -> None:
    etag = (await client.get(URL)).headers["etag"]
    for value in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        answer = await client.get(URL, headers={"If-None-Match": value})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert (await client.get(URL, headers={"If-None-Match": '"x"'})).status_code == 200
    same = await client.get(URL, headers={"Range": "bytes=0-9", "If-Range": etag})
    assert (same.status_code, same.content) == (206, data[:10])
    other = await client.get(URL, headers={"Range": "bytes=0-9", "If-Range": '"x"'})
    assert (other.status_code, other.content) == (200, data)


async def test_previews_are_made_once_and_kept(client: httpx.AsyncClient, parts: Parts, data: bytes) -> None:
    answers = await asyncio.gather(*(client.get(URL, params={"variant": "thumbnail"}) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["etag"] for answer in answers}) == 1
    assert answers[0].headers["content-type"] == "image/webp"
    assert answers[0].headers["content-disposition"] == 'attachment; filename="video_1-thumbnail.webp"'
    with Image.open(io.BytesIO(answers[0].content)) as image:
        assert (image.format, image.size) == ("WEBP", (640, 360))
    sheet = await client.get(URL, params={"variant": "spritesheet"})
    assert sheet.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(sheet.content)) as image:
        assert image.format == "JPEG"
    made = await parts.storage.head("videos/video_1/thumbnail.webp")
    again = await client.get(
        URL, params={"variant": "thumbnail"}, headers={"If-None-Match": answers[0].headers["etag"]}
    )
    assert again.status_code == 304
    assert await parts.storage.head("videos/video_1/thumbnail.webp") == made


async def test_a_video_that_cannot_be_decoded_has_no_preview(client: httpx.AsyncClient, parts: Parts) -> None:
    await parts.storage.put_bytes("videos/video_1/content.mp4", b"junk" * 100, content_type="video/mp4")
    await add_video(parts.db, content_bytes=400, content_sha256="0" * 64)
    answer = await client.get(URL, params={"variant": "thumbnail"})
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "preview_failed"
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"state": "running"}, (400, "video_not_ready")),
        ({"state": "failed", "error_code": "moderation_blocked"}, (400, "video_failed")),
        ({"expires_at": 1}, (404, "content_expired")),
        ({"content_key": None}, (404, "content_expired")),
        ({"deleted_at": 1}, (404, "video_not_found")),
        ({"project_id": "proj_other"}, (404, "video_not_found")),
    ],
)
@pytest.mark.usefixtures("data")
async def test_videos_without_content(
    client: httpx.AsyncClient, parts: Parts, values: dict[str, object], expected: tuple[int, str]
) -> None:
    await parts.db.write(lambda conn: conn.execute(update(videos).values(values)))
    for variant in ("video", "thumbnail"):
        answer = await client.get(URL, params={"variant": variant})
        assert (answer.status_code, answer.json()["error"]["code"]) == expected


async def test_a_project_sees_its_own_videos_only(
    client: httpx.AsyncClient, parts: Parts, data: bytes
) -> None:
    await add_project(parts.db, "proj_other")
    answer = await client.get(URL, headers={"X-Onereel-Project": "proj_other"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "video_not_found")
    assert (await client.get("/v1/videos/video_9/content")).status_code == 404


async def test_an_unknown_variant_names_the_known(client: httpx.AsyncClient, data: bytes) -> None:
    answer = await client.get(URL, params={"variant": "gif"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "variant"
    assert "video, thumbnail, spritesheet" in answer.json()["error"]["message"]


async def test_bytes_that_are_missing_are_a_503(client: httpx.AsyncClient, parts: Parts, data: bytes) -> None:
    await parts.storage.delete("videos/video_1/content.mp4")
    answer = await client.get(URL)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "content_unavailable")


@pytest.fixture
def big_server(tmp_path: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A real server process with one video of 200 MB."""
    with (tmp_path / "big").open("wb") as file:
        block = os.urandom(MIB)
        for _ in range(200):
            file.write(block)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "tests.gateway.media_app", str(tmp_path), str(port)])
    url = f"http://127.0.0.1:{port}{URL}"
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.head(url, headers=HEADERS).raise_for_status()
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                assert server.poll() is None
                time.sleep(0.05)
        yield url, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(10)


async def drain(url: str, *, pace: float = 0) -> tuple[float, int]:
    """Download over a bare socket; answers seconds to the first byte, and bytes of the body."""
    port = int(re.findall(r":(\d+)/", url)[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=MIB)
    writer.write(
        f"GET {URL} HTTP/1.1\r\nHost: x\r\nAuthorization: {HEADERS['Authorization']}\r\n\r\n".encode()
    )
    begun = time.perf_counter()
    head = await reader.readuntil(b"\r\n\r\n")
    first = time.perf_counter() - begun
    length = int(re.findall(rb"content-length: (\d+)", head)[0])
    count = 0
    while count < length:
        data = await reader.read(MIB)
        assert data
        count += len(data)
        if pace:
            await asyncio.sleep(pace)
    writer.close()
    return first, count


async def test_twenty_clients_of_a_200_mb_file_add_little_memory(
    big_server: tuple[str, psutil.Process],
) -> None:
    url, server = big_server
    await drain(url)
    first, _ = await drain(url)
    assert first < 0.1
    before = server.memory_info().rss
    peak = 0
    tasks = [asyncio.create_task(drain(url, pace=0.002 * (n % 2))) for n in range(20)]
    while not all(task.done() for task in tasks):
        peak = max(peak, server.memory_info().rss)
        await asyncio.sleep(0.05)
    assert [task.result()[1] for task in tasks] == [200 * MIB] * 20
    assert peak - before <= 60 * MIB


async def test_a_client_that_leaves_stops_the_reading(big_server: tuple[str, psutil.Process]) -> None:
    url, server = big_server
    port = int(re.findall(r":(\d+)/", url)[0])
    for _ in range(5):
        _reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(
            f"GET {URL} HTTP/1.1\r\nHost: x\r\nAuthorization: {HEADERS['Authorization']}\r\n\r\n".encode()
        )
        await asyncio.sleep(0.05)
        writer.transport.abort()
    deadline = time.monotonic() + 5
    while any("content.mp4" in file.path for file in server.open_files()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert (await drain(url))[1] == 200 * MIB


async def test_a_signed_video_is_served_whole_in_parts_and_in_previews(
    client: httpx.AsyncClient, parts: Parts, tmp_path: Path
) -> None:
    plain, signed = make_video(tmp_path / "a.mp4"), tmp_path / "signed.mp4"
    claim = Claim("video_1", "acme/fast", Operation.GENERATE, 1_790_000_000_000)
    identity = SigningIdentity(parts.settings).loaded
    await parts.media.sign(
        plain, signed, claim=claim, identity=identity, facts=await parts.media.probe(plain)
    )
    stored = await parts.storage.put_file("videos/video_1/content.mp4", signed, content_type="video/mp4")
    await add_video(parts.db, content_bytes=stored.bytes, content_sha256=stored.sha256)
    pieces = [
        (await client.get(URL, headers={"Range": f"bytes={at}-{at + 9999}"})).content
        for at in range(0, stored.bytes, 10_000)
    ]
    data = b"".join(pieces)
    assert (data, len(pieces) > 2) == (signed.read_bytes(), True)
    with Reader("video/mp4", io.BytesIO(data)) as reader:
        assert reader.get_validation_state() == "Valid"
    for variant, kind in (("thumbnail", "WEBP"), ("spritesheet", "JPEG")):
        answer = await client.get(URL, params={"variant": variant})
        assert Image.open(io.BytesIO(answer.raise_for_status().content)).format == kind
