"""The one door to the network: everything the gateway asks of another server goes through `HttpDoor`.

Two kinds of connections, kept apart:
- an account's own base_url is trusted, private or not, for exactly its scheme, host and port, and only it
  gets the account's credential (`HttpDoor.account`);
- every other URL is a stranger's: each hop is checked, and connected to an address that was checked
  (`HttpDoor.fetch`, `HttpDoor.post`).
"""

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Final, NoReturn, cast
from urllib.parse import urljoin

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream

from providers import sockets
from providers.answers import Errors, Response, error_from, refused
from providers.auth import Authenticate, Unsigned, auth_headers
from providers.contract import Account, Content, ErrorKind, ProviderError
from providers.http_bodies import checked_content, chunks, content_of
from providers.multipart import FormField, MultipartBody
from providers.sockets import CheckedResolver, RefusedUrl, Resolver, Session, Transport, system_addresses
from providers.urls import UnsafeUrl, check_public_url, origin

__all__ = ["AccountClient", "HttpDoor", "RefusedUrl"]

CONNECT_SECONDS: Final = 10.0
MAX_REDIRECTS: Final = 3
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
CHUNK_BYTES: Final = 128 * 1024
HTTPS_PORT: Final = 443

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CREDENTIALS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
_NOT_SENT: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


def _tls_context() -> ssl.SSLContext:
    """One for the process and the authorities that it is told to believe: reading them takes 20 ms."""
    return _tls_context_of(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _tls_context_of(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()


class HttpDoor:
    """All outgoing HTTP of one process. Connections are opened on first use and shared.

    `allowed_private_hosts` ("host:port") are the only private targets of strangers' URLs. `resolver`
    replaces the system's name resolution for those URLs. `traceparent` gives the trace context of the moment, which
    only accounts that are `traced` are told.
    """

    def __init__(
        self,
        *,
        allowed_private_hosts: tuple[str, ...] = (),
        resolver: Resolver | None = None,
        traceparent: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.traceparent = traceparent
        self._allowed = allowed_private_hosts
        self._resolver = CheckedResolver(resolver or system_addresses, allowed_private_hosts)
        self._trusted: AiohttpTransport | None = None
        self._public: AiohttpTransport | None = None

    async def close(self) -> None:
        """Close every connection."""
        for transport in (self._trusted, self._public):
            if transport is not None:
                await transport.aclose()
        self._trusted = self._public = None

    def account(
        self,
        account: Account,
        *,
        authenticate: Authenticate | None = None,
        hosts: Sequence[str] = (),
        errors: Errors = refused,
    ) -> "AccountClient":
        """A client for one account's API.

        `authenticate` makes the credential's headers anew for each request, in the place of `auth_headers`.
        `hosts` are further hosts of the provider that its answers may name, over https: "*.bfl.ai".
        `errors` says of every whole answer, 2xx too, which error it is: an `ErrorTable` of the provider.
        """
        return AccountClient(self, account, authenticate, hosts, errors)

    async def fetch(
        self,
        url: str,
        *,
        max_bytes: int,
        timeout: float,  # noqa: ASYNC109 - also bounds the reading of the body, after this returns
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
    ) -> Content:
        """Open a stranger's URL; `timeout` in seconds bounds the whole download.

        Raises RefusedUrl, ProviderError INPUT_MEDIA (final: refused by its server, too large) or
        PROVIDER_UNAVAILABLE (may work later); so does reading the chunks.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        sent = {k: v for k, v in (headers or {}).items() if k.lower() not in _CREDENTIALS}
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self.open_public(method, url, headers=sent, timeout=timeout, deadline=deadline)
            if answer.status_code not in _REDIRECTS:
                return await checked_content(answer, max_bytes, deadline)
            url = await _next_hop(answer, url)
        raise RefusedUrl(f"the URL redirects more than {MAX_REDIRECTS} times")

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> int:  # noqa: ASYNC109 - handed on
        """Deliver to a stranger's URL and answer the HTTP status; redirects are not followed.

        Raises RefusedUrl, or ProviderError PROVIDER_UNAVAILABLE where no answer came in `timeout` seconds.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        sent = dict(headers)
        answer = await self.open_public(
            "POST", url, headers=sent, timeout=timeout, deadline=deadline, body=body
        )
        await answer.aclose()
        return answer.status_code

    async def open_public(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout: float,  # noqa: ASYNC109 - handed on
        deadline: float,
        body: bytes | None = None,
    ) -> httpx.Response:
        """One hop to a stranger's URL; the connector lets only checked addresses through."""
        try:
            check_public_url(url, self._allowed)
        except UnsafeUrl as error:
            raise RefusedUrl(str(error)) from error
        try:
            request = httpx.Request(method, url, headers={**_PLAIN, **headers}, content=body)
        except (httpx.InvalidURL, ValueError) as error:
            raise RefusedUrl("the URL is malformed") from error
        if self._public is None:
            self._public = Transport(Session(_tls_context(), self._resolver), _tls_context())
        return await _send(self._public, request, timeout, deadline)

    async def open_trusted(
        self,
        request: httpx.Request,
        timeout: float,  # noqa: ASYNC109 - handed on
        deadline: float,
    ) -> httpx.Response:
        """One hop to an account's own server."""
        if self._trusted is None:
            self._trusted = Transport(Session(_tls_context()), _tls_context())
        return await _send(self._trusted, request, timeout, deadline)


class AccountClient:
    """Requests to one account's API: relative paths, credential added, failures as ProviderError."""

    def __init__(
        self,
        door: HttpDoor,
        account: Account,
        authenticate: Authenticate | None,
        hosts: Sequence[str],
        errors: Errors,
    ) -> None:
        self._door, self._errors = door, errors
        self._account = account
        self._base = account.base_url.rstrip("/")
        self._origin = origin(self._base)
        self._hosts = hosts
        self._auth = {} if authenticate else auth_headers(account)
        self._authenticate = authenticate

    async def request(
        self,
        method: str,
        path_or_url: str,
        *,
        json: Any = None,
        form: Sequence[FormField] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,  # noqa: ASYNC109 - also sets the connect timeout
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Response:
        """Send one request (`content`: a body as it is) and read the whole answer. `timeout` in seconds, overall.

        A path is under `base_url`; a URL that the upstream named must be its own or one of its `hosts`.
        Raises ProviderError for what `errors` refuses; `ambiguous` where the upstream may have acted.
        """
        multipart = None if form is None else MultipartBody(form)
        url = self._base + path_or_url if path_or_url.startswith("/") else self._trusted(path_or_url)
        request = await self._request(method, url, headers, json=json, content=content, multipart=multipart)
        deadline = asyncio.get_running_loop().time() + timeout
        try:
            answer = await self._door.open_trusted(request, timeout, deadline)
        except ProviderError as error:
            verdict = error if multipart is None else multipart.verdict(error)
            if verdict is error:
                raise
            raise verdict from error
        response = await self._read(answer, max_bytes, deadline)
        if (refusal := self._errors(response)) is not None:
            raise refusal
        return response

    async def stream(
        self,
        method: str,
        path_or_url: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = 4 * 1024**3,
        timeout: float = 900.0,  # noqa: ASYNC109 - also bounds the reading of the body, after this returns
    ) -> Content:
        """Open a download. Only the account's own origin gets the credential; other URLs are `fetch`ed.

        Raises ProviderError: CONTENT_EXPIRED where a foreign address no longer works, else as `request`.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        url = self._base + path_or_url if path_or_url.startswith("/") else path_or_url
        for _ in range(MAX_REDIRECTS + 1):
            if not self._own(url):
                return await self._foreign(url, max_bytes, deadline)
            request = await self._request(method, url, headers, json=json)
            answer = await self._door.open_trusted(request, timeout, deadline)
            if answer.status_code not in _REDIRECTS:
                return await self._content(answer, max_bytes, deadline)
            url = await _next_hop(answer, url)
        raise ProviderError(ErrorKind.PROVIDER_ERROR, "the upstream's content address redirects in circles")

    async def _content(self, answer: httpx.Response, max_bytes: int, deadline: float) -> Content:
        if answer.status_code != 200:
            response = await self._read(answer, MAX_ANSWER_BYTES, deadline)
            raise self._errors(response) or error_from(response)
        return content_of(answer, max_bytes, deadline, ErrorKind.PROVIDER_ERROR)

    async def _foreign(self, url: str, max_bytes: int, deadline: float) -> Content:
        left = max(1.0, deadline - asyncio.get_running_loop().time())
        try:
            return await self._door.fetch(url, max_bytes=max_bytes, timeout=left)
        except ProviderError as error:
            if error.kind is not ErrorKind.INPUT_MEDIA:
                raise
            gone = error.http_status in {401, 403, 404, 410}
            kind = ErrorKind.CONTENT_EXPIRED if gone else ErrorKind.PROVIDER_ERROR
            message = f"the upstream's content address failed: {error.message}"
            raise ProviderError(kind, message, http_status=error.http_status) from error

    def _own(self, url: str) -> bool:
        try:
            return origin(url) == self._origin
        except UnsafeUrl:
            return False

    def _trusted(self, url: str) -> str:
        try:
            scheme, host, port = origin(url)
        except UnsafeUrl:
            scheme, host, port = "", "", 0
        named = (
            scheme == "https"
            and port == HTTPS_PORT
            and any(fnmatchcase(host, known) for known in self._hosts)
        )
        if named or (scheme, host, port) == self._origin:
            return url
        raise ProviderError(
            ErrorKind.PROVIDER_ERROR, "the upstream names an address that is not its own", ambiguous=True
        )

    async def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        *,
        json: Any = None,
        content: bytes | None = None,
        multipart: MultipartBody | None = None,
    ) -> httpx.Request:
        sent = {**_PLAIN, **(headers or {}), **self._auth}
        if self._account.traced and (trace := self._door.traceparent()) is not None:
            sent["traceparent"] = trace
        if multipart is None:
            request = httpx.Request(method, url, headers=sent, json=json, content=content)
        else:
            sent |= {"Content-Type": multipart.content_type, "Content-Length": str(multipart.length)}
            request = httpx.Request(method, url, headers=sent, content=multipart)
        if self._authenticate is not None:
            body = b"" if multipart is not None else request.content
            unsigned = Unsigned(method, str(request.url), dict(request.headers), body)
            request.headers.update(await self._authenticate(unsigned))
        if self._account.address is not None:  # the Host header stays
            if request.url.scheme == "https":
                request.extensions["sni_hostname"] = request.url.host
            request.url = request.url.copy_with(host=self._account.address)
        return request

    async def _read(self, answer: httpx.Response, max_bytes: int, deadline: float) -> Response:
        body = bytearray()
        try:
            async for chunk in chunks(answer, max_bytes, deadline, ErrorKind.PROVIDER_ERROR):
                body += chunk
        except ProviderError as error:
            if answer.status_code < 400:
                error.ambiguous = True
                raise
            # The verdict is in the status: a cut-off explanation does not change it.
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status_code, headers, bytes(body), self._account.credential)


_PLAIN: Final = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "onereel"}


async def _send(
    transport: AiohttpTransport,
    request: httpx.Request,
    timeout: float,  # noqa: ASYNC109 - sets the connect timeout too
    deadline: float,
) -> httpx.Response:
    # A connect that fails must be told from an answer that does not come: so it has the shorter time.
    connect = min(CONNECT_SECONDS, timeout * 0.8)
    request.extensions["timeout"] = {"connect": connect, "pool": connect, "read": timeout}
    try:
        async with asyncio.timeout_at(deadline):
            answer = await transport.handle_async_request(request)
    except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
        _raise_unavailable(error)
    cast("AiohttpResponseStream", answer.stream).CHUNK_SIZE = CHUNK_BYTES
    return answer


def _raise_unavailable(error: Exception) -> NoReturn:
    """Say what broke. httpx's own classes are no guide here: a reset comes to us as its ConnectTimeout."""
    cause = error.__cause__ if isinstance(error, httpx.HTTPError) and error.__cause__ else error
    if isinstance(cause, _NOT_SENT):
        message = f"could not connect: {sockets.why_unconnected(cause)}"
        raise ProviderError(ErrorKind.PROVIDER_UNAVAILABLE, message) from error
    late = isinstance(cause, TimeoutError)
    what = "no answer in time" if late else "the connection broke before the answer"
    raise ProviderError(ErrorKind.PROVIDER_UNAVAILABLE, what, ambiguous=True) from error


async def _next_hop(answer: httpx.Response, url: str) -> str:
    await answer.aclose()
    return urljoin(url, str(answer.headers.get("location", "")))
