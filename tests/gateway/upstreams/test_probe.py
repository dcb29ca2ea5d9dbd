"""Checks of every adapter against its provider's fake: a right credential is told from a wrong one, and nothing is made."""

import time
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.upstreams.probe import Probed, probe
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders, fakes


@pytest.fixture(scope="module")
def fake_process() -> Iterator[FakeProviders]:
    with FakeProviders() as fake:
        yield fake


@pytest.fixture
async def door() -> AsyncIterator[HttpDoor]:
    opened = HttpDoor()
    yield opened
    await opened.close()


@pytest.mark.parametrize("name", sorted(fakes()))
async def test_a_check_tells_a_right_credential_from_a_wrong_one(
    fake_process: FakeProviders, door: HttpDoor, name: str
) -> None:
    fake_process.reset()
    fake_process.config(api_key=fakes()[name].credential)
    right = await probe(build_adapter(fake_process.upstream(name), door), time.monotonic)
    assert right.verdict in {"ok", "reached", "untested"}, right
    fake_process.config(api_key="another")
    wrong = await probe(build_adapter(fake_process.upstream(name), door), time.monotonic)
    assert wrong.verdict == ("untested" if right.verdict == "untested" else "refused"), wrong
    assert fake_process.stats()["jobs"] == 0


async def test_what_does_not_answer_is_unreachable(fake_process: FakeProviders, door: HttpDoor) -> None:
    spec = fake_process.upstream("openai_compatible", base_url="http://127.0.0.1:9/v1")
    found = await probe(build_adapter(spec, door), time.monotonic)
    assert (found.verdict, found.usable) == ("unreachable", False)


def test_only_what_proves_something_is_usable() -> None:
    usable = [Probed(each, "", 0).usable for each in ("ok", "reached", "untested", "refused", "unreachable")]
    assert usable == [True, True, True, False, False]
