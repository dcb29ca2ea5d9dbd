"""Time for the whole gateway: milliseconds since the epoch, immune to jumps of the wall clock."""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime


class Clock:
    """The wall clock at start plus monotonic time since: a jump of the wall clock moves nothing that waits.

    On PostgreSQL jobs go by the database's clock instead (see `gateway.db.now_ms`).
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return int((self._offset + self._monotonic()) * 1000)

    def today(self) -> date:
        """The day, in UTC."""
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC).date()

    def monotonic(self) -> float:
        """Seconds, for deadlines inside one process."""
        return self._monotonic()
