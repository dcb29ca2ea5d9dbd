"""Sizes in the words of upstreams: resolutions and aspect ratios. Everywhere else a size is "WIDTHxHEIGHT" in pixels."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import Any, Final, Literal

Resolution = Literal[
    "240p", "360p", "480p", "512p", "540p", "580p", "720p", "768p", "1080p", "1440p", "2k", "2160p", "4k"
]
AspectRatio = Literal[
    "16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9", "9:21", "4:5", "5:4", "5:3", "3:5"
]

_SHORT_EDGE: Final[Mapping[str, int]] = {"2k": 1440, "4k": 2160}
_ANY_SHAPE: Final = ("16:9", "9:16", "1:1")
_TIERS: Final = {360: "360p", 480: "480p", 540: "540p", 720: "720p", 768: "768p", 1080: "1080p", 1440: "1440p", 2160: "4k"}  # fmt: skip
_RATIOS: Final = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9", "9:21", "7:4", "4:7", "5:4", "4:5")  # fmt: skip
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


def short_edge(resolution: str) -> int:
    """Give the pixels of the shorter side: 720 for "720p", 2160 for "4k"."""
    return _SHORT_EDGE.get(resolution) or int(resolution.rstrip("p"))


@cache
def size_of(resolution: str, aspect_ratio: str) -> str:
    """Write a shape as "WIDTHxHEIGHT": the shorter side exact, the longer one to the nearest even pixel."""
    across, down = (int(part) for part in aspect_ratio.split(":"))
    edge = short_edge(resolution)
    longer = 2 * round(edge * max(across, down) / (2 * min(across, down)))
    return f"{longer}x{edge}" if across >= down else f"{edge}x{longer}"


def sizes_of(model: Mapping[str, Any]) -> tuple[str, ...]:
    """List the sizes of a model's `resolutions` and `aspect_ratios`, the first of each first; its `frames` go before.

    A model whose picture takes the shape of its input names no ratios: landscape, portrait and square stand for all.
    """
    ratios: Sequence[str] = model.get("aspect_ratios") or (
        _ANY_SHAPE if model.get("shape_follows_input") else ()
    )
    frames = model.get("frames") or {}
    pairs = [(resolution, ratio) for resolution in model["resolutions"] for ratio in ratios]
    return tuple(dict.fromkeys(frames.get(one, {}).get(two) or size_of(one, two) for one, two in pairs))


def words_of(
    size: str,
    resolutions: Sequence[str],
    aspect_ratios: Sequence[str],
    frames: Mapping[str, Mapping[str, str]],
) -> tuple[str | None, str | None]:
    """Say a size in the upstream's words: what it makes of a frame, else the nearest of each; None where it has none."""
    for resolution, shapes in frames.items():
        for ratio, frame in shapes.items():
            if frame == size:
                return resolution, ratio
    width, height = pixels(size)
    shape, edge = Fraction(width, height), min(width, height)
    return (
        min(resolutions, key=lambda name: abs(short_edge(name) - edge), default=None),
        min(aspect_ratios, key=lambda name: _distance(shape, name), default=None),
    )


def _distance(shape: Fraction, aspect_ratio: str) -> Fraction:
    across, down = (int(part) for part in aspect_ratio.split(":"))
    ratio = Fraction(across, down)
    return max(shape / ratio, ratio / shape)
