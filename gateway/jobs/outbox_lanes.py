"""Fair shares of the outbox's connections: a dead receiver holds up only itself."""

from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping
from typing import Final

_REMEMBERED: Final = 1000


class Lanes:
    """Counts deliveries under way per origin and remembers which origins failed last.

    An origin gets `per_origin` connections, a failing one a single one, all failing ones together half.
    """

    def __init__(self, total: int, per_origin: int) -> None:
        self._total = total
        self.per_origin = per_origin
        self._busy: Counter[str] = Counter()
        self._failing: OrderedDict[str, None] = OrderedDict()

    @property
    def free(self) -> int:
        """Connections left over all."""
        return self._total - self._busy.total()

    def enter(self, origin: str) -> None:
        """Count a delivery that starts."""
        self._busy[origin] += 1

    def leave(self, origin: str, *, failed: bool | None) -> None:
        """Count one that ended; `failed` None says nothing about the receiver."""
        self._busy[origin] -= 1
        if not self._busy[origin]:
            del self._busy[origin]
        if failed:
            self._failing[origin] = None
            self._failing.move_to_end(origin)
            if len(self._failing) > _REMEMBERED:
                self._failing.popitem(last=False)
        elif failed is False:
            self._failing.pop(origin, None)

    def room(self) -> Mapping[str, int]:
        """How many more each known origin may have; any other may have `per_origin`."""
        return {
            origin: max(0, self._limit(origin) - self._busy[origin])
            for origin in {*self._busy, *self._failing}
        }

    def blocked(self) -> Collection[str]:
        """Origins that may have none now."""
        full = {origin for origin, count in self._busy.items() if count >= self._limit(origin)}
        under_way = sum(count for origin, count in self._busy.items() if origin in self._failing)
        return full | self._failing.keys() if under_way >= self._total // 2 else full

    def _limit(self, origin: str) -> int:
        return 1 if origin in self._failing else self.per_origin
