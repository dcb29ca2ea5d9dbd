"""Between WIDTHxHEIGHT and the words of upstreams that speak in resolutions and aspect ratios."""

from collections.abc import Mapping, Sequence
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
    width, height = (int(side) for side in size.split("x"))
    shape, edge = Fraction(width, height), min(width, height)
    return (
        min(resolutions, key=lambda name: abs(short_edge(name) - edge), default=None),
        min(aspect_ratios, key=lambda name: _distance(shape, name), default=None),
    )


def _distance(shape: Fraction, aspect_ratio: str) -> Fraction:
    across, down = (int(part) for part in aspect_ratio.split(":"))
    ratio = Fraction(across, down)
    return max(shape / ratio, ratio / shape)
