"""An engine in the place of the real one, whose work takes as long as the test wants."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from local_backend.clip import Clip
from local_backend.order import Order
from local_backend.steps import Report


class HeldEngine:
    """Takes steps as long as `gate` is closed, then ends as `outcome` says; `orders` is what it was asked for.

    No file is begun while `pen` is away.
    """

    slowest_step = 0.01

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.pen = threading.Event()
        self.pen.set()
        self.outcome: Exception | None = None
        self.loaded: list[str] = []
        self.orders: list[Order] = []
        self.calls: list[list[str]] = []

    @property
    def codec(self) -> str:
        self.pen.wait(60)
        return "libx264"

    def make(self, orders: Sequence[Order], report: Report) -> list[Clip]:
        self.orders += orders
        self.calls.append([order.attempt_id for order in orders])
        report.stage("denoise")
        step = 0
        while not self.gate.is_set():
            step += 1
            report.step(min(step, 99), 100)
            time.sleep(0.005)
        if self.outcome is not None:
            raise self.outcome
        return [Clip(np.zeros((2, 16, 16, 3), np.uint8)) for _ in orders]

    def batch_key(self, order: Order) -> tuple[Any, ...] | None:
        return (order.preset.id,)

    def refusal(self, order: Order) -> str | None:
        return "it is too large" if order.prompt == "huge" else None

    def work(self, order: Order) -> tuple[int, int]:
        return 1000, order.steps

    def runtime(self, order: Order) -> dict[str, Any]:
        return {"device": "none", "steps": order.steps}

    def measured(self) -> dict[str, Any]:
        return {}
