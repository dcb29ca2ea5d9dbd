"""What every step of a job works with."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import Row

from gateway.clock import Clock
from gateway.db import Database
from gateway.events import Hints
from gateway.jobs.claims import Lease, Loaded
from gateway.jobs.pace import Paces
from gateway.media.fetch import MediaFetcher
from gateway.media.identity import SigningIdentity
from gateway.media.pool import MediaTools
from gateway.settings import Settings
from gateway.storage import Storage
from gateway.telemetry import Metrics
from gateway.tracing import OFF, Tracing
from gateway.upstreams.health import Health
from gateway.upstreams.workers import Workers
from gateway.videos.routing import Catalogue, Route
from providers.contract import Adapter
from providers.spec import UpstreamSpec

log = structlog.get_logger(__name__)

Milestone = Callable[[str, str], Awaitable[None]]
"""Called with a name and a video id at each point where a crash matters; the crash suite counts them."""

LONGEST_BACKOFF: Final = 30.0
LONGEST_POLL: Final = 15.0


async def no_milestone(_name: str, _video_id: str) -> None:
    """The production default."""


def no_callback(_attempt_id: str) -> None:
    """Without a public address nobody can call back."""


InputUrl = Callable[[str, int, str, float], str | None]
"""A public address of a video's n-th input, of this media type, for so many seconds; None without a public URL."""


def no_input_url(_video_id: str, _n: int, _media_type: str, _seconds: float) -> None:
    """Without a public address nobody can fetch anything."""


@dataclass
class JobContext:
    """Shared by every step; holds no state of a single job."""

    db: Database
    clock: Clock
    storage: Storage
    media: MediaTools
    fetcher: MediaFetcher
    catalogue: Catalogue
    adapter: Callable[[UpstreamSpec], Adapter]
    hints: Hints
    settings: Settings
    metrics: Metrics
    work_dir: Path
    paces: Paces
    health: Health
    workers: Workers
    identity: SigningIdentity | None = None  # None where nothing is to be signed
    callback_url: Callable[[str], str | None] = no_callback
    input_url: InputUrl = no_input_url
    milestone: Milestone = no_milestone
    tracing: Tracing = OFF

    def adapter_of(self, route: Route, attempt: Any) -> Adapter:
        """The route's adapter under the credential that the attempt was sent with."""
        return self.adapter(self.catalogue.with_version(route.upstream, attempt.credential_version))

    def adapter_if_any(self, route: Route, attempt: Any) -> Adapter | None:
        """The same, None where none can be made: the upstream was given options since that its adapter refuses."""
        try:
            return self.adapter_of(route, attempt)
        except ValueError as error:
            log.error("upstream_misconfigured", upstream=route.upstream.name, error=str(error))  # noqa: TRY400
            return None

    def can_ask(self, route: Route) -> bool:
        """Whether its upstream can be asked at all: what the operator wrote wrongly must not hold a video up."""
        try:
            self.adapter(route.upstream)
        except ValueError as error:
            log.error("upstream_misconfigured", upstream=route.upstream.name, error=str(error))  # noqa: TRY400
            return False
        return True


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed job and its rows."""

    lease: Lease
    rows: Loaded

    @property
    def video_id(self) -> str:
        """The video the job belongs to."""
        return str(self.rows.video.id)

    @property
    def attempt(self) -> Row[Any]:
        """Its latest attempt; a job in a state that follows a submit, and a watch job, always has one."""
        if self.rows.attempt is None:
            raise AssertionError(f"{self.video_id} is {self.lease.state} without an attempt")
        return self.rows.attempt


def backoff(tries: int, *, base: float = 0.5, longest: float = LONGEST_BACKOFF) -> float:
    """Seconds until the next try: doubling, capped, with a quarter of jitter."""
    return float(min(longest, base * 2 ** min(tries, 12)) * random.uniform(0.75, 1.0))  # nosec B311 # noqa: S311  (spread, not secrecy)


def poll_delay(asked: float | None, base: float, elapsed: float) -> float:
    """Seconds until the next poll: what the upstream asked, else slower the longer the job runs; a little more, never less."""
    delay = asked if asked is not None else min(max(base, elapsed * 0.1), LONGEST_POLL)
    return max(0.05, delay) * random.uniform(1.0, 1.1)  # nosec B311 # noqa: S311  (spread, not secrecy)
