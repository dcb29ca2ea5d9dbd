"""Marks: a video encoded again with a small text in its lower right corner, with an invisible mark, or with both.

Imported by the media worker only. One frame is in memory at a time; sound goes over as it is where MP4 can carry it.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import av
import av.error
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from gateway.media import MediaError
from gateway.media.decode import Bounds, length, open_video
from gateway.media.invisible import MarkOfSize
from gateway.media.stamp import Stamp, draw

Tick = Callable[[], None]
"""Called for every frame; may raise to stop."""

_OPTIONS: Final = {
    "preset": "veryfast",
    "crf": "18",
    "profile": "high",
    # few frames held back, so little memory; and x264 gives the same bits for the same frames only without these
    "x264-params": "mbtree=0:bframes=0",
}
_COPIED: Final = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"})
_PCM: Final = frozenset(
    f"pcm_{kind}" for kind in ("s16le", "s16be", "s24le", "s24be", "s32le", "f32le", "f32be")
)
_DECODED: Final = _PCM | {"vorbis"}
_LAYOUTS: Final = {1: "mono", 2: "stereo"}
_OURS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOENT, errno.EACCES})
_COARSE: Final = Fraction(1, 2000)  # seconds: a container that counts in such steps has no exact times
_WHOLE: Final = 0.9  # a file that gives fewer of its frames than this is broken
_NOT_KEPT: Final = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})


@dataclass(frozen=True, slots=True)
class Marks:
    """What is put on: a text, and what a plug-in does to every picture before it."""

    text: str | None = None
    invisible: MarkOfSize | None = None


def mark(path: Path, out: Path, marks: Marks, bounds: Bounds, tick: Tick) -> bool:
    """Write `out`: an MP4 of the same frames at the same times, marked; whether it carries an invisible mark.

    The size is the same, but even (H.264's colour needs that: an edge is repeated once) and as shown (a rotation is
    carried out). MediaError for a file that cannot be marked, OSError where the disk is at fault; then no `out` stays.
    """
    try:
        first, frames = _look(path, bounds)
        # opened anew: after a seek the first sound may be missing
        with open_video(path, bounds) as (source, stream):
            canvas = _Canvas(first, marks)
            with _Writer(out, source, stream, canvas) as writer:
                _run(source, stream, writer, tick)
                writer.check(frames)
            return canvas.marks_invisibly
    except BaseException:
        out.unlink(missing_ok=True)
        raise


def _look(path: Path, bounds: Bounds) -> tuple[Any, int]:
    """The first frame, and how many there should be."""
    with open_video(path, bounds) as (container, stream):
        frames, _ = length(container, stream)
        for frame in container.decode(stream):
            return frame, frames
    raise MediaError("the video has no frame that can be decoded")


def _run(source: Any, stream: Any, writer: "_Writer", tick: Tick) -> None:
    """Copy packet by packet."""
    for packet in source.demux(stream, *source.streams.audio):
        if packet.stream.type == "audio":
            writer.sound(packet)
            continue
        for frame in packet.decode():
            tick()
            writer.add(frame)


class _Canvas:
    """Makes frames of one size and kind from a video's frames, with the marks on them."""

    def __init__(self, first: Any, marks: Marks) -> None:
        self._shape = (first.width, first.height, first.format.name)
        self._turns = round(first.rotation / 90) % 4
        self.turned = self._turns % 2 == 1
        shown = (first.width, first.height)[:: -1 if self.turned else 1]
        self.size = (shown[0] + shown[0] % 2, shown[1] + shown[1] % 2)
        self._moved = self._turns != 0 or self.size != shown
        self._reformatter = VideoReformatter()
        self._stamp: Stamp | None = None if marks.text is None else draw(marks.text, shown)
        self._embed = None if marks.invisible is None else marks.invisible(self.size)
        self.first = self._planar(first)

    @property
    def marks_invisibly(self) -> bool:
        """Whether there is a mark that nobody sees."""
        return self._embed is not None

    def paint(self, frame: Any) -> Any:
        """The picture of one frame as it is encoded."""
        if (frame.width, frame.height, frame.format.name) != self._shape:
            raise MediaError("the video changes its size midway")
        made = self._planar(frame)
        if self._moved:
            made = self._move(made)
        else:
            made.make_writable()  # the decoder still needs its own
        planes = _planes(made)
        if self._embed is not None:
            self._embed(planes[0])
        if self._stamp is not None:
            self._stamp.put(planes)
        made.pict_type = 0  # a source's key frames are not ours
        return made

    def _planar(self, frame: Any) -> Any:
        if frame.format.name == "yuv420p":
            return frame
        matrix = Colorspace.ITU709 if frame.format.is_rgb else None
        return self._reformatter.reformat(
            frame, format="yuv420p", dst_colorspace=matrix, dst_color_range=ColorRange.MPEG, threads=1
        )

    def _move(self, frame: Any) -> Any:
        """Turn the picture as its rotation says, and repeat the last row or column where the size is odd."""
        moved = av.VideoFrame(*self.size, "yuv420p")
        for old, new in zip(_planes(frame), _planes(moved), strict=True):
            picture = np.rot90(old, self._turns)
            short = [(0, have - is_) for have, is_ in zip(new.shape, picture.shape, strict=True)]
            new[:] = np.pad(picture, short, mode="edge")
        return moved


def _planes(frame: Any) -> list[NDArray[np.uint8]]:
    """Luma and both colours as arrays over the frame's own memory."""
    arrays = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8)[: plane.line_size * plane.height]
        arrays.append(rows.reshape(plane.height, plane.line_size)[:, : plane.width])
    return arrays


class _Times:
    """When frames are shown. WebM counts milliseconds: what is that near to the video's own rate is put back on it."""

    def __init__(self, stream: Any) -> None:
        self.rate: Fraction = stream.average_rate or stream.guessed_rate or Fraction(24)
        self._tick: Fraction = stream.time_base
        self._exact = self._tick >= _COARSE
        self.base = (
            Fraction(1, lcm(self.rate.numerator, self._tick.denominator)) if self._exact else self._tick
        )

    def set(self, frame: Any, pts: int | None, duration: int) -> None:
        """Give a frame its time and length, as the source counts them."""
        frame.time_base = self.base
        frame.pts = None if pts is None else self._of(pts)
        frame.duration = self._of(duration)

    def _of(self, ticks: int) -> int:
        seconds = ticks * self._tick
        near = round(seconds * self.rate) / self.rate
        if self._exact and abs(near - seconds) <= self._tick:
            seconds = near
        return round(seconds / self.base)


class _Writer:
    """The MP4 being written, its index in front once it is closed."""

    def __init__(self, out: Path, source: Any, stream: Any, canvas: _Canvas) -> None:
        self._canvas, self._times, self._done = canvas, _Times(stream), 0
        options = {"movflags": "+faststart"}
        if metadata := {key: text for key, text in source.metadata.items() if key not in _NOT_KEPT}:
            options["movflags"] += "+use_metadata_tags"  # keeps any key: makers label their videos
        self._container: Any = av.open(str(out), "w", format="mp4", options=options)
        self._container.metadata.update(metadata)
        self._stream = self._pictures(stream, canvas)
        self._tracks = {each.index: _Sound(self._container, each) for each in source.streams.audio}

    def _pictures(self, stream: Any, canvas: _Canvas) -> Any:
        made = self._container.add_stream("libx264", rate=self._times.rate, options=_OPTIONS)
        context, first = made.codec_context, canvas.first
        made.width, made.height = canvas.size
        made.pix_fmt = "yuv420p"
        made.time_base = context.time_base = self._times.base
        context.thread_count = 1
        context.flags |= Flags.frame_duration
        context.color_range, context.colorspace = first.color_range, first.colorspace
        context.color_primaries, context.color_trc = first.color_primaries, first.color_trc
        if ratio := stream.sample_aspect_ratio:
            context.sample_aspect_ratio = 1 / ratio if canvas.turned else ratio
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            with suppress(av.error.FFmpegError, ValueError):
                self._container.close()
            return
        with _written():
            self._container.mux(self._stream.encode(None))
            for track in self._tracks.values():
                track.finish()
            self._container.close()

    def add(self, frame: Any) -> None:
        """Encode one frame of the source."""
        times = (frame.pts, frame.duration)
        painted = self._canvas.paint(frame)
        self._times.set(painted, *times)
        with _written():
            self._container.mux(self._stream.encode(painted))
        self._done += 1

    def check(self, frames: int) -> None:
        """Refuse a file whose header promised many more frames than it has."""
        if self._done < frames * _WHOLE:
            raise MediaError(f"only {self._done} of the video's {frames} frames can be decoded")

    def sound(self, packet: Any) -> None:
        """Take a packet of one of the source's sound tracks."""
        self._tracks[packet.stream.index].take(packet)


class _Sound:
    """One sound track: its packets as they are, or AAC where MP4 players would not know them."""

    def __init__(self, container: Any, source: Any) -> None:
        self._container = container
        codec = source.codec_context and source.codec_context.codec.canonical_name
        if codec not in _COPIED | _DECODED:
            raise MediaError(f"the video's sound is {codec}, which is not supported")
        self._copied = codec in _COPIED
        if self._copied:
            self._stream = container.add_stream_from_template(source)
        else:
            context = source.codec_context
            self._stream = container.add_stream("aac", rate=context.sample_rate)
            # headers may count channels without naming them
            self._stream.layout = _LAYOUTS.get(context.layout.nb_channels, context.layout)

    def take(self, packet: Any) -> None:
        """Carry over one packet of the source; an empty one, at its end, too."""
        if not self._copied:
            for frame in packet.decode():
                self._encode(frame)
        elif packet.dts is not None:
            packet.stream = self._stream
            with _written():
                self._container.mux(packet)

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if not self._copied:
            self._encode(None)

    def _encode(self, frame: Any) -> None:
        with _written():
            self._container.mux(self._stream.encode(frame))


@contextmanager
def _written() -> Iterator[None]:
    """Tell a disk at fault (OSError) from all else (MediaError): open_video would take it for the file's."""
    try:
        yield
    except (av.error.FFmpegError, ValueError) as error:
        code = getattr(error, "errno", None)
        if code in _OURS:
            raise OSError(code, f"the marked video cannot be written: {error}") from error
        if code == errno.EFBIG:
            raise MediaError("the marked video is larger than a video may be") from error
        raise MediaError(f"the marked video cannot be encoded: {error}") from error
