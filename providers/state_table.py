"""What an upstream's words for the state of a job mean: a table per provider, pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from providers.answers import clean
from providers.contract import ErrorKind, ProviderError

Meaning = Literal["queued", "running", "completed"] | ErrorKind


class StateTable:
    """The words of one provider, without regard to case. `failed` gives the kind of each end without a video."""

    def __init__(
        self,
        *,
        queued: Iterable[str] = (),
        running: Iterable[str] = (),
        completed: Iterable[str] = (),
        failed: Mapping[str, ErrorKind],
    ) -> None:
        self._meanings: Final[dict[str, Meaning]] = {
            **{word.lower(): "queued" for word in queued},
            **{word.lower(): "running" for word in running},
            **{word.lower(): "completed" for word in completed},
            **{word.lower(): kind for word, kind in failed.items()},
        }

    def read(self, state: Any) -> Meaning:
        """queued, running, completed, or the kind of the failure. ProviderError UNKNOWN_STATE for a new word."""
        meaning = self._meanings.get(str(state).lower())
        if meaning is None:
            raise ProviderError(
                ErrorKind.UNKNOWN_STATE, f"the upstream reports the unknown state '{clean(str(state))}'"
            )
        return meaning
