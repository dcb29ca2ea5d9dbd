"""What other processes do to the videos that somebody watches here: looked up for all streams together.

Redis tells of it at once (see `gateway.bus`); this finds what it did not tell.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, select

from gateway.background import Polling
from gateway.db import Database
from gateway.errors import Unauthorized
from gateway.events import Hints
from gateway.keys.service import KeyService
from gateway.videos.tables import videos

SECONDS: Final = 1.0
"""How long a change of another process, and the end of a key, may stay unseen."""

_BATCH: Final = 2000  # ids a statement
_VERSIONS: Final = select(videos.c.id, videos.c.version).where(
    videos.c.id.in_(bindparam("ids", expanding=True))
)


class Following(Polling):
    """Wakes the watchers of videos that have changed, and those whose key is no good any more."""

    def __init__(self, db: Database, hints: Hints, keys: KeyService) -> None:
        super().__init__(SECONDS)
        self._db = db
        self._hints = hints
        self._keys = keys

    async def once(self) -> bool:
        """Look once at everything that is watched."""
        watched = list(self._hints.watches)
        for first in range(0, len(watched), _BATCH):
            ids = watched[first : first + _BATCH]
            found = await self._db.read(lambda conn, ids=ids: _versions(conn, ids))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            for video_id in ids:
                for watch in self._hints.watches.get(video_id, ()):
                    if watch.version != found.get(video_id):
                        watch.wake(news=True)
        await self._check_keys()
        return False

    async def _check_keys(self) -> None:
        watches = [watch for watchers in self._hints.watches.values() for watch in watchers]
        tokens = list({watch.token for watch in watches if watch.token is not None})
        answers = await asyncio.gather(*(self._is_refused(each) for each in tokens))  # read with one query
        refused = {token for token, is_refused in zip(tokens, answers, strict=True) if is_refused}
        for watchers in list(self._hints.watches.values()):
            for watch in watchers:
                if watch.token in refused:
                    watch.wake(news=False)

    async def _is_refused(self, token: str) -> bool:
        try:
            await self._keys.authenticate(token)
        except Unauthorized:
            return True
        return False


def _versions(conn: Connection, ids: Sequence[str]) -> dict[str, int]:
    return {row.id: row.version for row in conn.execute(_VERSIONS, {"ids": list(ids)})}
