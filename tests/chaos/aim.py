"""Kills its own process at one exact place of a transaction: after its nth statement, at or after its COMMIT.

CHAOS_AIM is `what:where:token`. What: `complete`, `fail` (both settle a video) or `receive` (an event of Stripe).
Where: a number of statements that the transaction has made since that function was entered, or `committed`. The
token is in the prompt of the video, or the id of the event: everything else goes on untouched. A number that is
higher than the statements there are kills right before COMMIT. CHAOS_AIM_LOG gets `where<tab>statement`.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.default import DefaultDialect

from gateway.billing import stripe
from gateway.jobs import outcome, store

COMMITTED: Final = "committed"
BEFORE_COMMIT: Final = "COMMIT"


def _prompts(_conn: Connection, items: Any) -> str:
    return " ".join(item.rows.video.prompt or "" for item in items)


def _prompt(_conn: Connection, _lease: Any, rows: Any, _failure: Any) -> str:
    return rows.video.prompt or ""


def _event_id(_conn: Connection, received: Any, _now: int) -> str:
    return str(received.id)


_TARGETS: Final[dict[str, tuple[Any, Callable[..., str]]]] = {
    "complete": (store, _prompts),
    "fail": (outcome, _prompt),
    "receive": (stripe, _event_id),
}


@dataclass
class Aim:
    """One process is killed once."""

    where: str
    token: str
    log: str
    conn: Connection | None = None
    made: int = 0

    def enter(self, conn: Connection, text: str) -> None:
        """The function is called for what the token names, or for something else."""
        if self.token in text.split():
            self.conn, self.made = conn, 0
            self.strike("0", "before the first")

    def strike(self, where: str, statement: str) -> None:
        """End this process, if this is the place."""
        if where != self.where:
            return
        file = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{where}\t{' '.join(statement.split())[:60]}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)

    def executed(self, conn: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        """A statement was made."""
        if conn is self.conn:
            self.made += 1
            self.strike(str(self.made), statement)

    def commit(self, real: Callable[..., None], dialect: Any, dbapi: Any) -> None:
        """COMMIT, of this transaction or another."""
        ours = self.conn is not None and self.conn.connection is dbapi
        if ours and self.where != COMMITTED:
            self.where = BEFORE_COMMIT
            self.strike(BEFORE_COMMIT, f"{BEFORE_COMMIT} after {self.made} statements")
        real(dialect, dbapi)
        if ours:
            self.strike(COMMITTED, COMMITTED)


def take_aim(description: str, log: str) -> None:
    """Make this process kill itself as described; nothing for an empty description."""
    if not description:
        return
    what, where, token = description.split(":", 2)
    module, text_of = _TARGETS[what]
    aim = Aim(where, token, log)
    real = module.__dict__[what]

    def aimed(conn: Connection, *rest: Any) -> Any:
        aim.enter(conn, text_of(conn, *rest))
        return real(conn, *rest)

    setattr(module, what, aimed)
    event.listen(Engine, "after_cursor_execute", aim.executed)
    commit = DefaultDialect.do_commit
    setattr(DefaultDialect, "do_commit", lambda dialect, dbapi: aim.commit(commit, dialect, dbapi))  # noqa: B010
