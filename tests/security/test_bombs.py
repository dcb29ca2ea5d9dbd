"""Files that would become large: refused soon, in little memory, and the server stays small and serves on."""

import base64
import random
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final, Self

import httpx
import psutil
import pytest

from gateway.media import MediaError
from gateway.media.pool import MediaTools
from gateway.settings import Limits
from providers.testing import FakeUpstream
from tests.gateway.media_files import make_image
from tests.security.bombs import PICTURES, VIDEOS, clip
from tests.server import MODEL, Server

MEGA: Final = 1_000_000
SERVER: Final = 150 * MEGA  # more than before, at most
DECODER: Final = 600 * MEGA  # 50 million pixels are 200 MB, and libraries hold them twice
SECONDS: Final = 60  # on a busy machine; a media worker has 20 for one file
DAMAGED: Final = 250


class Watch:
    """The largest that a process and its children were, in bytes, from `with` to the end of its block."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.start = self.own = self._process.memory_info().rss
        self.child = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.01):
            self.own = max(self.own, self._process.memory_info().rss)
            for child in self._process.children(recursive=True):
                try:
                    self.child = max(self.child, child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with FakeUpstream() as upstream, Server(upstream=upstream) as running:
        yield running
        assert upstream.requests("POST") == []
        assert '"request_failed"' not in running.log_path.read_text()


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {server.admin_key}"}
    with httpx.Client(base_url=server.base_url, headers=headers, timeout=SECONDS) as made:
        yield made


BASE: Final = {"prompt": "x", "model": MODEL, "size": "720x1280"}


def refused(answer: httpx.Response, param: str, word: str) -> None:
    """What is no bomb after all but is of a wrong size, or harmless, may be refused for that."""
    error = answer.json()["error"]
    assert answer.status_code == 400, error
    assert error["param"] == param, error
    assert word in error["message"], error


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture(server: Server, client: httpx.Client, name: str) -> None:
    make, word = PICTURES[name]
    data = make()
    url = {"image_url": f"data:image/png;base64,{base64.b64encode(data).decode()}"}
    with Watch(server.pid) as seen:
        began = time.monotonic()
        if word:
            part = {"input_reference": ("a.png", data, "image/png")}
            refused(client.post("/v1/videos", data=BASE, files=part), "input_reference", word)
            body = {**BASE, "input_reference": url}
            refused(client.post("/v1/videos", json=body), "input_reference[image_url]", word)
        part = {"file": ("a.png", data, "image/png")}
        kept = client.post("/v1/files", data={"purpose": "vision"}, files=part)
        if word and word != "none of":  # what is no medium is kept unread
            refused(kept, "file", word)
        else:
            assert kept.status_code == 200, kept.text
        assert time.monotonic() - began < SECONDS
    assert seen.own - seen.start < SERVER
    assert seen.child < DECODER
    assert client.get("/health/live").status_code == 200


@pytest.mark.parametrize("name", VIDEOS)
def test_a_video(server: Server, client: httpx.Client, name: str) -> None:
    make, word = VIDEOS[name]
    data = make()
    with Watch(server.pid) as seen:
        began = time.monotonic()
        part = {"video": ("a.mp4", data, "video/mp4")}
        if word:
            for path, form in (
                ("/v1/videos/edits", {"prompt": "x", "model": MODEL}),
                ("/v1/videos/characters", {"name": "x"}),
            ):
                refused(client.post(path, data=form, files=part), "video", word)
        part = {"file": ("a.mp4", data, "video/mp4")}
        kept = client.post("/v1/files", data={"purpose": "vision"}, files=part)
        if word:
            refused(kept, "file", word)
        else:
            assert kept.status_code == 200, kept.text
        assert time.monotonic() - began < SECONDS
    assert seen.own - seen.start < SERVER
    assert seen.child < DECODER


@pytest.fixture
async def media() -> AsyncIterator[MediaTools]:
    tools = MediaTools(Limits())
    yield tools
    await tools.close()


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Turn some bytes, write a large number somewhere, or leave a piece out."""
    bad = bytearray(data)
    for _ in range(chance.choice([1, 3, 10, 40])):
        at = chance.randrange(len(bad) - 8)
        match chance.randrange(4):
            case 0:
                bad[at] = chance.randrange(256)
            case 1:
                struct.pack_into(">I", bad, at, chance.choice([0, 1, 2**31 - 1, 2**32 - 1, 2**28]))
            case 2:
                struct.pack_into("<I", bad, at, chance.choice([2**31 - 1, 2**32 - 1, 65536]))
            case _:
                del bad[at : at + chance.randrange(8)]
    return bytes(bad)


async def test_damaged_files_break_nothing(media: MediaTools, tmp_path: Path) -> None:
    """Each is told from its honest form or refused, by a worker that stays small; none is left without an answer."""
    chance = random.Random(11)
    honest = [make_image(kind) for kind in ("JPEG", "PNG", "WEBP")]
    honest += [clip("libx264", "mp4"), clip("libx264", "mov"), clip("libvpx", "webm")]
    answers = {"facts": 0, "refused": 0}
    path = tmp_path / "upload"
    with Watch(psutil.Process().pid) as seen:
        for _ in range(DAMAGED):
            path.write_bytes(damaged(chance.choice(honest), chance))
            try:
                facts = await media.probe(path)
            except MediaError:
                answers["refused"] += 1
            else:
                assert facts.width * facts.height <= Limits().image_pixels
                assert (facts.duration_ms or 0) <= Limits().video_seconds * 1000
                answers["facts"] += 1
    assert sum(answers.values()) == DAMAGED
    assert min(answers.values()) > DAMAGED / 20  # the damage is neither nothing nor everything
    assert seen.child < DECODER
