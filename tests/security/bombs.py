"""Small files that would become large: pictures and videos that lie about themselves, or are packed too well."""

import io
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Final

from PIL import Image

from tests.gateway.media_files import make_video

PNG: Final = b"\x89PNG\r\n\x1a\n"
HUGE: Final = 2**31 - 1


def chunk(name: bytes, data: bytes) -> bytes:
    """Write a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    width: int,
    height: int,
    rows: Iterable[bytes] | None = None,
    *,
    before: Iterable[bytes] = (),
    colour: int = 2,
    bits: int = 8,
) -> bytes:
    """Write a PNG that claims this size; `rows` is what is packed into it, next to nothing if None."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(row) for row in rows or [bytes(100)]) + packer.flush()
    return PNG + b"".join([chunk(b"IHDR", header), *before, chunk(b"IDAT", packed), chunk(b"IEND", b"")])


def zeros(total: int) -> Iterable[bytes]:
    """So many zero bytes, never all at once."""
    return (bytes(1_000_000) for _ in range(total // 1_000_000))


def jpeg(width: int, height: int) -> bytes:
    """Write a JPEG whose frame header claims this size."""
    data = bytearray(encoded("JPEG", (64, 64)))
    at = data.index(b"\xff\xc0") + 5
    struct.pack_into(">HH", data, at, height, width)
    return bytes(data)


def scans(size: int, count: int) -> bytes:
    """Write a progressive JPEG whose last refinement comes again and again: small to send, long to decode."""
    data = encoded("JPEG", (size, size), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def webp(width: int, height: int) -> bytes:
    """Write a WebP whose canvas claims this size."""
    inner = encoded("WEBP", (64, 64))[12:]
    canvas = b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + canvas + inner
    return b"RIFF" + struct.pack("<I", len(body)) + body


@cache
def encoded(kind: str, size: tuple[int, int], **options: bool) -> bytes:
    """Write a picture of one colour."""
    out = io.BytesIO()
    Image.new("L" if kind == "JPEG" and size[0] > 1000 else "RGB", size, 7).save(out, kind, **options)
    return out.getvalue()


PICTURES: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "a PNG of 2^31 by 2^31": (lambda: png(HUGE, HUGE), "pixels"),
    "a PNG of 2^31 by 1": (lambda: png(HUGE, 1), "pixels"),
    "a PNG of one pixel too many": (lambda: png(50_000_001, 1), "pixels"),
    "a PNG of no pixel": (lambda: png(0, 0), "decoded"),
    "a PNG of 400 million pixels in 50 KB": (
        lambda: png(20_000, 20_000, zeros(50_000_000), colour=0, bits=1),
        "pixels",
    ),
    "a PNG with 200 MB behind its pixels": (lambda: png(64, 64, zeros(200_000_000)), ""),
    "a PNG with a text of 100 MB": (
        lambda: png(64, 64, before=[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000), 9))]),
        "decoded",
    ),
    "a PNG with many texts": (
        lambda: png(64, 64, before=[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000), 9))] * 300),
        "decoded",
    ),
    "a PNG with a profile of 100 MB": (
        lambda: png(64, 64, before=[chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(100_000_000), 9))]),
        "decoded",
    ),
    "a PNG of many chunks": (lambda: png(64, 64, before=[chunk(b"teSt", b"")] * 200_000), "decoded"),
    "a PNG of four billion frames": (
        lambda: png(64, 64, zeros(20_000), before=[chunk(b"acTL", struct.pack(">II", 2**32 - 1, 0))]),
        "decoded",
    ),
    "a PNG with a chunk without end": (lambda: png(64, 64)[:33] + b"\xff\xff\xff\xff" + b"IDAT", "decoded"),
    "a JPEG of four billion pixels": (lambda: jpeg(65535, 65535), "pixels"),
    "a JPEG of less than there is": (lambda: jpeg(7000, 7000), ""),
    "a JPEG of ten thousand scans": (lambda: scans(7000, 10_000), "scans"),
    "a JPEG of some more scans than usual": (lambda: scans(64, 40), ""),
    "a WebP of 2^24 by 2^24": (lambda: webp(2**24, 2**24), "decoded"),
    "a WebP of 16383 by 16383": (lambda: webp(16383, 16383), "decoded"),
    "a GIF of 65535 by 65535": (lambda: b"GIF89a\xff\xff\xff\xff\xf7\0\0" + bytes(2000), "none of"),
    "a TIFF": (lambda: b"II*\0" + struct.pack("<IHHHII", 8, 1, 256, 4, 1, HUGE), "none of"),
    "a BMP of 2^31 by 2^31": (
        lambda: b"BM" + bytes(16) + struct.pack("<ii", HUGE, HUGE) + bytes(40),
        "none of",
    ),
    "an SVG of a billion laughs": (lambda: b'<!DOCTYPE a [<!ENTITY b "bbbb">]><svg>&b;</svg>', "none of"),
    "an EPS that runs": (
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (r) file",
        "none of",
    ),
    "a zip": (lambda: b"PK\x03\x04" + bytes(100), "none of"),
    "a playlist": (lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "none of"),
}


@cache
def clip(codec: str, container: str) -> bytes:
    """Write half a second of video."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip"
        return make_video(path, codec=codec, container=container, frames=12, width=64, height=64).read_bytes()


def mp4(name: bytes, offset: int, form: str, *values: int) -> bytes:
    """Write over a field of a box of an honest MP4; `offset` counts from behind the box's name."""
    data = bytearray(clip("libx264", "mp4"))
    struct.pack_into(form, data, data.rindex(name) + 4 + offset, *values)
    return bytes(data)


def box(name: bytes, data: bytes) -> bytes:
    """Write a box of an MP4."""
    return struct.pack(">I", len(data) + 8) + name + data


def many_samples() -> bytes:
    """Say of every table that it has as many entries as can be said."""
    data = bytearray(clip("libx264", "mp4"))
    for name, offset in ((b"stsz", 4), (b"stts", 4), (b"stsc", 4), (b"stco", 4), (b"ctts", 4), (b"stss", 4)):
        at = data.find(name)
        if at > 0:
            size = 1 if name == b"stsz" else None
            values = [2**28] if size is None else [size, 2**28]
            struct.pack_into(f">{len(values)}I", data, at + 4 + offset, *values)
    return bytes(data)


def hours() -> bytes:
    """Twelve pictures, each of which is shown for minutes."""
    data = bytearray(mp4(b"mdhd", 12, ">II", 1, 2**32 - 2))
    return bytes(data.replace(b"elst", b"none"))  # no list of edits makes it short again


def packed_header() -> bytes:
    """A QuickTime header that is packed, and says that it becomes two gigabytes."""
    packed = zlib.compress(bytes(100_000_000), 9)
    inner = box(b"dcom", b"zlib") + box(b"cmvd", struct.pack(">I", 2_000_000_000) + packed)
    return box(b"ftyp", b"qt  \0\0\0\0qt  ") + box(b"moov", box(b"cmov", inner))


def nested(depth: int) -> bytes:
    """Boxes in boxes."""
    data = b""
    for _ in range(depth):
        data = box(b"moov", data)
    return box(b"ftyp", b"isom\0\0\0\0isom") + data


def vp8(width: int, height: int) -> bytes:
    """An honest WebM whose first picture claims another size."""
    data = bytearray(clip("libvpx", "webm"))
    struct.pack_into("<HH", data, data.index(b"\x9d\x01\x2a") + 3, width, height)
    return bytes(data)


VIDEOS: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "an MP4 of 65535 by 65535": (lambda: mp4(b"avc1", 24, ">HH", 65535, 65535), "pixels"),
    "an MP4 of no pixel": (lambda: mp4(b"avc1", 24, ">HH", 0, 0), ""),
    "an MP4 of hours": (hours, "longer than"),
    "an MP4 of no time": (
        lambda: mp4(b"mdhd", 12, ">II", 0, 0),
        "",
    ),  # read as of so many seconds as it says ticks
    "an MP4 with a billion frames in its head": (
        lambda: mp4(b"stts", 8, ">II", 2**30, 1),
        "frames per second",
    ),
    "an MP4 with a billion samples of a byte": (lambda: mp4(b"stsz", 4, ">II", 1, 2**30), "decoded"),
    "an MP4 with tables beyond its end": (many_samples, "decoded"),
    "an MP4 with a packed header": (packed_header, "picture track"),
    "an MP4 of boxes in boxes": (lambda: nested(20_000), "decoded"),
    "an MP4 of many boxes": (
        lambda: box(b"ftyp", b"isom\0\0\0\0isom") + box(b"free", b"") * 200_000,
        "decoded",
    ),
    "an MP4 with a box of 2^63 bytes": (
        lambda: box(b"ftyp", b"isom\0\0\0\0isom") + struct.pack(">I4sQ", 1, b"moov", 2**63 - 1),
        "picture track",
    ),
    "a WebM of 16383 by 16383": (lambda: vp8(16383, 16383), "decoded"),
    "a WebM with an element of 2^56 bytes": (
        lambda: clip("libvpx", "webm")[:60] + b"\x1f\x43\xb6\x75\x01" + b"\xff" * 6 + b"\xfe" + bytes(1000),
        "picture track",
    ),
}
