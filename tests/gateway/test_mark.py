"""The visible mark: it is there, the rest of the video is as it was, and nothing is left of what fails."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
from pydantic import ValidationError

from gateway.media import MediaError, MediaFacts
from gateway.media.pool import MediaTools
from gateway.media.stamp import draw
from gateway.settings import Limits, Media
from tests.gateway.media_files import make_image, make_video, turned, with_sound


@pytest.fixture(scope="module")
async def media() -> AsyncIterator[MediaTools]:
    tools = MediaTools(Limits())
    yield tools
    await tools.close()


async def marked(media: MediaTools, path: Path, text: str = "onereel") -> Path:
    out = path.with_suffix(".marked")
    await media.mark(path, out, text=text, facts=await media.probe(path, verify=False))
    return out


def pictures(path: Path) -> list[list[np.ndarray[Any, Any]]]:
    """Every frame upright, as its three planes: brightness, and both colours at half the size."""
    shown = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            turns = round(frame.rotation / 90)
            planes = []
            matrix = "ITU709" if frame.format.is_rgb else None
            planar = frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range="MPEG")
            for plane in planar.planes:
                rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
                planes.append(np.rot90(rows[: plane.height, : plane.width], turns).astype(float))
            shown.append(planes)
    return shown


def times(path: Path) -> list[tuple[Fraction, Fraction]]:
    """When each frame is shown and how long, in seconds."""
    with av.open(str(path)) as container:
        base = container.streams.video[0].time_base
        return sorted(
            (packet.pts * base, (packet.duration or 0) * base)
            for packet in container.demux(video=0)
            if packet.pts is not None
        )


def psnr(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    error = np.mean((one - other) ** 2)
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def check_pictures(before: Path, after: Path, text: str = "onereel") -> None:
    """Each frame has the mark where it belongs and is near-identical elsewhere."""
    old, new = pictures(before), pictures(after)
    assert len(new) == len(old)
    height, width = old[0][0].shape
    stamp = draw(text, (width, height))
    bottom, right = stamp.top + stamp.cover.shape[0], stamp.left + stamp.cover.shape[1]
    assert (bottom <= height, right <= width, stamp.top >= height // 2 - 1) == (True, True, True)
    for was, is_ in zip(old, new, strict=True):
        for plane, kept, scale in zip(was, is_, (1, 2, 2), strict=True):
            kept = kept[: plane.shape[0], : plane.shape[1]]  # noqa: PLW2901
            outside = np.ones(plane.shape, bool)
            # an encoder's block around the mark is not the rest
            outside[max(0, stamp.top - 16) // scale :, max(0, stamp.left - 16) // scale :] = False
            assert psnr(plane[outside], kept[outside]) > 39
            spot = np.s_[stamp.top // scale : bottom // scale, stamp.left // scale : right // scale]
            assert psnr(plane[spot], kept[spot]) < (20 if scale == 1 else 30)


@pytest.mark.parametrize(
    ("width", "height"), [(1280, 720), (720, 1280), (256, 144), (144, 256), (1920, 1080), (64, 64), (48, 180)]
)
async def test_the_mark_and_nothing_else(media: MediaTools, tmp_path: Path, width: int, height: int) -> None:
    path = make_video(tmp_path / "a.mp4", width=width, height=height, frames=12)
    out = await marked(media, path)
    facts = await media.probe(out)
    assert facts == await media.probe(path)
    assert (facts.media_type, facts.width, facts.height) == ("video/mp4", width, height)
    assert times(out) == times(path)
    check_pictures(path, out)
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 24)
    data = out.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # plays before it is whole


@pytest.mark.parametrize(("short", "least"), [(144, 8), (360, 8), (720, 19), (1080, 26)])
def test_the_letters_are_readable(short: int, least: int) -> None:
    """The tall l is that many pixels high, and bright on dark whatever lies below."""
    stamp = draw("l", (short, short * 2))
    shown = stamp.luma * stamp.cover + 255 * (1 - stamp.cover)
    assert ((shown > 200) & (stamp.cover > 0.6)).any(1).sum() >= least
    assert np.median(shown) < 160
    assert stamp.cover.shape[0] < short / 8  # unobtrusive


@pytest.mark.parametrize("size", [(16, 16), (2, 2), (8, 400), (400, 6), (33, 35)])
def test_the_mark_is_inside_the_smallest_picture(size: tuple[int, int]) -> None:
    for text in ("onereel", "W" * 40):
        stamp = draw(text, size)
        assert stamp.left + stamp.cover.shape[1] <= size[0]
        assert stamp.top + stamp.cover.shape[0] <= size[1]
        assert stamp.left % 2 == stamp.top % 2 == stamp.cover.shape[0] % 2 == stamp.cover.shape[1] % 2 == 0


async def test_a_text_of_ones_own(media: MediaTools, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=3)
    out = await marked(media, path, "made with \N{COPYRIGHT SIGN} Acme & Sons, 2026")
    check_pictures(path, out, "made with \N{COPYRIGHT SIGN} Acme & Sons, 2026")


@pytest.mark.parametrize("text", ["", " ", "x" * 41, "日本", "two\nlines", " onereel"])
def test_texts_that_the_font_lacks_are_refused_at_the_start(text: str) -> None:
    with pytest.raises(ValidationError):
        Media(watermark_text=text)


async def test_an_odd_size_is_made_even_by_repeating_the_edge(media: MediaTools, tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "a.webm", codec="libvpx-vp9", container="webm", width=321, height=181, frames=24
    )
    out = await marked(media, path)
    facts = await media.probe(out)
    assert (facts.width, facts.height, facts.frames, facts.duration_ms) == (322, 182, 24, 1000)
    check_pictures(path, out)
    luma = pictures(out)[5][0]
    assert np.abs(luma[:100, 321] - luma[:100, 320]).mean() < 4
    assert np.abs(luma[181, :200] - luma[180, :200]).mean() < 4


async def test_a_rate_that_webm_rounds_to_milliseconds_is_exact_again(
    media: MediaTools, tmp_path: Path
) -> None:
    for fps in (24, 30):
        path = make_video(tmp_path / f"{fps}.webm", codec="libvpx", container="webm", fps=fps, frames=45)
        out = await marked(media, path)
        assert times(out) == [(Fraction(n, fps), Fraction(1, fps)) for n in range(45)]


async def test_uneven_times_stay(media: MediaTools, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for n, at in enumerate([0, 10, 50, 55, 300, 301, 640]):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 30 * n, np.uint8), format="rgb24")
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    out = await marked(media, path)
    assert [at for at, _ in times(out)] == [at for at, _ in times(path)]


@pytest.mark.parametrize(
    ("codec", "container", "pixels"),
    [
        ("libx265", "mp4", "yuv420p10le"),
        ("libx264", "mov", "yuv444p"),
        ("libx264", "mp4", "yuvj420p"),
        ("libsvtav1", "mp4", "yuv420p"),
        ("libvpx-vp9", "webm", "gbrp"),
    ],
)
async def test_other_codecs_and_colours(
    media: MediaTools, tmp_path: Path, codec: str, container: str, pixels: str
) -> None:
    path = make_video(tmp_path / "a", codec=codec, container=container, pixels=pixels, frames=12)
    out = await marked(media, path)
    check_pictures(path, out)


async def test_what_players_are_told_about_colour_stays(media: MediaTools, tmp_path: Path) -> None:
    said = {"x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709"}
    path = make_video(tmp_path / "a.mp4", frames=3, options=said)
    with av.open(str(await marked(media, path))) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (1, 1, 1)


@pytest.mark.parametrize(("degrees", "size"), [(90, (180, 320)), (180, (320, 180))])
async def test_a_turned_video_is_marked_as_it_is_seen(
    media: MediaTools, tmp_path: Path, degrees: int, size: tuple[int, int]
) -> None:
    path = turned(make_video(tmp_path / "a.mp4", frames=4), degrees)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).rotation % 360 == degrees
    out = await marked(media, path)
    with av.open(str(out)) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (*size, 0)
    check_pictures(path, out)


def sound(path: Path) -> tuple[str, list[bytes], float]:
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        seconds = sum(float((packet.duration or 0) * packet.time_base) for packet in packets)
        return container.streams.audio[0].codec_context.name, [bytes(packet) for packet in packets], seconds


@pytest.mark.parametrize(("codec", "container"), [("aac", "mp4"), ("aac", "mov"), ("libopus", "webm")])
async def test_sound_is_copied(media: MediaTools, tmp_path: Path, codec: str, container: str) -> None:
    picture = "libvpx-vp9" if container == "webm" else "libx264"
    silent = make_video(tmp_path / "silent", codec=picture, container=container)
    path = with_sound(silent, tmp_path / "a", codec, container=container)
    out = await marked(media, path)
    assert sound(out)[:2] == sound(path)[:2]
    assert (await media.probe(out)).has_audio
    with av.open(str(out)) as after, av.open(str(path)) as before:
        starts = [next(file.decode(audio=0)).time for file in (before, after)]
        assert starts[0] == pytest.approx(starts[1], abs=0.002)


@pytest.mark.parametrize(("codec", "container"), [("vorbis", "webm"), ("pcm_s16le", "mov")])
async def test_sound_that_mp4_does_not_carry_becomes_aac(
    media: MediaTools, tmp_path: Path, codec: str, container: str
) -> None:
    picture = "libvpx-vp9" if container == "webm" else "libx264"
    silent = make_video(tmp_path / "silent", codec=picture, container=container)
    path = with_sound(silent, tmp_path / "a", codec, container=container)
    name, _, seconds = sound(await marked(media, path))
    assert name == "aac"
    assert seconds == pytest.approx(2, abs=0.06)
    with av.open(str(path.with_suffix(".marked"))) as container_:
        wave = np.concatenate([frame.to_ndarray()[0] for frame in container_.decode(audio=0)])
    assert np.abs(wave[4800:-4800]).max() == pytest.approx(0.5, abs=0.05)


async def test_what_its_maker_wrote_about_it_stays(media: MediaTools, tmp_path: Path) -> None:
    plain = make_video(tmp_path / "plain.mp4", frames=3)
    path = tmp_path / "a.mp4"
    with (
        av.open(str(plain)) as source,
        av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as output,
    ):
        stream = output.add_stream_from_template(source.streams.video[0])
        output.metadata.update({"comment": "made by a machine", "AIGC": '{"Label":"1"}'})
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    with av.open(str(await marked(media, path))) as container:
        assert container.metadata["comment"] == "made by a machine"
        assert container.metadata["AIGC"] == '{"Label":"1"}'


async def test_the_same_file_gives_the_same_bytes(media: MediaTools, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", width=640, height=360)
    first = (await marked(media, path)).read_bytes()
    assert (await marked(media, path)).read_bytes() == first


def cut(path: Path) -> None:
    """The index is in front and whole, half of the pictures are missing."""
    make_video(path, options={"movflags": "+faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])


def noise(path: Path) -> None:
    make_video(path)
    data = bytearray(path.read_bytes())
    begin, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[begin:end] = os.urandom(end - begin)
    path.write_bytes(data)


def picture(path: Path) -> None:
    path.write_bytes(make_image("PNG"))


@pytest.mark.parametrize("spoil", [cut, noise, picture])
async def test_a_broken_file_is_refused_and_leaves_nothing(
    media: MediaTools, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / "a.mp4"
    spoil(path)
    facts = MediaFacts("video", "video/mp4", 320, 180, 2000, 48)
    with pytest.raises(MediaError, match=r"decoded|no MP4"):
        await media.mark(path, tmp_path / "out", text="onereel", facts=facts)
    assert [each.name for each in tmp_path.iterdir()] == ["a.mp4"]


async def test_a_marked_file_is_bounded_and_a_disk_at_fault_is_no_media_error(tmp_path: Path) -> None:
    tools = MediaTools(Limits(video_bytes=20_000))
    path = make_video(tmp_path / "a.mp4", width=640, height=360)
    facts = await tools.probe(path)
    with pytest.raises(MediaError, match="larger than"):
        await tools.mark(path, tmp_path / "out", text="onereel", facts=facts)
    with pytest.raises(OSError, match="No such file"):
        await tools.mark(path, tmp_path / "nowhere" / "out", text="onereel", facts=facts)
    assert [each.name for each in tmp_path.iterdir()] == ["a.mp4"]
    await tools.thumbnail(path, tmp_path / "out.webp")  # the bound of one task is not the next one's
    await tools.close()


async def written(out: Path) -> None:
    """Wait until the worker is at it."""
    async with asyncio.timeout(20):
        while not out.exists() or out.stat().st_size == 0:
            await asyncio.sleep(0.005)


async def test_a_cancelled_mark_stops_at_once(tmp_path: Path) -> None:
    tools = MediaTools(Limits())
    path = make_video(tmp_path / "a.mp4", width=1280, height=720, frames=240)
    facts, out = await tools.probe(path), tmp_path / "out"
    task = asyncio.create_task(tools.mark(path, out, text="onereel", facts=facts))
    await written(out)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    out.unlink()
    await asyncio.sleep(0.5)
    assert not out.exists()
    await tools.close()


async def test_a_mark_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.media.pool._MARK_LONGEST", 0.3)
    tools = MediaTools(Limits())
    path = make_video(tmp_path / "a.mp4", width=1280, height=720, frames=240)
    with pytest.raises(MediaError, match="too long"):
        await tools.mark(path, tmp_path / "out", text="onereel", facts=await tools.probe(path))
    await tools.close()


async def test_marks_leave_a_worker_for_those_who_wait(tmp_path: Path) -> None:
    """Five marks are asked for; a probe is answered long before the first is done."""
    tools = MediaTools(Limits())
    path = make_video(tmp_path / "a.mp4", width=1280, height=720, frames=240)
    facts = await tools.probe(path)
    marks = [
        asyncio.create_task(tools.mark(path, tmp_path / f"out{n}", text="onereel", facts=facts))
        for n in range(5)
    ]
    await written(tmp_path / "out0")
    await tools.probe(path)
    assert not any(task.done() for task in marks)
    assert sum((tmp_path / f"out{n}").exists() for n in range(5)) == 1
    for task in marks:
        task.cancel()
    await asyncio.gather(*marks, return_exceptions=True)
    await tools.close()


def test_turns_are_few_and_given_back() -> None:
    tools = MediaTools(Limits(), size=2)
    with ExitStack() as taken:
        granted = [taken.enter_context(tools.mark_turn()) for _ in range(6)]
        assert granted == [True] * 4 + [False] * 2
    with tools.mark_turn() as again:
        assert again


_ALONE = """
import asyncio, sys
from pathlib import Path
from gateway.media.pool import MediaTools
from gateway.settings import Limits

async def main():
    tools, path = MediaTools(Limits()), Path(sys.argv[1])
    await tools.mark(path, Path(sys.argv[2]), text="onereel", facts=await tools.probe(path))

asyncio.run(main())
"""


def test_a_worker_whose_gateway_is_killed_stops_and_cleans_up(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", width=1280, height=720, frames=480)
    out = tmp_path / "out"
    gateway = subprocess.Popen([sys.executable, "-c", _ALONE, str(path), str(out)])
    while not out.exists():
        assert gateway.poll() is None
        time.sleep(0.01)
    (worker,) = psutil.Process(gateway.pid).children()
    gateway.send_signal(signal.SIGKILL)
    gateway.wait()
    started = time.monotonic()
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() - started < 3
        time.sleep(0.02)
    assert not out.exists()
