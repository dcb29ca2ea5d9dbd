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


class DenoiserTraining:
    """The state of a training: everything that its checkpoint holds."""

    def __init__(self, total_steps: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.model = Model()
        self.average = copy.deepcopy(self.model).requires_grad_(requires_grad=False)
        matrices = [p for p in self.model.parameters() if p.ndim >= 2]
        vectors = [p for p in self.model.parameters() if p.ndim < 2]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}],
            lr=_RATE,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.batches = Batches(seed + 1)
        self.total_steps = total_steps
        self.step = 0
        self.seconds = 0.0
        self.loss = 0.0
        self.compute: Any = torch.compile(self.model)

    def state(self) -> dict[str, Any]:
        """Everything that a later process needs to go on exactly."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.batches.generator.get_state(),
            "step": self.step,
            "seconds": self.seconds,
            "loss": self.loss,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches.generator.set_state(state["generator"])
        self.step, self.seconds, self.loss = state["step"], state["seconds"], state["loss"]

    def train_step(self) -> None:
        """Learn from one batch."""
        progress = self.step / self.total_steps
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(progress)
        clips, noisy, noise, weights, tokens = self.batches.draw(progress)
        with torch.autocast("cpu", torch.bfloat16):
            made = self.compute(noisy, noise, tokens)
        loss = (((made.float() - clips) ** 2).mean((1, 2, 3, 4)) * weights).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self.loss = float(loss.detach()) if self.step == 1 else 0.98 * self.loss + 0.02 * float(loss.detach())
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
            "clips": self.step * BATCH,
            "seconds": round(self.seconds),
            "loss": round(self.loss, 4),
            **errors(model),
            **accuracy(DemoPipeline(model.text, model.transformer), _REPORT_SEED),
        }
