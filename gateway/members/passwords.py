"""Passwords: argon2id with RFC 9106's parameters for servers (64 MiB), checked off the event loop, two at a time."""

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, Final

from gateway.errors import BadRequest

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST: Final = 10
LONGEST: Final = 200
_AT_ONCE: Final = 2  # 64 MiB each


class Passwords:
    """Makes and checks hashes."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def hash(self, password: str) -> str:
        """Hash a new password. BadRequest for one that is too short or too long."""
        if not SHORTEST <= len(password) <= LONGEST:
            raise BadRequest(
                f"Choose a password of {SHORTEST} to {LONGEST} characters.",
                param="password",
                code="bad_password",
            )
        async with self._turn:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, hashed: str | None, password: str) -> bool:
        """Check a password. It takes as long where there is none to compare with, so nobody learns who has an account."""
        known = hashed or self._nobodys
        async with self._turn:
            right = await asyncio.to_thread(self._verify, known, password[:LONGEST])
        return right and hashed is not None

    def _verify(self, hashed: str, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415  (see _hasher)

        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    @cached_property
    def _hasher(self) -> "PasswordHasher":
        from argon2 import PasswordHasher  # noqa: PLC0415  (only where somebody signs in)

        return PasswordHasher()

    @cached_property
    def _nobodys(self) -> str:
        return self._hasher.hash("a password that nobody has")
