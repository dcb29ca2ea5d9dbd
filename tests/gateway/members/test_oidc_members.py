"""From an identity to a person, on both databases."""

import asyncio

import pytest

from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import Forbidden
from gateway.keys.service import KeyService
from gateway.members.oidc import Identity, OidcMembers
from gateway.settings import Oidc, Settings

pytestmark = pytest.mark.anyio
ADA = Identity("https://id.example.com", "subject-1", "ada@example.com", "Ada")


async def test_one_person_who_comes_twice_at_once_is_one_person(db: Database) -> None:
    await KeyService(db, Clock(), Settings(admin_key="k" * 40)).bootstrap()
    members = OidcMembers(db, Clock(), Oidc(default_role="viewer", allowed_domains=["example.com"]))
    found = await asyncio.gather(*(members.person(ADA) for _ in range(4)))
    assert len(set(found)) == 1
    other = Identity(ADA.issuer, "subject-2", ADA.email, "Eve")
    with pytest.raises(Forbidden):
        await members.person(other)
