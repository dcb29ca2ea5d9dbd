"""Sizes in the words of upstreams. Everywhere else a size is "WIDTHxHEIGHT" in pixels."""

from collections.abc import Iterable
from typing import Final

_TIERS: Final = {360: "360p", 480: "480p", 540: "540p", 720: "720p", 768: "768p", 1080: "1080p", 1440: "1440p", 2160: "4k"}  # fmt: skip
_RATIOS: Final = (
    "16:9",
    "9:16",
    "1:1",
    "4:3",
    "3:4",
    "3:2",
    "2:3",
    "21:9",
    "9:21",
    "7:4",
    "4:7",
    "5:4",
    "4:5",
)
_TOLERANCE: Final = 0.02


def pixels(size: str) -> tuple[int, int]:
    """Width and height."""
    width, _, height = size.partition("x")
    return int(width), int(height)


def joined(size: str, separator: str) -> str:
    """The size written with another separator: "1280*720", "1280:720"."""
    return size.replace("x", separator)


def aspect_ratio(size: str, among: Iterable[str] = _RATIOS) -> str | None:
    """The ratio of `among` that the size comes nearest to, within 2 percent; None where there is none."""
    width, height = pixels(size)

    def distance(ratio: str) -> float:
        across, _, down = ratio.partition(":")
        return abs(width * int(down) / (height * int(across)) - 1)

    nearest = min(among, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) <= _TOLERANCE else None


def tier(size: str) -> str | None:
    """The resolution tier by the shorter side: "720p", "1080p", "4k"; None for a side that names none."""
    return _TIERS.get(min(pixels(size)))
