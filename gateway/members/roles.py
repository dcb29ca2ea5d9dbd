"""What a member of an organization may do there, as the scopes of a key."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from gateway.principal import Scope


class Role(StrEnum):
    """From the most to the least."""

    OWNER = "owner"
    ADMIN = "admin"
    DEVELOPER = "developer"
    BILLING = "billing"
    VIEWER = "viewer"


_EVERYTHING: Final = frozenset(Scope) - {Scope.OPERATOR}
SCOPES: Final[Mapping[Role, frozenset[Scope]]] = {
    Role.OWNER: _EVERYTHING,
    Role.ADMIN: _EVERYTHING - {Scope.BILLING_WRITE},
    Role.DEVELOPER: frozenset(
        {
            Scope.VIDEOS_READ,
            Scope.VIDEOS_WRITE,
            Scope.FILES_READ,
            Scope.FILES_WRITE,
            Scope.WEBHOOKS,
            Scope.USAGE_READ,
        }
    ),
    Role.BILLING: frozenset({Scope.BILLING_READ, Scope.BILLING_WRITE, Scope.USAGE_READ}),
    Role.VIEWER: frozenset({Scope.VIDEOS_READ, Scope.FILES_READ, Scope.USAGE_READ}),
}

WORDS: Final[Mapping[Role, str]] = {
    Role.OWNER: "Everything, money and members included.",
    Role.ADMIN: "Keys, projects and members too; sees the books and budgets, does not pay or set them.",
    Role.DEVELOPER: "Makes videos, own API keys and webhooks; sees usage.",
    Role.BILLING: "Sees usage and the books, tops up, sets budgets.",
    Role.VIEWER: "Sees videos and usage, changes nothing.",
}


def may_manage(manager: Role, other: Role) -> bool:
    """Whether a member may give, change or take that role: owners all, admins all but owners."""
    return manager == Role.OWNER or (manager == Role.ADMIN and other != Role.OWNER)
