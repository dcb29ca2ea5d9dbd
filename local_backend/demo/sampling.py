"""From noise to a clip: the schedule of noise levels and the steps between them."""

from typing import Any, Final

import torch
from torch import Tensor

SHIFT: Final = 8.0
"""How far the schedule leans towards high noise, where it is decided what the clip shows."""


def schedule(steps: int, shift: float = SHIFT) -> Tensor:
    """Noise levels from 1 to 0, `steps` + 1 of them."""
    even = torch.linspace(1, 0, steps + 1)
    return shift * even / (1 + (shift - 1) * even)


def step(clean: Tensor, clip: Tensor, noise: float, following: float) -> Tensor:
    """Straight on towards the predicted clean clip: from `clip` at `noise` to the noise level `following`."""
    direction = (clip - clean) / noise
    return clip + (following - noise) * direction


def guided(network: Any, clip: Tensor, noise: Tensor, text: tuple[Tensor, ...], guidance: float) -> Tensor:
    """The prediction pushed away from the one without a prompt; `text` holds both, the prompts first."""
    if guidance == 1:
        half = tuple(part[: len(clip)] for part in text)
        return network(clip, noise, *half)
    with_text, without = network(torch.cat([clip, clip]), torch.cat([noise, noise]), *text).chunk(2)
    return without + guidance * (with_text - without)
