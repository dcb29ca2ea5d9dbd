"""The attempts of a video as its owner sees them; the operator sees more."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from billing.money import format_usd
from gateway.jobs.poll_log import polls_of
from gateway.jobs.settle import PUBLIC_CODES
from gateway.videos import archive
from providers.contract import ErrorKind
from providers.spec import account_of_server

AttemptStatus = Literal[
    "submitting", "unknown", "running", "refused", "lost", "completed", "failed", "cancelled", "abandoned"
]

_STATUS: Final[dict[str, AttemptStatus]] = {"intent": "submitting"}
_ANSWERS: Final = frozenset({"running", "completed"})
_OURS: Final = frozenset({ErrorKind.PROVIDER_AUTH, ErrorKind.PROVIDER_FUNDS})


class _Answer(BaseModel):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class AttemptError(_Answer):
    """Why there was no video. `kind` and `http_status` are the operator's."""

    code: str
    message: str
    kind: str | None = None
    http_status: int | None = None


class AttemptCost(_Answer):
    """What the upstream takes, as it reports or as its prices say; for the operator."""

    usd: str | None
    source: Literal["reported", "estimated"]
    currency: str
    amount: str


class Poll(_Answer):
    """One question to the upstream: when, and what it answered. `outcome` is running, completed or the code of an
    error, for the operator its kind. `http_status` is the operator's."""

    at: int
    outcome: str
    progress: int | None
    http_status: int | None = None


class Attempt(_Answer):
    """One submission to one upstream. Times are unix seconds.

    refused: surely not taken, and asked again later or elsewhere. lost: its worker was lost, and another one makes the
    video. unknown: nobody can tell whether it was taken. abandoned: it went on after the video had ended.
    `polls` are the latest 100, for as long as the log of polls is kept.
    `upstream` is for the operator that server of a fleet which had it, "name@address".
    """

    id: str
    object: Literal["video.attempt"] = "video.attempt"
    number: int
    upstream: str
    model: str
    status: AttemptStatus
    created_at: int
    submitted_at: int | None
    finished_at: int | None
    error: AttemptError | None
    polls: list[Poll]


class OperatorAttempt(Attempt):
    """The same with what only the operator may know."""

    cost: AttemptCost | None
    credential_version: int | None
    handle: dict[str, Any] | None


class AttemptList(_Answer):
    """Every attempt of a video, the first one first; this list has no pages."""

    object: Literal["list"] = "list"
    data: list[Attempt]


def attempts_of(conn: Connection, video_id: str, *, operator: bool) -> list[dict[str, Any]]:
    """Read them all."""
    rows = archive.attempts_of(conn, video_id)
    polls = polls_of(conn, [row["id"] for row in rows])
    return [_shown(row, polls[row["id"]], operator=operator) for row in rows]


def _shown(row: Mapping[str, Any], polls: Sequence[Any], *, operator: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": row["id"],
        "number": row["n"],
        "upstream": row["upstream"] if operator else account_of_server(row["upstream"]),
        "model": row["upstream_model"],
        "status": _STATUS.get(row["state"], row["state"]),
        "created_at": row["created_at"] // 1000,
        "submitted_at": _seconds(row["submitted_at"]),
        "finished_at": _seconds(row["finished_at"]),
        "error": _error(row["error"], operator=operator) if row["error"] else None,
        "polls": [_poll(each, operator=operator) for each in polls],
    }
    if not operator:
        hidden: Any = {"error": {"kind", "http_status"}, "polls": {"__all__": {"http_status"}}}
        return Attempt(**shown).model_dump(mode="json", exclude=hidden)
    more = {"cost": _cost(row), "credential_version": row["credential_version"], "handle": row["handle"]}
    return OperatorAttempt(**shown, **more).model_dump(mode="json")


def _poll(row: Any, *, operator: bool) -> dict[str, Any]:
    answered = operator or row.outcome in _ANSWERS
    return {
        "at": row.at // 1000,
        "outcome": row.outcome if answered else PUBLIC_CODES.get(row.outcome, "provider_error"),
        "progress": row.progress,
        "http_status": row.http_status,
    }


def _error(error: dict[str, Any], *, operator: bool) -> dict[str, Any]:
    kind = ErrorKind(error["kind"])
    message = str(error["message"])[:500]
    if kind in _OURS and not operator:
        message = "The provider is not available to this gateway; its operator was told."
    told = {"kind": kind, "http_status": error.get("http_status")} if operator else {}
    return {"code": PUBLIC_CODES.get(kind, "provider_error"), "message": message, **told}


def _cost(row: Mapping[str, Any]) -> dict[str, Any] | None:
    if row["cost_amount"] is None:
        return None
    return {
        "usd": None if row["cost_micros"] is None else format_usd(row["cost_micros"]),
        "source": row["cost_source"],
        "currency": row["cost_currency"].lower(),
        "amount": row["cost_amount"],
    }


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000
