"""People who look at the pages of a running gateway, without a browser.

with visiting(settings_for(tmp_path)) as visit:
    assert "Members" in visit.page("/members")
    visit.post("/members/invitations", {"role": "viewer"})
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from typing import Any

import httpx

from gateway.clock import Clock
from gateway.crypto import open_secret_box
from gateway.settings import Settings
from providers.sockets import Resolver, system_addresses
from tests.gateway.live import Live, live

PASSWORD = "a good long password"
_TOKEN = re.compile(r'name="csrf" value="(\w+)"')
_LINK = re.compile(r"(/invitations/[\w-]+)")


@dataclass
class Visit:
    """One person in front of one gateway. `client` has the session's cookie and follows no redirects."""

    live: Live
    client: httpx.Client
    email: str
    _opened: list[httpx.Client] = field(default_factory=list)

    @property
    def operator(self) -> httpx.Client:
        """Call the API with the operator's key."""
        client = self.live.client()
        self._opened.append(client)
        return client

    def page(self, path: str, status: int = 200) -> str:
        """Read a page."""
        answer = self.client.get(path)
        assert answer.status_code == status, f"{path} answered {answer.status_code}: {answer.text[:2000]}"
        return answer.text

    def post(
        self,
        path: str,
        fields: Mapping[str, Any] | None = None,
        files: Any = None,
        *,
        status: int | None = None,
    ) -> httpx.Response:
        """Send a form as our JavaScript does; errors come as JSON. Without `status` it must not be refused."""
        data = {"csrf": self.csrf, **(fields or {})}
        answer = self.client.post(path, data=data, files=files, headers={"X-Onereel": "fetch"})
        expected = (200, 303) if status is None else (status,)
        assert answer.status_code in expected, f"{path} answered {answer.status_code}: {answer.text[:2000]}"
        return answer

    @property
    def csrf(self) -> str:
        """The token of this session's forms."""
        found = _TOKEN.search(self.page("/account"))
        assert found
        return found[1]

    def member(self, role: str, email: str | None = None) -> "Visit":
        """Invite somebody with a role, and sign in as that person."""
        made = self.post("/members/invitations", {"role": role})
        path = _LINK.findall(unescape(made.text))[-1]
        other = Visit(self.live, _client(self.live), email or f"{role}@example.com", self._opened)
        self._opened.append(other.client)
        sign_up(other.client, path, other.email, role.title())
        return other


def sign_up(client: httpx.Client, path: str, email: str, name: str = "Ada") -> None:
    """Make the account that an invitation is for."""
    fields = {"name": name, "email": email, "password": PASSWORD, "password_again": PASSWORD}
    answer = client.post(path, data=fields)
    assert answer.status_code == 303, answer.text[:2000]


def first_path(settings: Settings) -> str:
    """The link that `onereel serve` prints."""
    return f"/invitations/{open_secret_box(settings).signature('the first visit')}"


def _client(running: Live) -> httpx.Client:
    return httpx.Client(base_url=running.base_url, timeout=30, verify=False)


@contextmanager
def visiting(
    settings: Settings, clock: Clock | None = None, *, resolve: Resolver = system_addresses
) -> Iterator[Visit]:
    """Serve, and sign in the owner of the installation."""
    with live(settings, clock, resolve=resolve) as running, _client(running) as client:
        sign_up(client, first_path(settings), "owner@example.com")
        visit = Visit(running, client, "owner@example.com")
        try:
            yield visit
        finally:
            for each in visit._opened:
                each.close()
