"""Names for people where the data has ids: of keys, persons, projects and organizations."""

from collections.abc import Iterable
from typing import Final

from gateway.keys.service import OPERATOR_KEY, KeyService
from gateway.members.service import MemberService
from gateway.members.sessions import Visitor
from gateway.principal import Scope

_AT_ONCE: Final = 1000  # bound parameters of one statement


class Names:
    """Who and what is called how in the visitor's organization; to operators in every one."""

    def __init__(self, keys: KeyService, members: MemberService, visitor: Visitor) -> None:
        self._keys = keys
        self._members = members
        self._organization_id = None if visitor.may(Scope.OPERATOR) else visitor.organization_id

    async def of(self, ids: Iterable[str | None]) -> dict[str, str]:
        """Name them all by id; what nobody knows is called by its id."""
        wanted = {each for each in ids if each}
        return {each: each for each in wanted} | await self.known(wanted)

    async def known(self, ids: Iterable[str | None]) -> dict[str, str]:
        """Name those that have a name, also of what has ended."""
        wanted = sorted({each for each in ids if each})
        found = {OPERATOR_KEY: "operator key"} if OPERATOR_KEY in wanted else {}
        for some in (wanted[start : start + _AT_ONCE] for start in range(0, len(wanted), _AT_ONCE)):
            found |= await self._keys.names(self._organization_id, some)
            found |= await self._members.names(some)
        return found
