"""What the two trainings of the demo model share: counting, one step of the optimizer, and the checkpoint."""

from typing import Any, Final

import torch
from torch import Tensor, nn

_REMEMBERED: Final = 0.98  # of the mean loss at each step


class Training:
    """How far it is, and the parts that its checkpoint holds, by name."""

    def __init__(
        self, parts: dict[str, Any], learning: nn.Module, generator: torch.Generator, total_steps: int
    ) -> None:
        """`parts` have a state_dict, the optimizer among them; `learning` is what it changes."""
        self._parts, self._learning, self._generator = parts, learning, generator
        self.total_steps = total_steps
        self.step = 0
        self.seconds = 0.0
        self.loss = 0.0

    def state(self) -> dict[str, Any]:
        """Everything that a later process needs to go on exactly."""
        return {
            **{name: part.state_dict() for name, part in self._parts.items()},
            "generator": self._generator.get_state(),
            "step": self.step,
            "seconds": self.seconds,
            "loss": self.loss,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        self._generator.set_state(state["generator"])
        self.step, self.seconds, self.loss = state["step"], state["seconds"], state["loss"]

    @property
    def progress(self) -> float:
        """Share of the whole training done, 0..1."""
        return self.step / self.total_steps

    def learn(self, loss: Tensor, rate: float) -> None:
        """One step of the optimizer at this learning rate."""
        optimizer = self._parts["optimizer"]
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._learning.parameters(), 1.0)
        optimizer.step()
        self.step += 1
        now = float(loss.detach())
        self.loss = now if self.step == 1 else _REMEMBERED * self.loss + (1 - _REMEMBERED) * now
