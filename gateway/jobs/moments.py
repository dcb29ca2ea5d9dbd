"""A calendar of the moments at which one account may be asked: `per_second` of them, each given away once.

A job books its next moment when it is put back, so it is claimed when its turn has come and not before. Booked jobs
are spread evenly by that, and the rate is kept however many there are.
"""

from collections.abc import Callable
from math import ceil, floor
from typing import Final, Literal

Asking = Literal["submit", "poll"]

_EARLY_SECONDS: Final = 0.02
"""Clocks of the process and the database need not agree to the millisecond."""

_SAVED_SECONDS: Final[dict[Asking, float]] = {"submit": 1.0, "poll": 0.0}
"""Moments of the last second that nobody used are not lost for a burst of creates; polls stay spread."""

_BURST_SECONDS: Final[dict[Asking, float]] = {"submit": 1.0, "poll": 0.1}
_CATCH_UP: Final = 1.1
"""Times the rate, after a standstill."""

_FORGOTTEN_AFTER: Final = 60.0
_PRUNE_SECONDS: Final = 30.0


class Moments:
    """Moment number k is at k / per_second on the monotonic clock.

    Where creates and polls share the account's rate, neither may book all of it ahead: every fifth moment is left to
    creates, and of the others every second one to polls, since what is created must be polled. What is still free
    when it comes is anybody's.
    """

    def __init__(self, monotonic: Callable[[], float], per_second: float) -> None:
        self.per_second = per_second
        self._monotonic = monotonic
        self._after: dict[int, int] = {}  # a taken moment to a later one: follow it to the next free one
        self._booked: dict[str, int] = {}
        self._delayed: dict[str, float] = {}
        self._even_from = float("-inf")
        self._pruned_at = monotonic()

    def turn(self, job_id: str, asking: Asking, *, shared: bool = False) -> float:
        """0 when the job may ask now, else the seconds until the moment that is now its own."""
        now = self._monotonic()
        if self._delayed.get(job_id, float("inf")) <= now + _EARLY_SECONDS:
            del self._delayed[job_id]
            return 0.0
        booked = self._booked.get(job_id)
        if booked is not None and booked / self.per_second <= now + _EARLY_SECONDS:
            del self._booked[job_id]
            return self._even(job_id, now, asking)
        current = floor(now * self.per_second)
        free = self._free(floor((now - _SAVED_SECONDS[asking]) * self.per_second))
        if free <= current:
            self._take(free)
            self._booked.pop(job_id, None)
            return self._even(job_id, now, asking)
        if (
            booked is not None
        ):  # it came early, called back say; its own moment may be sooner than the next free one
            return booked / self.per_second - now
        return self._book(job_id, now, current + 1, asking, shared=shared)

    def book(self, job_id: str, delay: float, asking: Asking, *, shared: bool = False) -> float:
        """Seconds until the first free moment that is at least `delay` seconds away; it is the job's own then."""
        now = self._monotonic()
        return self._book(job_id, now, ceil((now + delay) * self.per_second), asking, shared=shared)

    def _book(self, job_id: str, now: float, first: int, asking: Asking, *, shared: bool) -> float:
        self._prune(now)
        moment = self._free(first)
        while shared and self._left_to_others(moment, asking):
            moment = self._free(moment + 1)
        self._take(moment)
        self._booked[job_id] = moment
        return moment / self.per_second - now

    def _even(self, job_id: str, now: float, asking: Asking) -> float:
        """Where the process was held up, what it missed goes out a little faster than the rate, not all at once."""
        at = max(self._even_from, now - _BURST_SECONDS[asking])
        self._even_from = at + 1.0 / (self.per_second * _CATCH_UP)
        if at <= now:
            return 0.0
        self._delayed[job_id] = at
        return at - now

    @staticmethod
    def _left_to_others(moment: int, asking: Asking) -> bool:
        if moment % 5 == 0:
            return asking == "poll"
        return asking == "submit" and moment % 2 == 1

    def _free(self, moment: int) -> int:
        """The first free moment from this one on; the way there is shortened for the next who asks."""
        found = moment
        while found in self._after:
            found = self._after[found]
        while moment != found:
            self._after[moment], moment = found, self._after[moment]
        return found

    def _take(self, moment: int) -> None:
        self._after[moment] = moment + 1

    def _prune(self, now: float) -> None:
        """Forget moments that have passed, and bookings of jobs that never came."""
        if now - self._pruned_at < _PRUNE_SECONDS:
            return
        self._pruned_at = now
        oldest = floor((now - 2.0) * self.per_second)
        self._after = {moment: after for moment, after in self._after.items() if moment >= oldest}
        missed = (now - _FORGOTTEN_AFTER) * self.per_second
        self._booked = {job_id: moment for job_id, moment in self._booked.items() if moment >= missed}
        self._delayed = {job_id: at for job_id, at in self._delayed.items() if at >= now - _FORGOTTEN_AFTER}
