"""The media type by the first bytes of a file, never by its name or declared type; and whether a claim is in it."""

import struct
from pathlib import Path
from typing import Final

IMAGE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/webp"})
HEAD_BYTES: Final = 256

_STILL_BRANDS: Final = frozenset({b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1"})
_QUICKTIME_ATOMS: Final = frozenset({b"moov", b"mdat", b"wide"})
_CLAIM_BOX: Final = b"uuid" + bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # as C2PA registered it
_BOX_HEAD: Final = 8 + 8 + 16  # size and type, a long size, the id of a uuid box
_MOST_BOXES: Final = 10_000  # fragmented files have many, hostile ones more


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


def has_claim(path: Path) -> bool:
    """Whether an MP4 or QuickTime file carries a C2PA manifest; False for all else. Reads box headers only."""
    with path.open("rb") as file:
        for _ in range(_MOST_BOXES):
            head = file.read(_BOX_HEAD)
            if len(head) < 8:
                return False
            size, start = struct.unpack(">I", head[:4])[0], 4
            if size == 1 and len(head) >= 16:
                size, start = struct.unpack(">Q", head[8:16])[0], 12
            if 0 < size < start + 4:  # none at all
                return False
            if head[4:8] + head[start + 4 : start + 20] == _CLAIM_BOX:
                return True
            if size == 0:  # the last one
                return False
            file.seek(size - len(head), 1)
    return False
