"""Opening and probing with PyAV and Pillow: imported by the media worker only.

Every function checks sizes in the header before a pixel is decoded, names the container and the allowed codecs
itself (FFmpeg guesses nothing), and lets FFmpeg open nothing but the one file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import av.error
from PIL import Image, UnidentifiedImageError

from gateway.media import MediaError, MediaFacts
from gateway.media.sniff import IMAGE_TYPES, has_claim, sniff_file

_CONTAINERS: Final = {"video/mp4": "mov", "video/quicktime": "mov", "video/webm": "matroska"}
_CODECS: Final = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "prores"})
_IMAGE_FORMATS: Final = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
_MAX_FPS: Final = 240
_MAX_SCANS: Final = (
    200  # of a progressive JPEG, which has ten as a rule; each costs as much as the whole picture
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is accepted: pixels of a picture, seconds of a video."""

    pixels: int
    seconds: int


def probe(path: Path, bounds: Bounds, *, verify: bool) -> MediaFacts:
    """Tell the facts from the header; with `verify` a picture is decoded too. MediaError for all that is not accepted."""
    media_type = sniff_file(path)
    if media_type is None:
        raise MediaError("the file is none of JPEG, PNG, WebP, MP4, QuickTime or WebM")
    if media_type in IMAGE_TYPES:
        return _probe_image(path, media_type, bounds)
    with _open_video(path, media_type, bounds) as (container, stream):
        frames, duration_ms = length(container, stream)
        if duration_ms > bounds.seconds * 1000:
            raise MediaError(f"the video is longer than {bounds.seconds} seconds")
        if verify:
            _check_first_frame(container, stream)
        return MediaFacts(
            kind="video",
            media_type=media_type,
            width=stream.width,
            height=stream.height,
            duration_ms=duration_ms,
            frames=frames,
            has_audio=bool(container.streams.audio),
            has_claim=has_claim(path),
        )


def _probe_image(path: Path, media_type: str, bounds: Bounds) -> MediaFacts:
    Image.MAX_IMAGE_PIXELS = None  # checked here, before any pixel
    try:
        with Image.open(path, formats=[_IMAGE_FORMATS[media_type]]) as image:
            width, height = image.size
            _check_pixels(width, height, bounds)
            _check_scans(path, media_type)
            image.load()
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise MediaError(f"the file begins as {media_type} but cannot be decoded") from error
    return MediaFacts(kind="image", media_type=media_type, width=width, height=height)


def _check_pixels(width: int, height: int, bounds: Bounds) -> None:
    if width < 1 or height < 1:
        raise MediaError("the picture has no pixels")
    if width * height > bounds.pixels:
        raise MediaError(f"{width}x{height} are more than the {bounds.pixels} pixels allowed")


def _check_scans(path: Path, media_type: str) -> None:
    if media_type == "image/jpeg" and path.read_bytes().count(b"\xff\xda") > _MAX_SCANS:
        raise MediaError(f"the picture has more than {_MAX_SCANS} scans")


@contextmanager
def open_video(path: Path, bounds: Bounds) -> Iterator[tuple[Any, Any]]:
    """Open a file as (container, picture track), sizes and codec checked. MediaError."""
    media_type = sniff_file(path)
    if media_type not in _CONTAINERS:
        raise MediaError("the file is no MP4, QuickTime or WebM video")
    with _open_video(path, media_type, bounds) as opened:
        yield opened


@contextmanager
def _open_video(path: Path, media_type: str, bounds: Bounds) -> Iterator[tuple[Any, Any]]:
    # FFmpeg would decode a few frames of every track to complete what the header says: a hundred times the cost
    # of the header, and with whatever decoder the file names.
    options = {"protocol_whitelist": "file", "codec_whitelist": "none"}
    try:
        with av.open(str(path), format=_CONTAINERS[media_type], container_options=options) as container:
            if not container.streams.video:
                raise MediaError("the file has no picture track")
            stream = container.streams.video[0]
            if stream.codec_context is None or stream.codec_context.codec.canonical_name not in _CODECS:
                raise MediaError(f"the video's codec is none of {', '.join(sorted(_CODECS))}")
            _check_pixels(stream.width, stream.height, bounds)
            stream.codec_context.thread_count = 1
            stream.codec_context.options = {"max_pixels": str(bounds.pixels)}
            yield container, stream
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaError(f"the file begins as {media_type} but cannot be decoded") from error


def length(container: Any, stream: Any) -> tuple[int, int]:
    """Tell frames and milliseconds: from the header, else by reading every packet (without decoding)."""
    frames, seconds = stream.frames, None
    if stream.duration is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / av.time_base
    if not frames or not seconds:
        frames, seconds = _count_packets(container, stream)
    if not frames:
        raise MediaError("the video has no frames")
    if frames > max(1.0, seconds) * _MAX_FPS:
        raise MediaError(f"the video has more than {_MAX_FPS} frames per second")
    return frames, round(seconds * 1000)


def _count_packets(container: Any, stream: Any) -> tuple[int, float]:
    frames, end, step = 0, 0, 0
    for packet in container.demux(stream):
        if packet.pts is not None:
            frames += 1
            step = packet.duration or step
            end = max(end, packet.pts + (packet.duration or 0))
    if frames > 1 and not step:
        end += end // (frames - 1)
    container.seek(0)
    return frames, float(end * stream.time_base)


def _check_first_frame(container: Any, stream: Any) -> None:
    frame = next(iter(container.decode(stream)), None)
    if frame is None or (frame.width, frame.height) != (stream.width, stream.height):
        raise MediaError("the video's first frame cannot be decoded as its header says")
