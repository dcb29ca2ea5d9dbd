"""Small real videos and pictures for the fake upstream: right size and length, next to no work to make."""

import io
from fractions import Fraction
from functools import lru_cache
from typing import Final

import av
from PIL import Image

_COLOURS: Final = ("#31688e", "#35b779", "#fde725")


@lru_cache(maxsize=64)
def mp4(width: int, height: int, seconds: Fraction) -> bytes:
    """An H.264 MP4 of exactly that pixel size and length, at two frames a second where that divides."""
    rate = 2 if (seconds * 2).denominator == 1 else 10
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "40"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.thread_count = 1
        pictures = [
            av.VideoFrame.from_image(Image.new("RGB", (width, height), c)).reformat(format="yuv420p")
            for c in _COLOURS
        ]
        for number in range(max(1, round(seconds * rate))):
            frame = pictures[number % len(pictures)]
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


def own_bytes(base: bytes, mark: str, length: int = 0) -> bytes:
    """The same video, marked by a trailing `free` box that no two jobs share, padded to `length` bytes."""
    payload = mark.encode().ljust(max(0, length - len(base) - 8), b"\0")
    return base + (len(payload) + 8).to_bytes(4, "big") + b"free" + payload


@lru_cache(maxsize=64)
def facts(data: bytes) -> tuple[int, int, Fraction]:
    """Width, height and length in seconds of a video file. Raises ValueError if it is none."""
    try:
        with av.open(io.BytesIO(data)) as container:
            stream = container.streams.video[0]
            length = Fraction(container.duration or 0, av.time_base).limit_denominator(100)
            return stream.width, stream.height, length
    except (av.FFmpegError, IndexError) as error:
        raise ValueError("not a video") from error


@lru_cache(maxsize=8)
def picture(kind: str) -> bytes:
    """A small picture, `kind` as Pillow names the format."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64), _COLOURS[0]).save(out, kind)
    return out.getvalue()
