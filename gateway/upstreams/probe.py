"""Asking an upstream whether address and credential work, without spending anything."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from providers.contract import Adapter, ErrorKind, Probes, ProviderError

PATIENCE_SECONDS: Final = 20.0

Verdict = Literal["ok", "reached", "untested", "refused", "unreachable", "broken"]
"""reached: it answers, but nothing proves the credential. untested: its adapter has no check, and its jobs have no plain
id that could be asked for. refused: credential or funds. broken: it fails."""

_NO_CHECK: Final = "nothing here can be asked free of charge: the first video will tell"
_NO_SUCH_JOB: Final = "00000000-0000-4000-8000-000000000000"
_VERDICTS: Final[dict[ErrorKind, Verdict]] = {
    ErrorKind.JOB_LOST: "ok",
    ErrorKind.INVALID_REQUEST: "reached",
    ErrorKind.RATE_LIMITED: "reached",
    ErrorKind.CONCURRENCY_LIMITED: "reached",
    ErrorKind.PROVIDER_AUTH: "refused",
    ErrorKind.PROVIDER_FUNDS: "refused",
    ErrorKind.PROVIDER_UNAVAILABLE: "unreachable",
}


@dataclass(frozen=True, slots=True)
class Probed:
    """How an upstream answered, and how long that took."""

    verdict: Verdict
    detail: str
    seconds: float

    @property
    def usable(self) -> bool:
        """Whether videos may be sent there."""
        return self.verdict in {"ok", "reached", "untested"}


class _AnyHandle(Mapping[str, Any]):
    """The handle of a job that cannot exist, whatever an adapter calls its parts."""

    def __getitem__(self, key: str) -> str:
        return _NO_SUCH_JOB

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


async def probe(adapter: Adapter, monotonic: Callable[[], float]) -> Probed:
    """Use the adapter's own check, else poll a job that cannot exist: that it is lost proves address and credential."""
    started = monotonic()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            if isinstance(adapter, Probes):
                verdict: Verdict = "ok"
                detail = await adapter.check()
            else:
                await adapter.poll(_AnyHandle())
                verdict, detail = "reached", "it knows a job that nobody made"
    except ProviderError as error:
        verdict, detail = _judged(error)
    except TimeoutError:
        verdict, detail = "unreachable", f"no answer within {PATIENCE_SECONDS:g} s"
    except Exception:  # an adapter that cannot read such a handle
        verdict, detail = "untested", _NO_CHECK
    return Probed(verdict, detail, monotonic() - started)


def _judged(error: ProviderError) -> tuple[Verdict, str]:
    if error.kind is ErrorKind.JOB_LOST:
        return "ok", "address and credential work"
    verdict = _VERDICTS.get(error.kind, "broken")
    if verdict == "broken" and error.http_status is None:
        return "untested", _NO_CHECK  # nothing was asked
    return verdict, error.message
