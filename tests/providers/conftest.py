"""The fake upstreams in a process of their own, and a door to them."""

from collections.abc import AsyncIterator, Iterator

import pytest

from providers.http import HttpDoor
from tests.fakes import FakeProviders


@pytest.fixture(scope="session")
def fake_process() -> Iterator[FakeProviders]:
    with FakeProviders(poll_after_ms=20) as fake:
        yield fake


@pytest.fixture
def fake(fake_process: FakeProviders) -> FakeProviders:
    """The fakes, without a past."""
    fake_process.reset()
    return fake_process


@pytest.fixture
async def door(fake_process: FakeProviders) -> AsyncIterator[HttpDoor]:
    """A door that may reach the fakes' foreign content."""
    opened = HttpDoor(allowed_private_hosts=(fake_process.foreign_host,))
    yield opened
    await opened.close()
