"""What the demo model learns from: rendered clips of the scenes that are not held out, noised, with their prompts."""

from typing import Final

import torch
from torch import Tensor

from local_backend.demo.render import indices, render
from local_backend.demo.sampling import SHIFT
from local_backend.demo.world import padded, read, trained_on

BATCH: Final = 32

_DROPPED: Final = 0.1  # prompts left away, for guidance
_SHORTENED: Final = 0.05  # words left away, for prompts that do not say all
_PURE_NOISE: Final = 0.03
_LATE: Final = 0.35  # share of noise levels drawn with the mild shift, where clips become sharp
_LATE_SHIFT: Final = 1.5
_FAVOURED: Final = 0.2  # noise level below which the loss weighs no more


def pool() -> tuple[Tensor, Tensor]:
    """The scenes that training draws from: their `indices` and their captions' token ids, row by row."""
    scenes = trained_on()
    return indices(scenes), torch.tensor([padded(read(scene.caption)) for scene in scenes])


class Batches:
    """Endless training batches: clips, noisy clips, noise levels, weights, token ids."""

    def __init__(self, seed: int, size: int = BATCH) -> None:
        self.size = size
        self.generator = torch.Generator().manual_seed(seed)
        self._which, self._tokens = pool()

    def draw(self, progress: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """One batch; `progress`, 0..1, of the whole training."""
        chosen = torch.randint(len(self._which), (self.size,), generator=self.generator)
        clips = render(self._which[chosen], self.generator)
        noise = self._noise_levels(progress)
        level = noise[:, None, None, None, None]
        noisy = (1 - level) * clips + level * torch.randn(clips.shape, generator=self.generator)
        weights = 1 / noise.clamp(min=_FAVOURED) ** 2
        return clips, noisy, noise, weights, self._prompts(self._tokens[chosen])

    def _noise_levels(self, progress: float) -> Tensor:
        even = torch.sigmoid(torch.randn(self.size, generator=self.generator))
        late = torch.rand(self.size, generator=self.generator) < _LATE * min(1, 2 * progress)
        shift = torch.where(late, _LATE_SHIFT, SHIFT)
        noise = shift * even / (1 + (shift - 1) * even)
        pure = torch.rand(self.size, generator=self.generator) < _PURE_NOISE
        return torch.where(pure, 1.0, noise)

    def _prompts(self, tokens: Tensor) -> Tensor:
        """Some prompts lose a word (the rest moves up), some all of them."""
        lost = (torch.rand(tokens.shape, generator=self.generator) < _SHORTENED) & (tokens != 0)
        order = (lost | (tokens == 0)).to(torch.int8).argsort(dim=1, stable=True)
        tokens = torch.where(lost, 0, tokens).gather(1, order)
        null = torch.tensor(padded(()))
        dropped = torch.rand(self.size, 1, generator=self.generator) < _DROPPED
        empty = tokens[:, :1] == 0
        return torch.where(dropped | empty, null, tokens)
