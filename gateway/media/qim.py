"""An invisible mark of our own, for `provenance.invisible = "gateway.media.qim:factory"`.

Eight bytes and their checksum, as 96 bits, each spread over many places of every picture: the lowest frequencies of
blocks of 16x16, moved to one of two interleaved grids (quantisation index modulation). The reader lets all places of
all frames vote. What it survives is in docs/provenance.md. It is no secret: who reads this can remove it, or put it on.

`python -m gateway.media.qim FILE` prints what a video carries.
"""

import sys
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from gateway.media.invisible import Embed

BITS: Final = 96
_PAYLOAD: Final = 8  # bytes, followed by a checksum of four
_SIDE: Final = 16  # pixels of a block
_STEP: Final = np.float32(64)  # of the grids: what is seen, against what survives
_WAVES: Final = ((0, 1), (1, 0), (1, 1))  # waves a block, down and across
_ENOUGH: Final = 240  # frames to look at

_Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reading:
    """`payload` is None where the checksum says that there is no mark. `votes`: one number a bit, above zero for 1."""

    payload: bytes | None
    votes: NDArray[np.float64]


def factory(payload: bytes, size: tuple[int, int]) -> Embed | None:
    """Mark pictures of (width, height) with eight bytes; None below 256x144, where they find no place."""
    bits = bits_of(payload)
    places = _Places(size)
    if not places.enough:
        return None
    shift = np.where(bits, _STEP / 2, 0).astype(np.float32)
    targets = [places.offsets[n] + shift[places.bits[n]] for n in range(len(_WAVES))]

    def embed(luma: NDArray[np.uint8]) -> None:
        blocks = places.blocks(luma)
        for wave, target in zip(places.waves, targets, strict=True):
            found = _strength(blocks, wave)
            wanted = np.rint((found - target) / _STEP) * _STEP + target
            blocks += (wanted - found)[:, None, :, None] * wave[None, :, None, :]
        height, width = places.rows * _SIDE, places.columns * _SIDE
        luma[:height, :width] = np.clip(np.rint(blocks.reshape(height, width)), 0, 255)

    return embed


def read(pictures: Iterable[NDArray[np.uint8]]) -> Reading:
    """Read the mark from the brightness of pictures of one size, in their original size."""
    votes = np.zeros(BITS)
    places: _Places | None = None
    for luma in pictures:
        if places is None:
            places = _Places((luma.shape[1], luma.shape[0]))
        blocks = places.blocks(luma)
        for wave, offset, bits in zip(places.waves, places.offsets, places.bits, strict=True):
            angle = (_strength(blocks, wave) - offset) * np.float32(2 * np.pi / _STEP)
            votes -= np.bincount(bits.ravel(), np.cos(angle).ravel(), BITS)
    data = np.packbits(votes > 0).tobytes()
    payload, checksum = data[:_PAYLOAD], data[_PAYLOAD:]
    return Reading(payload if checksum == _checksum(payload) else None, votes)


def bits_of(payload: bytes) -> NDArray[np.uint8]:
    """The 96 bits that stand for eight bytes."""
    return np.unpackbits(np.frombuffer(payload + _checksum(payload), np.uint8))


def _checksum(payload: bytes) -> bytes:
    return zlib.crc32(payload).to_bytes(4, "big")


class _Places:
    """Where in a picture of (width, height) which bit lies, and how its grid is shifted there."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.rows, self.columns = size[1] // _SIDE, size[0] // _SIDE
        self.enough = size[0] * size[1] >= 256 * 144
        shape = (len(_WAVES), self.rows, self.columns)
        noise = _scramble(np.arange(int(np.prod(shape)), dtype=np.uint64))
        order = np.argsort(noise, kind="stable")
        bits = np.empty(order.size, np.int64)
        bits[order] = np.arange(order.size) % BITS  # each as often as every other
        self.bits = bits.reshape(shape)
        share = (noise >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
        self.offsets: _Floats = (share * _STEP).reshape(shape)
        across = np.arange(_SIDE) * 2 + 1
        lines = [np.full(_SIDE, 0.25), np.cos(across * np.pi / (2 * _SIDE)) * np.sqrt(2 / _SIDE)]
        self.waves: list[_Floats] = [np.outer(lines[v], lines[u]).astype(np.float32) for v, u in _WAVES]

    def blocks(self, luma: NDArray[np.uint8]) -> _Floats:
        """A copy as (rows, 16, columns, 16)."""
        whole = luma[: self.rows * _SIDE, : self.columns * _SIDE].astype(np.float32)
        return whole.reshape(self.rows, _SIDE, self.columns, _SIDE)


def _strength(blocks: _Floats, wave: _Floats) -> _Floats:
    """How much of a wave each block has."""
    found: _Floats = np.einsum("rycx,yx->rc", blocks, wave, optimize=True)
    return found


def _scramble(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The same noise for the same numbers on every machine (the finaliser of splitmix64)."""
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x6F6E657265656C31)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def pictures_of(path: Path) -> Iterable[NDArray[np.uint8]]:
    """The brightness of a video's first frames."""
    with av.open(str(path)) as container:
        for n, frame in enumerate(container.decode(video=0)):
            if n == _ENOUGH:
                return
            plane = frame.reformat(format="yuv420p").planes[0]
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            yield rows[: plane.height, : plane.width]


def main() -> None:
    """Print what a video carries; exit status 1 for none."""
    payload = read(pictures_of(Path(sys.argv[1]))).payload
    if payload is None:
        sys.exit("no mark of onereel was found")
    print(f"marked: a video whose id begins with video_{payload.hex()}")  # noqa: T201  (its whole output)


if __name__ == "__main__":
    main()
