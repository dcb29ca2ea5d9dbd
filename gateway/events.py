"""Hints: a video changed, a job is due, a key changed. The rows are the truth; a lost hint costs a poll interval."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
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


class Hints:
    """Wake-ups between the parts of one process, and through `gateway.bus` between processes.

    Setting `jobs` or `outbox` wakes this process alone: for what it is about to do itself. `jobs_due` and the like are
    for what any process may take on.
    """

    def __init__(self) -> None:
        self._videos: dict[str, set[asyncio.Event]] = {}
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
    def watched(self) -> Iterable[str]:
        """The videos that somebody waits for."""
        return self._videos.keys()

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
        self._wake(ids)
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
        self._wake(news.videos)

    def missed(self) -> None:
        """News may have been lost: everybody looks for himself."""
        self.heard(News(jobs=True, outbox=True, keys=True, videos=set(self._videos)))

    def close(self) -> None:
        """End every stream."""
        self.closing = True
        self._wake(list(self._videos))

    def when_keys_change(self, forget: Callable[[], None]) -> None:
        """Call `forget` at every change of a key, of whichever process."""
        self._forget.append(forget)

    @asynccontextmanager
    async def watching(self, video_id: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever the video changes; the watcher clears it."""
        event = asyncio.Event()
        self._videos.setdefault(video_id, set()).add(event)
        try:
            yield event
        finally:
            watchers = self._videos[video_id]
            watchers.discard(event)
            if not watchers:
                del self._videos[video_id]

    def _wake(self, video_ids: Iterable[str]) -> None:
        for video_id in video_ids:
            for event in self._videos.get(video_id, ()):
                event.set()

    def _forget_keys(self) -> None:
        for forget in self._forget:
            forget()
