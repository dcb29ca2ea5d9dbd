"""Training of the demo model's text encoder and transformer: predict the clean clip at every noise level."""

import copy
import math
from typing import Any, Final

import torch
from torch import Tensor, nn

from local_backend.demo.batches import BATCH, Batches
from local_backend.demo.evaluation import accuracy, errors
from local_backend.demo.network import DemoTransformer, TextEncoder
from local_backend.demo.pipeline import DemoPipeline
from local_backend.demo.training import Training

_RATE: Final = 1e-3
_WARM_UP: Final = 200
_AVERAGED: Final = 0.999
_REPORT_SEED: Final = 11


class Model(nn.Module):
    """Text encoder and transformer, trained as one."""

    def __init__(self) -> None:
        super().__init__()
        self.text = TextEncoder()
        self.transformer = DemoTransformer()

    def forward(self, clip: Tensor, noise: Tensor, tokens: Tensor) -> Tensor:
        """The predicted clean clip."""
        made: Tensor = self.transformer(clip, noise, *self.text(tokens))
        return made


class DenoiserTraining(Training):
    """Trains `model`; `average`, which follows it slowly, is what is kept."""

    def __init__(self, total_steps: int, seed: int, *, batch: int = BATCH) -> None:
        torch.manual_seed(seed)
        self.model = Model()
        self.average = copy.deepcopy(self.model).requires_grad_(requires_grad=False)
        matrices = [p for p in self.model.parameters() if p.ndim >= 2]
        vectors = [p for p in self.model.parameters() if p.ndim < 2]
        optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}],
            lr=_RATE,
            betas=(0.9, 0.98),
            fused=True,
        )
        self._batches = Batches(seed + 1, batch)
        parts = {"model": self.model, "average": self.average, "optimizer": optimizer}
        super().__init__(parts, self.model, self._batches.generator, total_steps)
        self.compute: Any = torch.compile(self.model)

    def train_step(self) -> None:
        """Learn from one batch."""
        clips, noisy, noise, weights, tokens = self._batches.draw(self.progress)
        with torch.autocast("cpu", torch.bfloat16):
            made = self.compute(noisy, noise, tokens)
        loss = (((made.float() - clips) ** 2).mean((1, 2, 3, 4)) * weights).mean()
        self.learn(loss, self._rate(self.progress))
        keep = min(_AVERAGED, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - keep)

    def _rate(self, progress: float) -> float:
        """Warm-up, then a cosine down to a fiftieth."""
        warm = min(1.0, (self.step + 1) / _WARM_UP)
        return _RATE * warm * (0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2)

    def report(self) -> dict[str, Any]:
        """A line of the log: the averaged weights, judged on the held-out prompts."""
        model = self.average.eval()
        return {
            "step": self.step,
            "clips": self.step * self._batches.size,
            "seconds": round(self.seconds),
            "loss": round(self.loss, 4),
            **errors(model),
            **accuracy(DemoPipeline(model.text, model.transformer), _REPORT_SEED),
        }
