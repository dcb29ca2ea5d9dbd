"""A fake upstream in its own process, and a door to it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from providers.http import HttpDoor
from providers.testing import FakeUpstream


@pytest.fixture(scope="session")
def fake_process() -> Iterator[FakeUpstream]:
    with FakeUpstream(poll_after_ms=20) as fake:
        yield fake


@pytest.fixture
def fake(fake_process: FakeUpstream) -> FakeUpstream:
    """The fake, without a past."""
    fake_process.reset()
    return fake_process


@pytest.fixture
async def door(fake_process: FakeUpstream) -> AsyncIterator[HttpDoor]:
    """A door that may reach the fake's foreign content."""
    opened = HttpDoor(allowed_private_hosts=(fake_process.foreign_host,))
    yield opened
    await opened.close()
