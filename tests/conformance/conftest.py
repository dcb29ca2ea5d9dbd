"""The fakes in a process of their own, and no way out of this machine."""

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes import FakeProviders


@pytest.fixture(scope="session")
def server() -> Iterator[FakeProviders]:
    """Every fake."""
    with FakeProviders() as fakes:
        yield fakes


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that was not turned to the fake must fail, not call its vendor."""
    connect = socket.socket.connect

    def local(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            host = ipaddress.ip_address(address[0] if address[0] != "localhost" else "127.0.0.1")
            assert host.is_loopback, f"a connection to {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
