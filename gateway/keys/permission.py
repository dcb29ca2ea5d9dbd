"""Who may manage which keys: administrators those of their organization, a person without that right the own ones."""

from typing import Final

from gateway.errors import Forbidden
from gateway.principal import DEFAULT_SCOPES, Principal, Scope

PERSONAL_SCOPES: Final = frozenset((*DEFAULT_SCOPES, Scope.WEBHOOKS, Scope.USAGE_READ))
"""The most that a key made by a person who does not manage the organization may do."""

_PERSON: Final = "user_"


def is_person(principal: Principal) -> bool:
    """Tell a signed-in person from a key."""
    return principal.key_id.startswith(_PERSON)


def manages_all_keys(principal: Principal) -> bool:
    """Tell whether every key of the organization is the caller's to manage."""
    return bool({Scope.ORGANIZATION, Scope.OPERATOR} & principal.scopes)


def makes_own_keys(principal: Principal) -> bool:
    """Tell whether the caller is a person who may make keys for the own work: one who may make videos."""
    return is_person(principal) and Scope.VIDEOS_WRITE in principal.scopes


def maker(principal: Principal) -> str | None:
    """Name the person to note as a key's maker; None for one that is made by another key."""
    return principal.key_id if is_person(principal) else None


def only_made_by(principal: Principal) -> str | None:
    """Name the person whose keys alone the caller may see and end; None for all. Forbidden for everybody else."""
    if manages_all_keys(principal):
        return None
    if not makes_own_keys(principal):
        principal.require(Scope.ORGANIZATION)
    return principal.key_id


def grantable(principal: Principal) -> frozenset[Scope]:
    """List the scopes that the caller may give a key: a person never more than the own ones."""
    if Scope.OPERATOR in principal.scopes:
        return frozenset(Scope)
    if manages_all_keys(principal) and is_person(principal):
        return principal.scopes
    if manages_all_keys(principal):
        return frozenset(Scope) - {Scope.OPERATOR}
    return PERSONAL_SCOPES & principal.scopes if makes_own_keys(principal) else frozenset()


def may_grant(principal: Principal, scopes: frozenset[Scope]) -> None:
    """Forbidden where a key would get more than its maker may give."""
    beyond = sorted(scopes - grantable(principal))
    if not beyond:
        return
    if beyond == [Scope.OPERATOR]:
        raise Forbidden("Only the operator may give a key the scope 'operator'.", param="scopes")
    names = ", ".join(f"'{scope}'" for scope in beyond)
    raise Forbidden(
        f"You may not give a key the scope {names}: ask an administrator of your organization.",
        param="scopes",
    )
