"""The media workers: what files really are, previews of videos, and workers that break."""

import asyncio
import os
import signal
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from gateway.media import MediaError, MediaFacts
from gateway.media.pool import MediaTools
from gateway.settings import Limits
from tests.gateway.media_files import make_image, make_video


@pytest.fixture(scope="module")
async def media() -> AsyncIterator[MediaTools]:
    tools = MediaTools(Limits(image_pixels=4_000_000, video_seconds=10))
    yield tools
    await tools.close()


def workers() -> list[psutil.Process]:
    """List the live media workers of this test process."""
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "gateway.media.worker" in child.cmdline()
    ]


@pytest.mark.parametrize(
    ("kind", "media_type"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")]
)
async def test_images(media: MediaTools, tmp_path: Path, kind: str, media_type: str) -> None:
    path = tmp_path / "upload"
    path.write_bytes(make_image(kind))
    assert await media.probe(path) == MediaFacts(kind="image", media_type=media_type, width=64, height=48)


@pytest.mark.parametrize(
    ("codec", "container", "media_type"),
    [
        ("libx264", "mp4", "video/mp4"),
        ("libx264", "mov", "video/quicktime"),
        ("libvpx-vp9", "webm", "video/webm"),
        ("libx265", "mp4", "video/mp4"),
        ("libsvtav1", "mp4", "video/mp4"),
    ],
)
async def test_videos(media: MediaTools, tmp_path: Path, codec: str, container: str, media_type: str) -> None:
    path = make_video(tmp_path / "upload", codec=codec, container=container, frames=36)
    facts = await media.probe(path)
    assert (facts.kind, facts.media_type, facts.width, facts.height) == ("video", media_type, 320, 180)
    assert facts.frames == 36
    assert facts.duration_ms == pytest.approx(1500, abs=45)
    assert facts.has_audio is False
    assert await media.probe(path, verify=False) == facts


async def test_audio_is_seen(media: MediaTools, tmp_path: Path) -> None:
    facts = await media.probe(make_video(tmp_path / "a.mp4", audio=True))
    assert facts.has_audio is True


def png_header(width: int, height: int) -> bytes:
    """Make a PNG that claims a size and has next to no data."""
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    idat = b"IDAT" + zlib.compress(bytes(100))
    chunks = [
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (ihdr, idat, b"IEND")
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


REFUSED = {
    "text": (b"hello, I am a video", "none of JPEG"),
    "empty": (b"", "none of JPEG"),
    "gif": (b"GIF89a" + bytes(100), "none of JPEG"),
    "avif": (b"\x00\x00\x00\x20ftypavif" + bytes(100), "none of JPEG"),
    "playlist": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "none of JPEG"),
    "lying jpeg": (b"\xff\xd8\xff\xe0" + bytes(1000), "cannot be decoded"),
    "cut jpeg": (make_image("JPEG", (800, 600))[:1200], "cannot be decoded"),
    "cut png": (make_image("PNG")[:60], "cannot be decoded"),
    "lying mp4": (b"\x00\x00\x00\x18ftypisom" + os.urandom(5000), "cannot be decoded"),
    "lying webm": (b"\x1a\x45\xdf\xa3\x9fB\x82\x84webm" + os.urandom(5000), "cannot be decoded"),
    "bomb": (png_header(60_000, 60_000), "pixels allowed"),
    "liar": (png_header(1000, 1000), "cannot be decoded"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refused(media: MediaTools, tmp_path: Path, name: str) -> None:
    data, message = REFUSED[name]
    path = tmp_path / "upload"
    path.write_bytes(data)
    with pytest.raises(MediaError, match=message):
        await media.probe(path)


async def test_a_cut_video_is_refused(media: MediaTools, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(MediaError):
        await media.probe(path)


async def test_a_video_whose_pictures_are_noise_is_refused(media: MediaTools, tmp_path: Path) -> None:
    """The header is whole; only verify=True looks at the pictures."""
    path = make_video(tmp_path / "a.mp4")
    data = bytearray(path.read_bytes())
    begin, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[begin:end] = os.urandom(end - begin)
    path.write_bytes(data)
    assert (await media.probe(path, verify=False)).width == 320
    with pytest.raises(MediaError):
        await media.probe(path)


async def test_bounds_of_videos(media: MediaTools, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="longer than 10 seconds"):
        await media.probe(make_video(tmp_path / "long.mp4", frames=11, fps=1, width=32, height=32))
    strict = MediaTools(Limits(image_pixels=10_000))
    with pytest.raises(MediaError, match="pixels allowed"):
        await strict.probe(make_video(tmp_path / "wide.mp4", frames=2))
    await strict.close()


async def test_a_sound_file_is_no_video(media: MediaTools, tmp_path: Path) -> None:
    import av
    import numpy as np

    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 48000
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    with pytest.raises(MediaError, match="no picture track"):
        await media.probe(path)


async def test_thumbnail_is_bright_and_small(media: MediaTools, tmp_path: Path) -> None:
    """The first fifth is black, so the frame at a tenth would show nothing."""
    path = make_video(tmp_path / "a.mp4", width=1280, height=720, frames=50, dark_frames=10)
    await media.thumbnail(path, tmp_path / "out.webp")
    with Image.open(tmp_path / "out.webp") as image:
        assert (image.format, image.size) == ("WEBP", (640, 360))
        assert sum(image.convert("L").resize((8, 8)).tobytes()) / 64 > 40


@pytest.mark.parametrize(("frames", "size"), [(48, (1280, 720)), (3, (960, 180)), (1, (320, 180))])
async def test_spritesheet(media: MediaTools, tmp_path: Path, frames: int, size: tuple[int, int]) -> None:
    path = make_video(tmp_path / "a.webm", codec="libvpx-vp9", container="webm", frames=frames)
    await media.spritesheet(path, tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as image:
        assert (image.format, image.size) == ("JPEG", size)


async def test_previews_of_no_video_are_refused(media: MediaTools, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(make_image("PNG"))
    for preview in (media.thumbnail, media.spritesheet):
        with pytest.raises(MediaError):
            await preview(tmp_path / "a", tmp_path / "out")
    assert not (tmp_path / "out").exists()


async def test_workers_start_late_are_shared_and_end_when_idle(tmp_path: Path) -> None:
    tools = MediaTools(Limits(), idle_seconds=0.5)
    before = len(workers())
    path = make_video(tmp_path / "a.mp4")
    assert len(workers()) == before
    await asyncio.gather(*(tools.probe(path) for _ in range(20)))
    assert before < len(workers()) <= before + 2
    await asyncio.sleep(1)
    assert len(workers()) == before
    await tools.probe(path)
    await tools.close()
    assert len(workers()) == before


async def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    """SIGKILL while idle and in the middle of a task: both cost a retry, not the answer."""
    tools = MediaTools(Limits(), size=1)
    others = {process.pid for process in workers()}
    path = make_video(tmp_path / "a.mp4", width=1280, height=720, frames=96)
    await tools.probe(path)
    mine = [process for process in workers() if process.pid not in others]
    mine[0].send_signal(signal.SIGKILL)
    assert (await tools.probe(path)).width == 1280
    mine = [process for process in workers() if process.pid not in others]
    task = asyncio.create_task(tools.spritesheet(path, tmp_path / "out.jpg"))
    await asyncio.sleep(0.02)
    mine[0].send_signal(signal.SIGKILL)
    await task
    assert (tmp_path / "out.jpg").exists()
    await tools.close()


async def test_a_file_that_always_kills_the_worker_is_a_media_error(tmp_path: Path) -> None:
    tools = MediaTools(Limits(), size=1)
    others = {process.pid for process in workers()}
    path = make_video(tmp_path / "a.mp4", width=1280, height=720, frames=200)
    task = asyncio.create_task(tools.spritesheet(path, tmp_path / "out.jpg"))
    while not task.done():
        await asyncio.sleep(0.005)
        for process in workers():
            if process.pid not in others:
                process.send_signal(signal.SIGKILL)
    with pytest.raises(MediaError, match="breaks the decoder"):
        await task
    assert (await tools.probe(path)).frames == 200
    await tools.close()


async def test_a_task_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.media.pool._PREVIEW_SECONDS", 0.05)
    tools = MediaTools(Limits(), size=1)
    path = make_video(tmp_path / "a.mp4", width=1280, height=720, frames=96)
    await tools.probe(path)
    with pytest.raises(MediaError, match="too long"):
        await tools.spritesheet(path, tmp_path / "out.jpg")
    assert (await tools.probe(path)).width == 1280
    await tools.close()


async def test_a_cancelled_task_does_not_poison_the_next(tmp_path: Path) -> None:
    tools = MediaTools(Limits(), size=1)
    path = make_video(tmp_path / "a.mp4", width=1280, height=720, frames=96)
    await tools.probe(path)
    task = asyncio.create_task(tools.spritesheet(path, tmp_path / "out.jpg"))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await tools.probe(path)).frames == 96
    await tools.close()


async def test_the_worker_sees_no_secret(tmp_path: Path) -> None:
    tools = MediaTools(Limits(), size=1)
    others = {process.pid for process in workers()}
    await tools.probe(make_video(tmp_path / "a.mp4", frames=2))
    worker = next(process for process in workers() if process.pid not in others)
    assert set(worker.environ()) <= {"PATH", "PYTHONPATH", "LC_CTYPE"}
    await tools.close()
