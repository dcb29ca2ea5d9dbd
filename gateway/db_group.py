"""Group commit, shared by both databases: run many callers' work in one transaction, each on its own terms."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway.db import BatchHandler


@dataclass(slots=True, eq=False)
class Work:
    """One caller's piece: a function of its own, or an item for a set-based handler."""

    future: asyncio.Future[Any]
    fn: Callable[[Connection], Any] | None = None
    handler: BatchHandler[Any, Any] | None = None
    item: Any = None


Savepoint = Callable[[Connection, Callable[[], Any]], Any]
"""Runs the call so that its failure undoes only its own statements."""

Outcome = tuple[Work, Any]  # an Exception as outcome is raised to that caller


class DatabaseAway(SQLAlchemyError):
    """The server cannot be reached, or takes nothing now. A write that it went away on may stand: only rows tell."""


class TransactionLost(Exception):
    """The database itself rolled the whole transaction back (disk full, deadlock): nobody's work stands."""


def run_group(conn: Connection, group: Sequence[Work], savepoint: Savepoint) -> list[Outcome]:
    """Run every piece inside the open transaction; `savepoint(conn, call)` isolates one failure."""
    outcomes: list[Outcome] = [
        (work, _attempt(conn, partial(work.fn, conn), savepoint)) for work in group if work.fn is not None
    ]
    for handler, members in _by_handler(group).items():
        outcomes.extend(_run_batch(conn, handler, members, savepoint))
    return outcomes


def _run_batch(
    conn: Connection, handler: BatchHandler[Any, Any], members: Sequence[Work], savepoint: Savepoint
) -> list[Outcome]:
    """Run the handler for all at once; a batch that fails is run again item by item, so only the guilty fail."""
    answer = _attempt(conn, partial(handler, conn, [work.item for work in members]), savepoint)
    if not isinstance(answer, Exception):
        return list(zip(members, answer, strict=True))
    if len(members) == 1:
        return [(members[0], answer)]
    return [outcome for work in members for outcome in _run_batch(conn, handler, [work], savepoint)]


def _attempt(conn: Connection, call: Callable[[], Any], savepoint: Savepoint) -> Any:
    try:
        return savepoint(conn, call)
    except TransactionLost:
        raise
    except Exception as error:
        return error


def _by_handler(group: Sequence[Work]) -> dict[BatchHandler[Any, Any], list[Work]]:
    found: dict[BatchHandler[Any, Any], list[Work]] = {}
    for work in group:
        if work.handler is not None:
            found.setdefault(work.handler, []).append(work)
    return found


def settle(outcomes: Iterable[Outcome]) -> None:
    """Hand results to their callers (on the event loop)."""
    for work, outcome in outcomes:
        if work.future.done():
            continue
        if isinstance(outcome, Exception):
            work.future.set_exception(outcome)
        else:
            work.future.set_result(outcome)
