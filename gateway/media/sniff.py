"""The media type by the first bytes of a file, never by its name or declared type."""

from pathlib import Path
from typing import Final

IMAGE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/webp"})
HEAD_BYTES: Final = 256

_STILL_BRANDS: Final = frozenset({b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1"})
_QUICKTIME_ATOMS: Final = frozenset({b"moov", b"mdat", b"wide"})


def sniff(head: bytes) -> str | None:
    """Media type of a file that begins with `head` (HEAD_BYTES are enough), None when it is none of ours."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else None
    return _sniff_boxes(head[4:8], head[8:12])


def _sniff_boxes(box: bytes, brand: bytes) -> str | None:
    if box in _QUICKTIME_ATOMS or (box == b"ftyp" and brand == b"qt  "):
        return "video/quicktime"
    return "video/mp4" if box == b"ftyp" and brand not in _STILL_BRANDS else None


def sniff_file(path: Path) -> str | None:
    """Read a file's head and name its media type."""
    with path.open("rb") as file:
        return sniff(file.read(HEAD_BYTES))
