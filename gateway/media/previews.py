"""Thumbnails and sprite sheets with PyAV and Pillow: imported by the media worker only."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from PIL import Image

from gateway.media import MediaError
from gateway.media.decode import Bounds, length, open_video

_THUMBNAIL_SIDE: Final = 640
_TILE_SIDE: Final = 320
_TILES: Final = 16
_COLUMNS: Final = 4
_BLACK: Final = 20  # mean luma of 255 below which a frame shows nothing


def thumbnail(path: Path, out: Path, bounds: Bounds) -> None:
    """Write a WebP of at most 640 pixels a side, from about a tenth into the video, not black."""
    with open_video(path, bounds) as (container, stream):
        _, duration_ms = length(container, stream)
        best, light = None, -1.0
        for share in (0.1, 0.3, 0.6):
            for frame in _frames_at(container, stream, [share * duration_ms / 1000]):
                luma = _mean_luma(frame)
                if luma > light:
                    best, light = frame, luma
            if light >= _BLACK:
                break
        if best is None:
            raise MediaError("the video has no frame that can be decoded")
        _picture(best, _THUMBNAIL_SIDE).save(out, "WEBP", quality=80, method=4)


def spritesheet(path: Path, out: Path, bounds: Bounds) -> None:
    """Write a JPEG grid of up to 16 tiles, four a row, evenly spread over the video."""
    with open_video(path, bounds) as (container, stream):
        frames, duration_ms = length(container, stream)
        count = max(1, min(_TILES, frames))
        moments = [(index + 0.5) / count * duration_ms / 1000 for index in range(count)]
        tiles = [_picture(frame, _TILE_SIDE) for frame in _frames_at(container, stream, moments)]
    if not tiles:
        raise MediaError("the video has no frame that can be decoded")
    width, height = tiles[0].size
    columns = min(_COLUMNS, len(tiles))
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height))
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % columns * width, index // columns * height))
    sheet.save(out, "JPEG", quality=82, optimize=True)


def _frames_at(container: Any, stream: Any, moments: list[float]) -> Iterator[Any]:
    """One frame at or after each moment (rising, in seconds), seeking only where a key frame is nearer."""
    start = float((stream.start_time or 0) * stream.time_base)
    keys = _key_moments(container, stream)
    position, frames, last = -1.0, iter(()), None
    for moment in moments:
        target = start + moment
        key = max((at for at in keys if at <= target), default=start)
        if key > position:
            container.seek(max(0, int(key / stream.time_base)), stream=stream, backward=True)
            frames = container.decode(stream)
        while last is None or key > position or position < target - 0.001:
            frame = next(frames, None)
            if frame is None:
                break
            last, position, key = frame, frame.time or 0.0, -1.0
        if last is not None:
            yield last


def _key_moments(container: Any, stream: Any) -> list[float]:
    container.seek(0)
    return [
        float(packet.pts * stream.time_base)
        for packet in container.demux(stream)
        if packet.is_keyframe and packet.pts is not None
    ]


def _mean_luma(frame: Any) -> float:
    small = frame.reformat(width=32, height=32, format="gray")
    luma = bytes(small.planes[0])
    return sum(luma) / max(1, len(luma))


def _picture(frame: Any, side: int) -> Image.Image:
    scale = min(1.0, side / max(frame.width, frame.height))
    width, height = max(2, round(frame.width * scale)), max(2, round(frame.height * scale))
    picture: Image.Image = frame.reformat(width=width, height=height, format="rgb24").to_image()
    return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture
