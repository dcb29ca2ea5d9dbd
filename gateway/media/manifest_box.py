"""Finds a C2PA manifest in an MP4 without reading it: its box has a type of its own at the file's top level."""

import struct
from pathlib import Path
from typing import Final
from uuid import UUID

_C2PA: Final = UUID("d8fec3d6-1b0e-483c-9297-5828877ec481").bytes
"""Extended type of the box: C2PA specification, embedding manifests into BMFF-based assets."""
_MOST_BOXES: Final = 10_000  # fragmented files have two per fragment


def carries_manifest(path: Path) -> bool:
    """Whether a `uuid` box at the top level of the file is C2PA's. False for files that are no MP4 or MOV."""
    end = path.stat().st_size
    with path.open("rb") as file:
        for _ in range(_MOST_BOXES):
            start = file.tell()
            head = file.read(8)
            if len(head) < 8:
                return False
            size, kind = struct.unpack(">I4s", head)
            if size == 1:
                size = int.from_bytes(file.read(8))
            if kind == b"uuid" and file.read(16) == _C2PA:
                return True
            if size < 8 or start + size >= end:
                return False
            file.seek(start + size)
    return False
