"""Our fakes before the vendors' own clients: what those cannot read or do not accept, the fake has wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conformance.clients import clients
from tests.conformance.official import PROMPT, OfficialClient, told
from tests.fakes import FakeProviders, fakes

NAMES = sorted(clients())


def cases(attribute: str) -> list[Any]:
    """Every client with each key of a table it declares."""
    return [
        pytest.param(name, fault, id=f"{name}-{fault}")
        for name in NAMES
        for fault in getattr(clients()[name], attribute)
    ]


@contextmanager
def client(server: FakeProviders, name: str, credential: str | None = None) -> Iterator[OfficialClient]:
    """The client before a fake that has forgotten everything and takes one credential only."""
    kind = clients()[name]
    server.reset()
    server.config(api_key=fakes()[kind.provider].credential, run_seconds=[0.3, 0.3])
    made = kind(server.origin, fakes()[kind.provider].credential if credential is None else credential)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_video_is_made_and_read(server: FakeProviders, name: str) -> None:
    with client(server, name) as official:
        ended = official.make(PROMPT)
    assert (ended.state, ended.reason) == (official.success, "")
    assert ended.video[4:8] == b"ftyp"
    counts = server.stats()
    assert counts["jobs"] == counts["calls"]["create"] == 1
    assert counts["calls"]["poll"] > 1


@pytest.mark.parametrize(("name", "fault"), cases("ends"))
def test_an_end_is_told(server: FakeProviders, name: str, fault: str) -> None:
    with client(server, name) as official:
        ended = official.make(f"{PROMPT} [fault:{fault}]")
    state, reason = official.ends[fault]
    assert ended.state == state
    assert reason in ended.reason
    assert not ended.video


@pytest.mark.parametrize(("name", "fault"), cases("refusals"))
def test_a_refusal_is_told(server: FakeProviders, name: str, fault: str) -> None:
    kind, part = clients()[name].refusals[fault]
    wrong = "wrong:wrong" if fault == "auth" else None
    with client(server, name, wrong) as official, pytest.raises(kind) as caught:
        official.make(PROMPT if fault == "auth" else f"{PROMPT} [fault:{fault}:9]")
    assert type(caught.value) is kind
    assert part in told(caught.value)


@pytest.mark.parametrize("name", [name for name in NAMES if clients()[name].cancelled])
def test_a_job_is_cancelled(server: FakeProviders, name: str) -> None:
    with client(server, name) as official:
        assert official.cancel(f"{PROMPT} [fault:never]") == official.cancelled
    assert server.stats()["live"] == 0
