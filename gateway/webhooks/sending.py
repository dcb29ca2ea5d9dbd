"""One delivery attempt: sign, post, and say what came of it."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.webhooks.signing import signed_headers
from providers.contract import ProviderError

TIMEOUT_SECONDS: Final = 10.0


class PublicDoor(Protocol):
    """The part of `providers.http` that posts to addresses users gave: checked, no redirects."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> int:  # noqa: ASYNC109 - the door's signature
        """Answer the HTTP status. ProviderError if there was none, or the address is refused."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """The receiver's HTTP `status` (None: no answer), in words in `detail`."""

    status: int | None
    detail: str

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
            "Content-Type": "application/json",
            "User-Agent": "onereel-webhooks",
        }
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS + 1):
                status = await self._door.post(url, content, headers, TIMEOUT_SECONDS)
        except TimeoutError:
            return Outcome(None, f"no answer within {TIMEOUT_SECONDS:.0f} s")
        except ProviderError as error:
            return Outcome(None, error.message)
        return Outcome(status, f"HTTP {status}")
