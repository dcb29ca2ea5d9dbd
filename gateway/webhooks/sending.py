"""One delivery attempt: sign, post, and say what came of it."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.webhooks.signing import signed_headers
from providers.contract import HttpResponse, ProviderError

TIMEOUT_SECONDS: Final = 10.0


class PublicDoor(Protocol):
    """The part of `providers.http` that posts to addresses users gave: SSRF-checked, no redirects."""

    async def post(
        self, url: str, *, content: bytes, headers: Mapping[str, str], timeout: float
    ) -> HttpResponse:
        """Any HTTP answer is an answer. ProviderError if there was none, or the address is refused."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """The receiver's HTTP `status` (None: no answer), in words in `detail`. `retry_after` in seconds."""

    status: int | None
    detail: str
    retry_after: float | None = None

    @property
    def accepted(self) -> bool:
        """The receiver has the event."""
        return self.status is not None and 200 <= self.status < 300


class Sender:
    """Posts events. `wall` is the true wall clock: receivers compare the signed time with theirs."""

    def __init__(self, door: PublicDoor, wall: Callable[[], float] = time.time) -> None:
        self._door = door
        self._wall = wall

    async def send(self, url: str, event_id: str, body: str, secrets: Sequence[str]) -> Outcome:
        """Post once, within `TIMEOUT_SECONDS` in all. Never raises for what the receiver does."""
        content = body.encode()
        headers = {
            **signed_headers(secrets, event_id, int(self._wall()), content),
            "content-type": "application/json",
            "user-agent": "onereel-webhooks/1",
        }
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await self._door.post(url, content=content, headers=headers, timeout=TIMEOUT_SECONDS)
        except TimeoutError:
            return Outcome(None, f"no answer within {TIMEOUT_SECONDS:.0f} s")
        except ProviderError as error:
            return Outcome(None, error.message)
        return Outcome(
            answer.status, f"HTTP {answer.status}", _retry_after(answer.headers.get("retry-after"))
        )


def _retry_after(value: str | None) -> float | None:
    """Seconds only: the date form is rare, and our own back-off serves as well."""
    return float(value) if value is not None and value.isdecimal() and len(value) < 10 else None
