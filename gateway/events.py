"""In-process hints: a video changed, a job is due. The rows are the truth; a lost hint costs a poll interval."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager


class Hints:
    """Wake-ups between request handlers and the job runner of one process."""

    def __init__(self) -> None:
        self._videos: dict[str, set[asyncio.Event]] = {}
        self.jobs = asyncio.Event()
        self.outbox = asyncio.Event()
        self.request_at = float("-inf")
        """When the latest HTTP request began (`time.perf_counter`): background work then takes its turn."""

    def video_changed(self, video_ids: Iterable[str]) -> None:
        """Wake every watcher of these videos."""
        for video_id in video_ids:
            for event in self._videos.get(video_id, ()):
                event.set()

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
