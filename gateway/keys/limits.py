"""How many requests a key may make in a minute. Reading never uses up what is there for creating.

Redis counts for all processes. While there is none, each API process counts by itself and gives out its share.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from gateway.errors import RateLimited
from gateway.principal import Principal
from gateway.settings import Settings

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.aio.strategies import FixedWindowRateLimiter

LimitKind = Literal["create", "read", "sign_in"]
SIGN_INS: Final = 10
"""Tries a minute for one account from one address; thrice as many from an address, behind which there may be an
office; six times as many for an account from everywhere."""

_WINDOW_SECONDS: Final = 60.0
_REDIS_SECONDS: Final = 0.25
"""A request waits no longer than that for Redis, once: then Redis is gone."""
_NO_HEADERS: Final[Mapping[str, str]] = {}


class Bus(Protocol):
    """What tells whether Redis is there (see `gateway.bus`)."""

    up: bool

    def failed(self, part: str, error: Exception) -> None:
        """Take note that it did not answer."""
        ...


class Siblings(Protocol):
    """What counts the API processes (see `gateway.presence`)."""

    api_processes: int


class _Alone:
    api_processes = 1


class RequestLimits:
    """Counts in windows of a minute that begin with a key's first request."""

    def __init__(self, settings: Settings, bus: Bus | None = None, siblings: Siblings | None = None) -> None:
        self._reads_per_minute = settings.limits.reads_per_minute
        self._redis_url = settings.redis_url
        self._prefix = settings.redis_prefix
        self._bus = bus
        self._siblings = siblings or _Alone()
        self._own: FixedWindowRateLimiter | None = None
        self._shared: FixedWindowRateLimiter | None = None
        self._items: dict[int, RateLimitItem] = {}

    async def check(self, principal: Principal, kind: LimitKind) -> Mapping[str, str]:
        """Count one request; the answer's x-ratelimit headers. RateLimited with Retry-After when it is too many.

        The plan's limit counts for all keys of the organization. Without limits it costs nothing and gives no headers.
        """
        allowed, of_plan = principal.requests_per_minute, principal.plan.requests_per_minute
        if allowed is None and of_plan is None:
            return _NO_HEADERS
        if kind == "create":
            headers = _NO_HEADERS
            if of_plan is not None:
                headers = await self._count(of_plan, kind, principal.organization_id)
            return headers if allowed is None else await self._count(allowed, kind, principal.key_id)
        if self._reads_per_minute is not None:
            await self._count(self._reads_per_minute, kind, principal.key_id)
        return _NO_HEADERS

    async def sign_in(self, email: str, ip_address: str | None) -> None:
        """Count one try to sign in. RateLimited after many: a stranger elsewhere cannot keep somebody out for long."""
        place = ip_address or "here"
        await self._count(SIGN_INS, "sign_in", f"both:{email}|{place}")
        await self._count(SIGN_INS * 3, "sign_in", f"address:{place}")
        await self._count(SIGN_INS * 6, "sign_in", f"account:{email}")

    async def _count(self, allowed: int, kind: LimitKind, who: str) -> Mapping[str, str]:
        if self._bus is not None and self._bus.up:
            try:
                return await self._hit(self._in_redis(), allowed, kind=kind, who=who, share=allowed)
            except RateLimited:
                raise
            except Exception as error:
                self._bus.failed("limits", error)
        share = max(1, allowed // self._siblings.api_processes)
        return await self._hit(self._in_memory(), allowed, kind=kind, who=who, share=share)

    async def _hit(
        self, windows: "FixedWindowRateLimiter", allowed: int, *, kind: LimitKind, who: str, share: int
    ) -> Mapping[str, str]:
        item = self._items.get(share) or self._item(share)
        accepted = await windows.hit(item, kind, who)
        stats = await windows.get_window_stats(item, kind, who)
        wait = stats.reset_time - time.time()
        if wait > _WINDOW_SECONDS + 1:  # the wall clock was set back: that window would not end in time
            await windows.clear(item, kind, who)
            return await self._hit(windows, allowed, kind=kind, who=who, share=share)
        headers = _headers(allowed, stats.remaining, wait)
        if accepted:
            return headers
        raise RateLimited(_message(allowed, kind, who), retry_after=wait, headers=headers)

    def _item(self, allowed: int) -> "RateLimitItem":
        from limits import RateLimitItemPerMinute  # noqa: PLC0415  (10 MB that unlimited keys do not need)

        return self._items.setdefault(allowed, RateLimitItemPerMinute(allowed))

    def _in_memory(self) -> "FixedWindowRateLimiter":
        if self._own is None:
            from limits.aio.storage import MemoryStorage  # noqa: PLC0415  (see _item)

            self._own = _windows(MemoryStorage())
        return self._own

    def _in_redis(self) -> "FixedWindowRateLimiter":
        if self._shared is None:
            from limits.aio.storage import RedisStorage  # noqa: PLC0415  (see _item)

            self._shared = _windows(
                RedisStorage(
                    f"async+{(self._redis_url or '').replace('unix://', 'redis+unix://', 1)}",
                    implementation="redispy",
                    key_prefix=f"{self._prefix}:limits",
                    socket_timeout=_REDIS_SECONDS,
                    socket_connect_timeout=_REDIS_SECONDS,
                )
            )
        return self._shared


def _windows(storage: Any) -> "FixedWindowRateLimiter":
    from limits.aio.strategies import FixedWindowRateLimiter  # noqa: PLC0415  (see _item)

    return FixedWindowRateLimiter(storage)


def _headers(allowed: int, remaining: int, wait: float) -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": str(allowed),
        "x-ratelimit-remaining-requests": str(max(0, remaining)),
        "x-ratelimit-reset-requests": f"{max(0.0, wait):.3f}s",
    }


def _message(allowed: int, kind: LimitKind, who: str) -> str:
    if kind == "sign_in":
        return "Too many tries to sign in. Wait a minute, then try again."
    caller = "organization" if who.startswith("org_") else "API key"
    what = "requests that create something" if kind == "create" else "reading requests"
    return f"Rate limit reached: this {caller} may make {allowed} {what} per minute. Slow down, or ask for a higher limit."
