"""How long upstreams and workers take: a log-normal distribution whose draws a simulation can repeat."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Service:
    """Service times of `mean` seconds; `sigma` is that of their logarithm, 0 for always the same."""

    mean: float
    sigma: float = 0.5

    @property
    def variation(self) -> float:
        """Standard deviation over mean."""
        return math.sqrt(math.expm1(self.sigma**2))

    def times(self, seed: int) -> Iterator[float]:
        """Seconds, one after the other; the same seed gives the same ones."""
        source = random.Random(seed)
        middle = math.log(self.mean) - self.sigma**2 / 2
        while True:
            yield source.lognormvariate(middle, self.sigma)
