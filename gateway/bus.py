"""Hints between processes, through Redis. It may vanish at any moment: then every part polls, as it does without it.

One message at most every few milliseconds carries all that happened in them. Nothing is acknowledged or kept: a message
lost costs a poll interval.
"""

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

import structlog

from gateway.events import Hints, News
from gateway.ids import new_id
from gateway.telemetry import Metrics

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS: Final = 1.0
"""Redis that is slower than that counts as gone."""

_GATHER_SECONDS: Final = 0.005
_MOST_VIDEOS: Final = 1000  # a message
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 4.0
_PING_SECONDS: Final = 2.0


class RedisBus:
    """Passes on this process's news, and hears those of the others. `up` tells whether Redis answers."""

    def __init__(self, url: str, prefix: str, hints: Hints, metrics: Metrics) -> None:
        self.up = False
        self._url = url
        self._channel = f"{prefix}:news"
        self._hints = hints
        self._metrics = metrics
        self._self = new_id("act")
        self._stopping = asyncio.Event()
        self._client: Redis | None = None
        self._told_of = False
        self._pause = _FIRST_PAUSE
        metrics.set_redis(up=False)

    async def run(self) -> None:
        """Until `stop`: connect, and connect again whenever it broke off."""
        while not self._stopping.is_set():
            try:
                await self._connected()
            except Exception as error:
                self.failed("bus", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._pause)
            self._pause = min(_LONGEST_PAUSE, self._pause * 2)
        self._set(up=False)

    async def stop(self) -> None:
        """Pass on what was told last, then end `run`."""
        self._stopping.set()
        self._hints.told.set()

    def failed(self, part: str, error: Exception) -> None:
        """Somebody found that Redis does not answer: everybody does without until it does again."""
        self._metrics.redis_failed(part)
        if self.up or not self._told_of:
            log.warning("redis_lost", part=part, error=str(error) or type(error).__name__)
            self._told_of = True
        self._set(up=False)
        self._hints.told.set()  # who holds a connection shall see that it is no good

    def _set(self, *, up: bool) -> None:
        self.up = self._hints.passed_on = up
        self._hints.news = News()
        self._metrics.set_redis(up=up)

    async def _connected(self) -> None:
        from redis.asyncio import Redis  # noqa: PLC0415  (most installations have none)

        client = Redis.from_url(
            self._url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
        )
        try:
            async with client.pubsub() as pubsub:
                await pubsub.subscribe(self._channel)
                self._found()
                listening = asyncio.create_task(self._listen(pubsub))
                listening.add_done_callback(lambda _: self._hints.told.set())
                try:
                    await self._tell(client, listening)
                finally:
                    listening.cancel()
                    await asyncio.gather(listening, return_exceptions=True)
        finally:
            with contextlib.suppress(Exception):
                await client.aclose()

    def _found(self) -> None:
        if self._told_of:
            log.info("redis_found")
        self._told_of = False
        self._pause = _FIRST_PAUSE
        self._set(up=True)
        self._hints.missed()

    async def _listen(self, pubsub: Any) -> None:
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while True:
            message = await pubsub.get_message(ignore_subscribe_messages=False, timeout=_PING_SECONDS / 2)
            if message is not None:
                heard = loop.time()
                if message["type"] == "message":
                    self._hear(message["data"])
            elif loop.time() - heard > _PING_SECONDS + TIMEOUT_SECONDS:
                raise TimeoutError("no answer to a ping")
            elif loop.time() - heard > _PING_SECONDS:
                await pubsub.ping()

    def _hear(self, data: bytes) -> None:
        """News of a newer release may hold more: what is unknown is left out."""
        try:
            message = json.loads(data)
            if message["from"] == self._self:
                return
            about = set(message.get("about", ()))
            videos = {str(each) for each in message.get("videos", ())}
        except (ValueError, TypeError, KeyError, AttributeError):
            log.warning("bus_message_unreadable")
            return
        self._hints.heard(
            News(jobs="jobs" in about, outbox="outbox" in about, keys="keys" in about, videos=videos)
        )

    async def _tell(self, client: "Redis", listening: asyncio.Task[None]) -> None:
        """Pass on news until stopped. What ends the listening ends this too."""
        while True:
            if listening.done():
                listening.result()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hints.told.wait(), TIMEOUT_SECONDS)
                await asyncio.sleep(_GATHER_SECONDS)
            if not self.up:
                raise ConnectionError("another part had no answer")
            self._hints.told.clear()
            news, self._hints.news = self._hints.news, News()
            for message in self._messages(news):
                await client.publish(self._channel, message)
            if self._stopping.is_set():
                return

    def _messages(self, news: News) -> list[str]:
        if not news:
            return []
        about = [name for name in ("jobs", "outbox", "keys") if getattr(news, name)]
        ids = sorted(news.videos)
        parts = [ids[i : i + _MOST_VIDEOS] for i in range(0, len(ids), _MOST_VIDEOS)] or [[]]
        return [
            json.dumps({"from": self._self, "about": about if n == 0 else [], "videos": part})
            for n, part in enumerate(parts)
        ]
