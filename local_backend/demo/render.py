"""Clips of the demo world, rendered exactly: what training learns from and the judge is checked against."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from local_backend.demo.world import COLOURS, MOTIONS, SHAPES, Scene

FRAMES: Final = 16
SIDE: Final = 32

_DIRECTIONS: Final = torch.tensor([(-1, 0), (1, 0), (0, -1), (0, 1), (0, 0), (0, 0)], dtype=torch.float32)
_SIZES: Final = torch.tensor([0, 0, 0, 0, 1, -1], dtype=torch.float32)
_PALETTE: Final = torch.tensor(list(COLOURS.values()), dtype=torch.float32) / 127.5 - 1


def indices(scenes: Sequence[Scene]) -> Tensor:
    """Shape (n, 4): places of colour, shape, motion and background."""
    colours = list(COLOURS)
    return torch.tensor(
        [
            (
                colours.index(s.colour),
                SHAPES.index(s.shape),
                MOTIONS.index(s.motion),
                colours.index(s.background),
            )
            for s in scenes
        ]
    )


def render(which: Tensor, generator: torch.Generator, scale: int = 1) -> Tensor:
    """Clips of `indices`, shape (n, 3, 16, 32 * scale, 32 * scale), values -1..1.

    Size, place and pace are drawn from the generator; edges are antialiased over one pixel.
    """
    count = len(which)
    draw = torch.rand(count, 5, generator=generator)
    colour, shape, motion, background = which.unbind(1)
    time = torch.linspace(-0.5, 0.5, FRAMES)
    direction, growth = _DIRECTIONS[motion], _SIZES[motion]
    travel = 10 + 4 * draw[:, 0]
    middle = SIDE / 2 + (draw[:, 1:3] - 0.5) * torch.where(direction != 0, 3.0, 9.0)
    centre = middle[:, None] + (direction * travel[:, None])[:, None] * time[None, :, None]
    steady = 5 + 2.5 * draw[:, 3]
    changing = 6.25 + growth[:, None] * time * (4.5 + 1.5 * draw[:, 4])[:, None]
    radius = torch.where(growth[:, None] == 0, steady[:, None].expand(count, FRAMES), changing)
    cover = (0.5 - _distance(shape, centre * scale, radius * scale, SIDE * scale)).clamp(0, 1)[:, None]
    front = _PALETTE[colour][:, :, None, None, None]
    back = _PALETTE[background][:, :, None, None, None]
    return back + (front - back) * cover


def _distance(shape: Tensor, centre: Tensor, radius: Tensor, side: int) -> Tensor:
    """Signed distance in pixels to the shape's edge, negative inside. Shape (n, frames, side, side)."""
    grid = torch.arange(side) + 0.5
    x = grid[None, None, None, :] - centre[..., 0, None, None]
    y = grid[None, None, :, None] - centre[..., 1, None, None]
    radius = radius[..., None, None]
    found = torch.empty(len(shape), FRAMES, side, side)
    circle, square, triangle = (shape == number for number in range(3))
    found[circle] = (x[circle] ** 2 + y[circle] ** 2).sqrt() - radius[circle]
    found[square] = torch.maximum(x[square].abs(), y[square].abs()) - 0.89 * radius[square]
    sides = 0.8660254 * x[triangle].abs() - 0.5 * y[triangle]
    found[triangle] = torch.maximum(sides, y[triangle]) - 0.68 * radius[triangle]
    return found
