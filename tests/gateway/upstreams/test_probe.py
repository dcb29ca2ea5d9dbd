"""The check of an upstream: of every adapter, right and wrong credentials are told apart, and nothing is created."""

import time
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.upstreams.probe import probe
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders, fakes

WRONG = "another-access-key:another-secret-key"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProviders]:
    with FakeProviders() as started:
        yield started


@pytest.fixture
async def door(fake: FakeProviders) -> AsyncIterator[HttpDoor]:
    opened = HttpDoor(allowed_private_hosts=(fake.foreign_host,))
    yield opened
    await opened.close()


@pytest.mark.parametrize("name", sorted(fakes()))
async def test_a_check_proves_the_credential_and_costs_nothing(
    fake: FakeProviders, door: HttpDoor, name: str
) -> None:
    fake.reset()
    fake.config(api_key=fakes()[name].credential)
    right = await probe(build_adapter(fake.upstream(name), door), time.monotonic)
    wrong = await probe(build_adapter(fake.upstream(name, api_key=WRONG), door), time.monotonic)
    assert (right.verdict, wrong.verdict) == ("ok", "refused"), (right.detail, wrong.detail)
    assert fake.stats()["calls"].get("create", 0) == 0
    assert fake.requests()
