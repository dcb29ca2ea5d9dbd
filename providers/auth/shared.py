"""A value from elsewhere that many requests share for a while: an access token, a set of public keys."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from providers.auth.headers import Now

T = TypeVar("T")


class Shared(Generic[T]):
    """Got once for all who ask meanwhile, kept until its end, then got again. A failure is not kept.

    `get` answers the value and the Unix time at which it is no longer good.
    """

    def __init__(self, get: Callable[[], Coroutine[Any, Any, tuple[T, float]]], now: Now) -> None:
        self._get = get
        self._now = now
        self._getting: asyncio.Task[tuple[T, float]] | None = None

    async def __call__(self) -> T:
        """Answer the value. Raises what `get` raises."""
        if self._getting is None or self._is_over(self._getting):
            self._getting = asyncio.create_task(self._get())
        # One who stops waiting does not stop the others.
        value, _ = await asyncio.shield(self._getting)
        return value

    def _is_over(self, getting: asyncio.Task[tuple[T, float]]) -> bool:
        if not getting.done():
            return False
        return getting.cancelled() or getting.exception() is not None or self._now() >= getting.result()[1]
