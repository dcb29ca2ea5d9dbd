"""Frames and sound to MP4: H.264 High, yuv420p, BT.709, AAC, the index in front."""

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from local_backend import frames as source_frames
from local_backend import sound as sound_of
from local_backend.clip import Clip, Frames, Sound

Fit = Literal["crop", "pad"]
"""How frames come to the file's aspect: their centre, or their edges repeated."""

Tick = Callable[[float], None]
"""Told the share done, 0..1; may raise to stop."""

_X264 = {
    "preset": "veryfast",
    "crf": "26",
    "profile": "high",
    # x264's AVX-512 code gives other bits from run to run when macroblock-tree and B-frames meet (measured):
    # without them the same frames are the same file.
    "x264-params": "mbtree=0:bframes=0",
}
CODECS: Final[Mapping[str, Mapping[str, str]]] = {
    "h264_nvenc": {"preset": "p4", "rc": "vbr", "cq": "23", "profile": "high", "bf": "0"},
    "libx264": _X264,
}
"""Encoders and their options; the GPU's was never tried."""

_BT709 = 1  # the same number for primaries, transfer and matrix
_AUDIO_CHUNK = 1024  # samples; what AAC takes at once
_THREADS = 2  # part of the output: x264 splits its work, and so its bits, by thread


class Mp4Writer:
    """Writes frames one by one at a constant rate, then the sound; the file appears whole or not at all."""

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        rate: Fraction,
        *,
        sound: Sound | None = None,
        codec: str = "libx264",
    ) -> None:
        self._path = path
        self._partial = path.with_suffix(".partial.mp4")
        self._size = (width, height)
        self._count = 0
        self._tick_length = 1 / rate
        self._sound = sound
        self._container = av.open(str(self._partial), "w", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream(codec, rate=rate, options=dict(CODECS[codec]))
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.thread_count = _THREADS
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = ColorRange.MPEG.value
        self._reformatter = VideoReformatter()
        self._track = (
            None if sound is None else self._container.add_stream("aac", rate=sound.rate, layout="stereo")
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._container.mux(self._stream.encode(None))
            self._add_sound()
        self._container.close()
        if kind is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink(missing_ok=True)

    def add(self, frame: Any) -> None:
        """Append an av.VideoFrame of any size and format: scaled to the file's, one tick long."""
        scaled = self._reformatter.reformat(
            frame,
            *self._size,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC,
        )
        scaled.pts, scaled.time_base = self._count, self._tick_length
        scaled.pict_type = 0  # a source's key frames are not ours
        self._count += 1
        self._container.mux(self._stream.encode(scaled))

    def _add_sound(self) -> None:
        """The sound as long as the frames are: cut, or followed by silence."""
        if self._sound is None or self._track is None:
            return
        rate, length = self._sound.rate, round(self._count * self._tick_length * self._sound.rate)
        samples = np.zeros((2, length), np.float32)
        given = self._sound.samples[:2, :length]
        samples[:, : given.shape[1]] = np.clip(given, -1, 1)  # one channel is heard on both sides
        for start in range(0, length, _AUDIO_CHUNK):
            chunk = np.ascontiguousarray(samples[:, start : start + _AUDIO_CHUNK])
            frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            self._container.mux(self._track.encode(frame))
        self._container.mux(self._track.encode(None))


def write_clip(
    path: Path,
    clip: Clip,
    *,
    size: tuple[int, int],
    rate: int,
    seconds: int,
    tick: Tick,
    fit: Fit = "crop",
    codec: str = "libx264",
) -> None:
    """The generated clip as a file of exactly `seconds` at `rate` frames per second and `size` pixels."""
    total = rate * seconds
    with Mp4Writer(path, *size, Fraction(rate), sound=clip.sound, codec=codec) as writer:
        for done, frame in enumerate(paced(shaped(clip.frames, size, fit), total), 1):
            writer.add(frame)
            tick(done / total)


def write_joined(
    path: Path,
    source: Path,
    clip: Clip,
    *,
    seconds: int,
    tick: Tick,
    fit: Fit = "crop",
    codec: str = "libx264",
) -> None:
    """One file at the source's size and pace: all of its frames, then the generated ones for `seconds`.

    Its sound is the source's, then the clip's; there is a track where one of them has any.
    """
    facts = source_frames.probe_video(source)
    size = (facts.width // 2 * 2, facts.height // 2 * 2)
    added = round(seconds * facts.rate)
    before = max(1, round(facts.duration * facts.rate))
    sound = sound_of.joined(source, clip, before / facts.rate)
    done = 0
    with Mp4Writer(path, *size, facts.rate, sound=sound, codec=codec) as writer:
        # the source's last frame is the first that the clip shows again: it is seen once
        following = clip.frames[max(0, clip.shown - 1) :]
        continuation = islice(paced(shaped(following, size, fit), added + 1), 1, None)
        for parts in (source_frames.decoded(source), continuation):
            for frame in parts:
                writer.add(frame)
                done += 1
                tick(min(1.0, done / (before + added)))


def shaped(frames: Frames, size: tuple[int, int], fit: Fit) -> Frames:
    """The frames in the aspect of `size` (width, height), so that scaling keeps shapes."""
    return cropped(frames, size) if fit == "crop" else padded(frames, size)


def padded(frames: Frames, size: tuple[int, int]) -> Frames:
    """The frames with their edges repeated outwards until they have the aspect of `size` (width, height)."""
    height, width = frames.shape[1:3]
    more_width = max(width, round(height * size[0] / size[1])) - width
    more_height = max(height, round(width * size[1] / size[0])) - height
    sides = [(more // 2, more - more // 2) for more in (more_height, more_width)]
    return np.pad(frames, [(0, 0), *sides, (0, 0)], mode="edge")


def cropped(frames: Frames, size: tuple[int, int]) -> Frames:
    """The centre of the frames that has the aspect of `size` (width, height), so that scaling keeps shapes."""
    height, width = frames.shape[1:3]
    keep_width = min(width, round(height * size[0] / size[1]))
    keep_height = min(height, round(width * size[1] / size[0]))
    left, top = (width - keep_width) // 2, (height - keep_height) // 2
    return frames[:, top : top + keep_height, left : left + keep_width]


def paced(frames: Frames, total: int) -> Iterator[Any]:
    """`total` av.VideoFrames spread over the generated ones, neighbours blended linearly."""
    last = len(frames) - 1
    for index in range(total):
        position = index * last / max(1, total - 1)
        low = min(int(position), max(0, last - 1))
        share = np.float32(position - low)
        mixed = frames[low] * (1 - share) + frames[min(low + 1, last)] * share
        pixels = np.ascontiguousarray((mixed + np.float32(0.5)).astype(np.uint8))
        yield av.VideoFrame.from_ndarray(pixels, format="rgb24")
