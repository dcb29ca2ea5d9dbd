"""Upstreams may call back when a job changes. A call only makes its job due now: polling stays the truth."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Row, select, update

from gateway.crypto import SecretBox
from gateway.db import Database, now_ms
from gateway.errors import Forbidden, PayloadTooLarge, Unavailable
from gateway.events import Hints
from gateway.jobs.tables import attempts, jobs
from gateway.videos.routing import Catalogue
from gateway.videos.states import State
from providers.contract import Adapter, CallbackRefused, ProviderError, VerifiesCallbacks
from providers.spec import UpstreamSpec

log = structlog.get_logger(__name__)

PATH: Final = "/v1/callbacks"
LONGEST_BODY: Final = 256 * 1024
_LONGEST_CHALLENGE: Final = 1000


class Callbacks:
    """Addresses that cannot be guessed, one per attempt; none without `public_url` (ONEREEL_PUBLIC_URL)."""

    def __init__(
        self,
        db: Database,
        secrets: SecretBox,
        hints: Hints,
        public_url: str | None,
        *,
        catalogue: Catalogue,
        adapter: Callable[[UpstreamSpec], Adapter],
    ) -> None:
        self._db = db
        self._secrets = secrets
        self._hints = hints
        self._public_url = public_url.rstrip("/") if public_url else None
        self._catalogue = catalogue
        self._adapter = adapter

    def url(self, attempt_id: str) -> str | None:
        """Where the upstream of this attempt may call."""
        if self._public_url is None:
            return None
        return f"{self._public_url}{PATH}/{attempt_id}/{self._secrets.signature(attempt_id)}"

    def is_ours(self, attempt_id: str, token: str) -> bool:
        """Whether we gave out this address."""
        return self._secrets.is_signature(attempt_id, token)

    async def receive(
        self, attempt_id: str, headers: Mapping[str, str], body: bytes | None
    ) -> dict[str, Any] | None:
        """Poll the attempt's job now; any number of times is harmless. `body` None: it was too long to be read.

        Where the upstream proves its calls, one without proof is Forbidden (callback_refused). An upstream that asks
        for a word first gets it back, in the answer.
        """
        attempt = await self._db.read(lambda conn: _attempt(conn, attempt_id))
        if attempt is None:
            return None
        verifier = self._verifier(attempt)
        if verifier is not None and attempt.handle is None:
            return None  # the create is not answered yet: nothing to prove it by, and nothing to poll
        if verifier is not None:
            await _verify(verifier, attempt, headers, body)
        elif (challenge := _challenge(body)) is not None:
            return {"challenge": challenge}
        await self._db.write(lambda conn: _make_due(conn, attempt.video_id, attempt_id))
        self._hints.jobs_due()
        return None

    def _verifier(self, attempt: Row[Any]) -> VerifiesCallbacks | None:
        upstream = self._catalogue.upstream(attempt.upstream)
        if upstream is None:
            return None
        adapter = self._adapter(self._catalogue.with_version(upstream, attempt.credential_version))
        return adapter if isinstance(adapter, VerifiesCallbacks) else None


async def _verify(
    adapter: VerifiesCallbacks, attempt: Row[Any], headers: Mapping[str, str], body: bytes | None
) -> None:
    if body is None:
        raise PayloadTooLarge(f"A callback has at most {LONGEST_BODY} bytes.")
    try:
        await adapter.verify_callback(attempt.handle, headers, body)
    except CallbackRefused as error:
        log.warning("callback_refused", upstream=attempt.upstream, attempt_id=attempt.id, reason=str(error))
        raise Forbidden(
            "This callback does not prove where it comes from.", code="callback_refused"
        ) from None
    except ProviderError as error:
        log.warning("callback_not_verified", upstream=attempt.upstream, reason=error.message)
        raise Unavailable("The callback cannot be verified right now; call again.") from None


def _challenge(body: bytes | None) -> str | None:
    """The word that an upstream wants to see before it trusts an address (MiniMax does)."""
    try:
        said = json.loads(body or b"")
    except ValueError:
        return None
    word = said.get("challenge") if isinstance(said, dict) else None
    return word if isinstance(word, str) and 0 < len(word) <= _LONGEST_CHALLENGE else None


def _attempt(conn: Connection, attempt_id: str) -> Any:
    columns = (
        attempts.c.id,
        attempts.c.video_id,
        attempts.c.upstream,
        attempts.c.handle,
        attempts.c.credential_version,
    )
    return conn.execute(select(*columns).where(attempts.c.id == attempt_id)).first()


def _make_due(conn: Connection, video_id: str, attempt_id: str) -> None:
    conn.execute(
        update(jobs)
        .where(jobs.c.id.in_([video_id, attempt_id]), jobs.c.state.in_([State.RUNNING, "watching"]))
        .where(jobs.c.due > now_ms())
        .values(due=now_ms())
    )
