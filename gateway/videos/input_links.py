"""Public addresses of input files, for upstreams that fetch by URL: signed, and good for so long only."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select

from gateway.clock import Clock
from gateway.crypto import SecretBox
from gateway.db import Database
from gateway.errors import NotFound
from gateway.videos.states import TERMINAL
from gateway.videos.stored import StoredRequest
from gateway.videos.tables import videos

PATH: Final = "/v1/inputs"
_GRACE_SECONDS: Final = 600
_SUFFIXES: Final = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
}


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file in storage: key, bytes, a version that changes with the content, media type, name to save as."""

    key: str
    size: int
    version: str
    media_type: str
    filename: str


class InputLinks:
    """None without `public_url` (ONEREEL_PUBLIC_URL). An address says nothing of its video but the id."""

    def __init__(self, db: Database, clock: Clock, secrets: SecretBox, public_url: str | None) -> None:
        self._db = db
        self._clock = clock
        self._secrets = secrets
        self._public_url = public_url.rstrip("/") if public_url else None

    def url(self, video_id: str, n: int, media_type: str, seconds: float) -> str | None:
        """Make the address of a video's n-th input, good for `seconds` and a little more."""
        if self._public_url is None:
            return None
        until = self._clock.now_ms() // 1000 + int(seconds) + _GRACE_SECONDS
        signature = self._secrets.signature(_signed(video_id, n, until))
        name = f"input.{_SUFFIXES.get(media_type, 'bin')}"
        return f"{self._public_url}{PATH}/{video_id}/{n}/{until}/{signature}/{name}"

    async def find(self, video_id: str, n: int, until: int, signature: str) -> InputFile:
        """Find what an address leads to. NotFound for one that we never gave out, or that has ended with its video."""
        good = self._secrets.is_signature(_signed(video_id, n, until), signature)
        if not good or until * 1000 < self._clock.now_ms():
            raise _gone()
        found = await self._db.read(lambda conn: _request(conn, video_id))
        media = StoredRequest.model_validate(found).media if found is not None else []
        if not 0 <= n < len(media) or media[n].storage_key is None:
            raise _gone()
        item = media[n]
        suffix = _SUFFIXES.get(item.media_type, "bin")
        version = f"{video_id}-{n}-{item.size}"
        return InputFile(item.storage_key or "", item.size, version, item.media_type, f"input.{suffix}")


def _signed(video_id: str, n: int, until: int) -> str:
    return f"input/{video_id}/{n}/{until}"


def _request(conn: Connection, video_id: str) -> Any:
    live = (videos.c.id == video_id, videos.c.state.not_in(TERMINAL))
    return conn.execute(select(videos.c.request).where(*live)).scalar()


def _gone() -> NotFound:
    return NotFound("There is no such file, or its address has ended.", code="input_not_found")
