"""Reads a clip's pixels back into words: what colour, which shape, how it moves, over which background.

It knows nothing of prompts or models, so it can tell whether a clip shows what was asked for.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from local_backend.demo.world import COLOURS, SHAPES, Scene

_GRID: Final = 48  # pixels of the square that shapes are compared on
_EXTENT: Final = 1.3  # half the side of that square, in units of the square root of the shape's area
_GROWTH: Final = 1.5  # the area's change, as a factor, from which a shape grows or shrinks
_PALETTE: Final = np.array(list(COLOURS.values()), np.float64) / 255

Pixels = NDArray[np.float64]


def judge(frames: NDArray[np.floating]) -> Scene:
    """What a clip of shape (frames, height, width, 3), values 0..1, shows; of noise, something all the same."""
    clip = np.asarray(frames, np.float64)
    edge = np.concatenate([clip[:, 0], clip[:, -1], clip[:, :, 0], clip[:, :, -1]], axis=1)
    background = _nearest(np.median(edge.reshape(-1, 3), axis=0))
    behind = _PALETTE[background]
    away = np.linalg.norm(clip - behind, axis=-1)
    core = clip[away > 0.7 * np.quantile(away, 0.995)]
    colour = _nearest(np.median(core, axis=0), without=background)
    step = _PALETTE[colour] - behind
    cover = np.clip((clip - behind) @ step / (step @ step), 0, 1)
    cover = np.where(cover < 0.25, 0, cover)  # not the faint unevenness of a background
    names = list(COLOURS)
    return Scene(names[colour], SHAPES[_shape(cover)], _motion(cover), names[background])


def _nearest(colour: Pixels, *, without: int | None = None) -> int:
    distances = np.linalg.norm(_PALETTE - colour, axis=1)
    if without is not None:
        distances[without] = np.inf
    return int(distances.argmin())


def _moments(cover: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """Area in pixels and centre (x, y) in pixels, frame by frame."""
    _, height, width = cover.shape
    area = cover.sum((1, 2)) + 1e-9
    x = (cover.sum(1) @ (np.arange(width) + 0.5)) / area
    y = (cover.sum(2) @ (np.arange(height) + 0.5)) / area
    return area, x, y


def _motion(cover: Pixels) -> str:
    area, x, y = _moments(cover)
    third = max(1, len(area) // 4)
    growth = area[-third:].mean() / area[:third].mean()
    if growth > _GROWTH or growth < 1 / _GROWTH:
        return "grows" if growth > 1 else "shrinks"
    right, down = x[-third:].mean() - x[:third].mean(), y[-third:].mean() - y[:third].mean()
    if abs(right) >= abs(down):
        return "moves right" if right > 0 else "moves left"
    return "moves down" if down > 0 else "moves up"


def _shape(cover: Pixels) -> int:
    """The shape whose outline overlaps most with the clip's own, laid over each other by centre and area."""
    area, x, y = _moments(cover)
    seen = [
        _resampled(cover[index], x[index], y[index], area[index] ** 0.5)
        for index in range(len(cover))
        if area[index] > 9
    ]
    if not seen:
        return 0
    mean = np.mean(seen, axis=0)
    overlaps = [np.minimum(mean, each).sum() / np.maximum(mean, each).sum() for each in _TEMPLATES]
    return int(np.argmax(overlaps))


def _resampled(picture: Pixels, x: float, y: float, unit: float) -> Pixels:
    """The square around (x, y) with half a side of _EXTENT units, bilinear, on the grid."""
    offsets = ((np.arange(_GRID) + 0.5) / _GRID * 2 - 1) * _EXTENT * unit
    columns, rows = x + offsets - 0.5, y + offsets - 0.5
    padded = np.pad(picture, 1)
    height, width = picture.shape
    columns, rows = np.clip(columns, -1, width) + 1, np.clip(rows, -1, height) + 1
    left, top = np.minimum(columns.astype(int), width), np.minimum(rows.astype(int), height)
    right, low = columns - left, (rows - top)[:, None]
    upper = padded[top][:, left] * (1 - right) + padded[top][:, left + 1] * right
    lower = padded[top + 1][:, left] * (1 - right) + padded[top + 1][:, left + 1] * right
    return np.asarray(upper * (1 - low) + lower * low)


def _templates() -> list[Pixels]:
    """Each shape with area 1 around its own centre of mass, drawn on the grid."""
    axis = ((np.arange(_GRID) + 0.5) / _GRID * 2 - 1) * _EXTENT
    x, y = axis[None, :], axis[:, None]
    side = 2 / 3**0.25  # of an equilateral triangle of area 1
    inradius = side / (2 * 3**0.5)
    triangle = np.maximum(3**0.5 / 2 * np.abs(x) - y / 2, y) - inradius
    outlines = (np.hypot(x, y) - np.pi**-0.5, np.maximum(np.abs(x), np.abs(y)) - 0.5, triangle)
    soft = _GRID / (2 * _EXTENT) / 3  # edges as wide as a small clip's pixels
    return [np.clip(0.5 - outline * soft, 0, 1) for outline in outlines]


_TEMPLATES: Final = _templates()
