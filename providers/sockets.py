"""Connections: who may be connected to, and how long a connection is kept. The layer beneath `providers.http`."""

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, cast

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection
from httpx_aiohttp import AiohttpTransport
from yarl import URL

from providers.contract import ErrorKind, ProviderError
from providers.urls import UnsafeUrl, allowed, is_public_address

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Answers the IP addresses of a host and port. Raises OSError where there are none."""

CONNECTIONS: Final = 128
# Shorter than the 5 s after which common servers drop an idle connection: a POST must not meet its end.
KEEPALIVE_SECONDS: Final = 3.0


class RefusedUrl(ProviderError, UnsafeUrl):
    """A stranger's URL that is not public, seen before or while connecting. Nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorKind.INPUT_MEDIA, message)


class CheckedResolver(AbstractResolver):
    """Resolves a name once and gives the connector only public addresses, so that is where it connects."""

    def __init__(self, resolve: Resolver, allowed_private_hosts: tuple[str, ...]) -> None:
        self._resolve = resolve
        self._allowed = allowed_private_hosts

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - both families are wanted
    ) -> list[ResolveResult]:
        """Answer the addresses of a host. Raises RefusedUrl if any of them is not public."""
        addresses = await self._resolve(host, port)
        if not addresses:
            raise OSError("the name has no address")
        if not allowed(host, port, self._allowed) and not all(map(is_public_address, addresses)):
            raise RefusedUrl("the URL's host resolves to a private or reserved address")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held open."""


_last_check: ContextVar[Callable[[], None] | None] = ContextVar("last_check", default=None)


@contextmanager
def checked_last(check: Callable[[], None]) -> Iterator[None]:
    """Call `check` once more before each request of this block, when its connection stands and no byte has left.

    What it raises is raised by the request, which is then not sent. To connect takes its time, and a process that is
    stopped meanwhile goes on in it long after its right to send has ended.
    """
    token = _last_check.set(check)
    try:
        yield
    finally:
        _last_check.reset(token)


class _Request(aiohttp.ClientRequest):
    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        if (check := _last_check.get()) is not None:
            check()
        return await super().send(conn)


class Session:
    """An aiohttp session given URLs exactly as they are: re-quoting them would break signed ones.

    It is its own factory, because httpx's transport asks for a session before each request.
    """

    def __init__(self, tls: ssl.SSLContext, resolver: AbstractResolver | None = None) -> None:
        connector = aiohttp.TCPConnector(
            limit=CONNECTIONS,
            resolver=resolver,
            use_dns_cache=resolver is None,
            ssl=tls,
            keepalive_timeout=KEEPALIVE_SECONDS,
        )
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), request_class=_Request
        )

    def __call__(self) -> "Session":
        return self

    def request(self, *, url: str, **options: Any) -> Any:
        """Send, as ClientSession.request does."""
        return self._session.request(url=URL(url, encoded=True), **options)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


class Transport(AiohttpTransport):
    """httpx's transport over one session of ours."""

    def __init__(self, session: Session, tls: ssl.SSLContext) -> None:
        super().__init__(verify=tls, client=cast("Callable[[], aiohttp.ClientSession]", session))
        self._ours = session

    async def aclose(self) -> None:
        """Close the session, which the parent class does not know as one."""
        await self._ours.close()


async def system_addresses(host: str, port: int) -> Sequence[str]:
    """Resolve as the operating system does."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def why_unconnected(error: Exception) -> str:
    """Why there is no connection, without the address: clients read this, and where an upstream lies is not theirs."""
    found = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(found, TimeoutError):
        return "no answer in time"
    if isinstance(found, ssl.SSLError | ssl.CertificateError):
        return f"TLS: {found.reason if isinstance(found, ssl.SSLError) else 'the certificate does not fit'}"
    if isinstance(found, OSError) and found.errno is not None and found.errno > 0:
        return os.strerror(found.errno)
    return str(getattr(found, "strerror", "") or type(found).__name__)
