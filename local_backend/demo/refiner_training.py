"""Training of the demo model's refiner: from what the transformer predicts to the same clip at four times the size."""

import math
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from local_backend.demo.batches import pool
from local_backend.demo.evaluation import accuracy
from local_backend.demo.network import Refiner
from local_backend.demo.pipeline import DemoPipeline
from local_backend.demo.render import render
from local_backend.demo.training import Training

_BATCH: Final = 8
_FRAMES: Final = 4  # of each clip: neighbours in a clip teach much the same
_RATE: Final = 2e-3
_WARM_UP: Final = 100
_NOISE: Final = (0.05, 0.85)  # levels that the predictions are made from
_REPORT_SEED: Final = 11


class RefinerTraining(Training):
    """Trains `refiner`; the denoiser, a Model, is only read."""

    def __init__(self, denoiser: Any, total_steps: int, seed: int) -> None:
        torch.manual_seed(seed + 2)
        self._denoiser = denoiser
        self.refiner = Refiner()
        optimizer = torch.optim.AdamW(self.refiner.parameters(), lr=_RATE, betas=(0.9, 0.98), fused=True)
        self.generator = torch.Generator().manual_seed(seed + 3)
        self._which, self._tokens = pool()
        parts = {"refiner": self.refiner, "optimizer": optimizer}
        super().__init__(parts, self.refiner, self.generator, total_steps)

    def train_step(self) -> None:
        """Learn from one batch."""
        warm = min(1.0, (self.step + 1) / _WARM_UP)
        rate = _RATE * warm * (1 + math.cos(math.pi * self.progress)) / 2
        predicted, large, pooled = self._batch()
        self.learn((self.refiner(predicted, pooled) - large).abs().mean(), rate)

    @torch.no_grad()
    def _batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Predictions (n, 3, frames, 32, 32), what they should become at four times the size, pooled text."""
        chosen = torch.randint(len(self._which), (_BATCH,), generator=self.generator)
        large = render(self._which[chosen], self.generator, scale=4)
        small = avg_pool3d(large, (1, 4, 4))
        low, high = _NOISE
        noise = low + (high - low) * torch.rand(_BATCH, generator=self.generator)
        level = noise[:, None, None, None, None]
        noisy = (1 - level) * small + level * torch.randn(small.shape, generator=self.generator)
        text = self._denoiser.text(self._tokens[chosen])
        predicted = self._denoiser.transformer(noisy, noise, *text).clamp(-1, 1)
        start = int(torch.randint(predicted.shape[2] - _FRAMES + 1, (1,), generator=self.generator))
        window = slice(start, start + _FRAMES)
        return predicted[:, :, window], large[:, :, window], text[1]

    def pipeline(self) -> DemoPipeline:
        """The whole model as it is now."""
        return DemoPipeline(self._denoiser.text, self._denoiser.transformer, self.refiner.eval())

    def report(self) -> dict[str, Any]:
        """A line of the log: the whole model, judged on the held-out prompts."""
        return {
            "refiner_step": self.step,
            "seconds": round(self.seconds),
            "loss": round(self.loss, 5),
            **accuracy(self.pipeline(), _REPORT_SEED),
        }
