"""What happened, in words: the audit log's types and the difference that a change made."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from gateway.usage.view import iso

TYPES: Final[Mapping[str, str]] = {
    "api_key.created": "API key made",
    "api_key.updated": "API key changed",
    "api_key.deleted": "API key revoked",
    "budget.created": "Budget set",
    "budget.updated": "Budget changed",
    "budget.deleted": "Budget removed",
    "credit.granted": "Credit given",
    "credit.adjusted": "Credit corrected",
    "invite.deleted": "Invitation withdrawn",
    "invite.sent": "Invitation made",
    "notice.resolved": "Notice dealt with",
    "organization.created": "Organization made",
    "organization.updated": "Organization changed",
    "project.archived": "Project archived",
    "project.created": "Project made",
    "project.updated": "Project renamed",
    "recharge.updated": "Automatic recharge set",
    "share_link.created": "Public link made",
    "share_link.deleted": "Public link withdrawn",
    "upstream.created": "Upstream added",
    "upstream.deleted": "Upstream removed",
    "upstream.paused": "Upstream paused",
    "upstream.resumed": "Upstream resumed",
    "upstream.rotated": "Upstream's credentials replaced",
    "upstream.updated": "Upstream changed",
    "user.added": "Member joined",
    "user.deleted": "Member removed",
    "user.identity_linked": "Sign-in of an identity provider linked",
    "user.password_changed": "Password changed",
    "user.password_link": "Link for a new password made",
    "user.updated": "Member's role changed",
    "video.deleted": "Video deleted",
    "video.refunded": "Video refunded",
    "video.unknown_ended": "Wait for a lost answer given up",
    "video.upstream_charged": "Provider's charge booked",
    "webhook_endpoint.created": "Webhook endpoint added",
    "webhook_endpoint.deleted": "Webhook endpoint deleted",
    "webhook_endpoint.secret_rotated": "Webhook secret replaced",
    "webhook_endpoint.updated": "Webhook endpoint changed",
}
_EMPTY: Final[Any] = (None, "", [], {})
_OWN: Final = ("id", "object", "organization_id", "project_id", "created_at", "updated_at")


class Difference(NamedTuple):
    """One field: what it was and what it is, as text; None where there was or is nothing to say."""

    field: str
    was: str | None
    now: str | None


def words_of(event_type: str) -> str:
    """Say what happened; a type that has no words here says itself."""
    return TYPES.get(event_type, event_type.replace("_", " ").replace(".", ": "))


def differences(entry: Mapping[str, Any]) -> list[Difference]:
    """List the fields of an entry of the audit log that are worth reading."""
    told = entry[entry["type"]]
    before = told.get("before") or {}
    after = told.get("changes_requested") or told.get("data") or {}
    changed = "before" in told and "changes_requested" in told
    found = []
    for name in [*before, *(each for each in after if each not in before)]:
        if not changed and (name in _OWN or (before.get(name) in _EMPTY and after.get(name) in _EMPTY)):
            continue
        found.append(
            Difference(
                name.replace("_", " "),
                _text(name, before[name]) if name in before else None,
                _text(name, after[name]) if name in after else None,
            )
        )
    return found


def name_in(entry: Mapping[str, Any]) -> str | None:
    """Find the name of the changed object where the entry itself has it."""
    told = entry[entry["type"]]
    for part in ("data", "before", "changes_requested"):
        name = (told.get(part) or {}).get("name")
        if isinstance(name, str):
            return name
    return None


def _text(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_at") and isinstance(value, int):
        return iso(value * 1000)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value) or "none"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
