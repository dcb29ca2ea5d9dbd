"""Hints: a video changed, a job is due, a key changed. The rows are the truth; a lost hint costs a poll interval."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class News:
    """What the other processes of the installation should know of."""

    jobs: bool = False
    outbox: bool = False
    keys: bool = False
    videos: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return self.jobs or self.outbox or self.keys or bool(self.videos)


class Watch:
    """One who waits for news of a video, beyond the `version` it has. `token` is the API key that lets it, None for a person
    on a page."""

    __slots__ = ("_event", "_news", "token", "version")

    def __init__(self, token: str | None, version: int) -> None:
        self.token = token
        self.version = version
        self._news = False
        self._event = asyncio.Event()

    def wake(self, *, news: bool) -> None:
        """Let it look: whether there is something new, else only whether it may go on."""
        self._news |= news
        self._event.set()

    def take(self) -> bool:
        """Whether something may be new since the last time."""
        self._event.clear()
        news, self._news = self._news, False
        return news

    async def wait(self, seconds: float) -> None:
        """Sleep until woken, or that long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()


class Hints:
    """Wake-ups between the parts of one process, and through `gateway.bus` between processes.

    Setting `jobs` or `outbox` wakes this process alone: for what it is about to do itself. `jobs_due` and the like are
    for what any process may take on.
    """

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = {}
        self._forget: list[Callable[[], None]] = []
        self.jobs = asyncio.Event()
        self.outbox = asyncio.Event()
        self.closing = False
        """Streams end now: the process stops."""
        self.request_at = float("-inf")
        """When the latest HTTP request began (`time.perf_counter`): background work then takes its turn."""
        self.news = News()
        """What was told here and is not passed on yet; `gateway.bus` takes it."""
        self.told = asyncio.Event()
        """Set by news, where somebody passes them on."""
        self.passed_on = False

    @property
    def watches(self) -> Mapping[str, Collection[Watch]]:
        """Who waits, by video."""
        return self._watches

    def jobs_due(self) -> None:
        """Wake whoever runs jobs."""
        self.jobs.set()
        if self.passed_on:
            self.news.jobs = True
            self.told.set()

    def outbox_due(self) -> None:
        """Wake whoever delivers client events."""
        self.outbox.set()
        if self.passed_on:
            self.news.outbox = True
            self.told.set()

    def keys_changed(self) -> None:
        """Nobody believes what was read of keys and organizations before."""
        self._forget_keys()
        if self.passed_on:
            self.news.keys = True
            self.told.set()

    def video_changed(self, video_ids: Iterable[str]) -> None:
        """Wake every watcher of these videos."""
        ids = list(video_ids)
        self.wake(ids)
        if self.passed_on:
            self.news.videos.update(ids)
            self.told.set()

    def heard(self, news: News) -> None:
        """Wake whom another process's news concern."""
        if news.jobs:
            self.jobs.set()
        if news.outbox:
            self.outbox.set()
        if news.keys:
            self._forget_keys()
        self.wake(news.videos)

    def missed(self) -> None:
        """News may have been lost: everybody looks for himself."""
        self.heard(News(jobs=True, outbox=True, keys=True, videos=set(self._watches)))

    def close(self) -> None:
        """End every stream."""
        self.closing = True
        self.wake(list(self._watches))

    def when_keys_change(self, forget: Callable[[], None]) -> None:
        """Call `forget` at every change of a key, of whichever process."""
        self._forget.append(forget)

    @asynccontextmanager
    async def watching(self, video_id: str, token: str | None, version: int) -> AsyncIterator[Watch]:
        """Wake the watch whenever the video changes or the key may have."""
        watch = Watch(token, version)
        self._watches.setdefault(video_id, set()).add(watch)
        try:
            yield watch
        finally:
            watchers = self._watches[video_id]
            watchers.discard(watch)
            if not watchers:
                del self._watches[video_id]

    def wake(self, video_ids: Iterable[str]) -> None:
        """Wake the watchers of these videos in this process."""
        for video_id in video_ids:
            for watch in self._watches.get(video_id, ()):
                watch.wake(news=True)

    def _forget_keys(self) -> None:
        for forget in self._forget:
            forget()
        for watchers in self._watches.values():
            for watch in watchers:
                watch.wake(news=False)
