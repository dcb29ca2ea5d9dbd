"""What the tests of authentication share: a clock, requests, and what a server saw of one."""

import json
from collections.abc import Mapping
from typing import Any

from providers.auth import Authenticate, Unsigned
from providers.contract import Account
from providers.http import HttpDoor
from tests.providers.wire import Exchange, serving


class Clock:
    """Unix time that stands still until it is moved."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def account(credential: str, **options: Any) -> Account:
    return Account("acme", "https://api.example.com", credential, options)


def unsigned(
    method: str = "GET",
    url: str = "https://api.example.com/",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Unsigned:
    return Unsigned(method, url, headers or {"host": "api.example.com"}, body)


async def sent(
    credential: str,
    method: str,
    path: str,
    authenticate: Authenticate | None = None,
    options: Mapping[str, Any] | None = None,
    **request: Any,
) -> tuple[Unsigned, str]:
    """Send one request through a door and answer it as the server read it, with its base URL."""
    seen: list[Unsigned] = []

    async def respond(exchange: Exchange) -> None:
        verb, target, _ = exchange.line.split(" ")
        body = await exchange.body()
        seen.append(Unsigned(verb, f"http://{exchange.headers['host']}{target}", exchange.headers, body))
        await exchange.answer(200, json.dumps({}).encode())

    door = HttpDoor()
    try:
        async with serving(respond) as served:
            base = f"http://127.0.0.1:{served.port}"
            client = door.account(Account("acme", base, credential, options or {}), authenticate=authenticate)
            await client.request(method, path, **request)
    finally:
        await door.close()
    return seen[0], base
