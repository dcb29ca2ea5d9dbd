"""The one transition table of a video, and what the public sees of it."""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Every state ever shipped; a release keeps a handler for each of them."""

    PREPARING = "preparing"  # input URLs are being copied into our storage
    QUEUED = "queued"
    SUBMITTING = "submitting"  # the attempt is committed, the answer is not
    SUBMISSION_UNKNOWN = "submission_unknown"
    RUNNING = "running"
    STORING = "storing"
    COMPLETED = "completed"
    FAILED = "failed"


S = State
TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    S.PREPARING: frozenset({S.QUEUED, S.FAILED}),
    S.QUEUED: frozenset({S.SUBMITTING, S.FAILED}),
    S.SUBMITTING: frozenset({S.RUNNING, S.QUEUED, S.SUBMISSION_UNKNOWN, S.FAILED}),
    S.SUBMISSION_UNKNOWN: frozenset({S.RUNNING, S.SUBMITTING, S.FAILED}),
    S.RUNNING: frozenset({S.STORING, S.QUEUED, S.FAILED}),
    S.STORING: frozenset({S.COMPLETED, S.RUNNING, S.QUEUED, S.FAILED}),
    S.COMPLETED: frozenset(),
    S.FAILED: frozenset(),
}
TERMINAL: Final = frozenset({S.COMPLETED, S.FAILED})
LIVE: Final = frozenset(State) - TERMINAL

PUBLIC: Final[dict[State, str]] = {
    S.PREPARING: "queued",
    S.QUEUED: "queued",
    S.SUBMITTING: "queued",
    S.SUBMISSION_UNKNOWN: "in_progress",
    S.RUNNING: "in_progress",
    S.STORING: "in_progress",
    S.COMPLETED: "completed",
    S.FAILED: "failed",
}
ENDED: Final = frozenset(PUBLIC[state] for state in TERMINAL)
"""What the public calls a video that changes no more."""


def check_transition(before: State, after: State) -> None:
    """AssertionError for a step that the table does not know: a bug, never a client's fault."""
    if after not in TRANSITIONS[before]:
        raise AssertionError(f"a video never goes from {before} to {after}")
