"""Reading input files: images by Pillow, videos by PyAV, with bounds on pixels and length."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageOps, UnidentifiedImageError

from local_backend.errors import MediaError

_MAX_IMAGE_PIXELS = 50_000_000
_MAX_VIDEO_PIXELS = 4096 * 2304
_MAX_VIDEO_SECONDS = 600
_MIN_SIDE = 16
_FORMATS = ("JPEG", "PNG", "WEBP")
DEMUXERS = {"protocol_whitelist": "file", "format_whitelist": "mov,mp4,matroska,webm"}
_TAIL_SECONDS = 2  # how far from its end a video is decoded to find its last frame


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """A readable video: pixels, frames per second, seconds."""

    width: int
    height: int
    rate: Fraction
    duration: Fraction


def read_image(path: Path) -> Image.Image:
    """An image as upright RGB. MediaError if it is none, or too large."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > _MAX_IMAGE_PIXELS:
                raise MediaError(f"The image has more than {_MAX_IMAGE_PIXELS} pixels.")
            return ImageOps.exif_transpose(image).convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise MediaError("The file is not a readable JPEG, PNG or WebP image.") from None


def fit(image: Image.Image, width: int, height: int) -> Image.Image:
    """Scaled to cover the size in pixels, centre kept."""
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream. MediaError for whatever cannot be read."""
    try:
        with av.open(str(path), options=DEMUXERS) as container:
            if not container.streams.video:
                raise MediaError("The file has no video track.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream
    except (av.FFmpegError, OSError):
        raise MediaError("The file is not a readable MP4, MOV or WebM video.") from None


def probe_video(path: Path) -> VideoFacts:
    """Decode the first frame and read the length. MediaError if it is no video, too large or too long."""
    with _opened(path) as (container, stream):
        first = next(container.decode(stream), None)
        if first is None:
            raise MediaError("The video has no frames.")
        facts = VideoFacts(first.width, first.height, _rate(stream), _duration(container, stream))
    if min(facts.width, facts.height) < _MIN_SIDE or facts.width * facts.height > _MAX_VIDEO_PIXELS:
        raise MediaError(f"The video's size {facts.width}x{facts.height} is out of bounds.")
    if not 0 < facts.duration <= _MAX_VIDEO_SECONDS:
        raise MediaError(f"The video must be at most {_MAX_VIDEO_SECONDS} seconds long.")
    return facts


def _rate(stream: Any) -> Fraction:
    rate = stream.average_rate or stream.guessed_rate or Fraction(24)
    return min(max(Fraction(rate), Fraction(1)), Fraction(120))


def _duration(container: Any, stream: Any) -> Fraction:
    if stream.duration is not None and stream.time_base is not None:
        return Fraction(stream.duration * stream.time_base)
    if container.duration is not None:
        return Fraction(container.duration, av.time_base)
    raise MediaError("The video does not say how long it is.")


def decoded(path: Path) -> Iterator[Any]:
    """Every frame in order, as av.VideoFrame. MediaError where the file breaks off."""
    with _opened(path) as (container, stream):
        yield from container.decode(stream)


def sampled(path: Path, count: int, convert: Callable[[Image.Image], Image.Image]) -> list[Image.Image]:
    """`count` frames spread evenly over the video, each passed through `convert` when read."""
    facts = probe_video(path)
    step = facts.duration / count
    frames: list[Image.Image] = []
    last: Any = None
    for index, frame in enumerate(decoded(path)):
        last = frame
        while len(frames) < count and index / facts.rate >= len(frames) * step:
            frames.append(convert(frame.to_image()))
        if len(frames) == count:
            return frames
    if last is None:
        raise MediaError("The video has no frames.")
    tail = convert(last.to_image())
    return frames + [tail] * (count - len(frames))


def last_frame(path: Path) -> Image.Image:
    """The video's last frame."""
    (image,) = tail(path, 1, Fraction(24), lambda image: image)
    return image


def tail(
    path: Path, count: int, rate: Fraction, convert: Callable[[Image.Image], Image.Image]
) -> list[Image.Image]:
    """The last `count` frames of the video as it looks at `rate` frames per second, in order; the very last is last.

    A video that is too short gives its first frame several times.
    """
    facts = probe_video(path)
    window = count / rate + 1 / facts.rate
    kept: deque[tuple[Fraction, Any]] = deque()
    with _opened(path) as (container, stream):
        start = max(Fraction(0), facts.duration - window - _TAIL_SECONDS)
        container.seek(int(start * av.time_base), backward=True)
        for frame in container.decode(stream):
            moment = frame.pts * stream.time_base if frame.pts is not None else len(kept) / facts.rate
            kept.append((Fraction(moment), frame))
            while len(kept) > 1 and kept[-1][0] - kept[1][0] > window:
                kept.popleft()
    if not kept:
        raise MediaError("The video's end cannot be read.")

    def at(moment: Fraction) -> Image.Image:
        _, nearest = min(kept, key=lambda each: abs(each[0] - moment))
        return convert(nearest.to_image())

    return [at(kept[-1][0] - (count - 1 - index) / rate) for index in range(count)]
