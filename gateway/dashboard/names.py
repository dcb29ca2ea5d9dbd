"""Names for people where the data has ids of keys and of persons."""

from collections.abc import Iterable

from gateway.keys.service import OPERATOR_KEY, KeyService
from gateway.members.service import MemberService
from gateway.members.sessions import Visitor


class Names:
    """Who is who in the visitor's organization."""

    def __init__(self, keys: KeyService, members: MemberService, visitor: Visitor) -> None:
        self._keys = keys
        self._members = members
        self._organization_id = visitor.organization_id

    async def of(self, ids: Iterable[str | None]) -> dict[str, str]:
        """Name callers by id: a key's own name, a person's, or the id itself where nobody knows it any more."""
        wanted = {each for each in ids if each}
        people = await self._members.names(wanted)
        keys = await self._keys.names(self._organization_id, wanted - set(people))
        told = {OPERATOR_KEY: "operator key"}
        return {each: people.get(each) or keys.get(each) or told.get(each, each) for each in wanted}
