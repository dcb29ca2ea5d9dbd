"""At most so many requests a second to one upstream, as reserved moments: a job that is early is put back."""

from collections.abc import Callable


class Paces:
    """One pace per upstream; without a configured rate there is none."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._free_at: dict[str, float] = {}

    def wait(self, upstream: str, per_second: float | None) -> float:
        """0 when a request may go now (and is counted), else the seconds until the next free moment."""
        if per_second is None:
            return 0.0
        now = self._monotonic()
        free_at = max(self._free_at.get(upstream, 0.0), now - 1.0)  # at most one second's worth saved up
        if free_at > now:
            return free_at - now
        self._free_at[upstream] = free_at + 1.0 / per_second
        return 0.0
