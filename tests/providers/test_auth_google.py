"""Google service accounts: the assertion, the exchange, how long a token is used, and what goes wrong."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from providers.auth import Authenticate, google_service_account
from providers.contract import Account, ErrorKind, ProviderError
from providers.http import HttpDoor
from tests.providers.auth_wire import Clock, account, sent, unsigned
from tests.providers.wire import Exchange, serving

START = 1_700_000_000.0
CLOUD = "https://www.googleapis.com/auth/cloud-platform"


@cache
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def key_file(token_uri: str = "http://127.0.0.1:1/token", **changes: Any) -> str:
    fields = {
        "type": "service_account",
        "project_id": "reel",
        "private_key_id": "key-1",
        "private_key": pem(private_key()),
        "client_email": "gateway@reel.iam.gserviceaccount.com",
        "token_uri": token_uri,
    }
    return json.dumps({name: value for name, value in {**fields, **changes}.items() if value is not None})


class TokenEndpoint:
    """Google's token endpoint: numbered tokens, or the answer of its turn."""

    def __init__(self) -> None:
        self.requests: list[tuple[Exchange, bytes]] = []
        self.answers: list[tuple[int, bytes]] = []
        self.expires_in: Any = 3600
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, exchange: Exchange) -> None:
        self.requests.append((exchange, await exchange.body()))
        number = len(self.requests)
        await self.go_on.wait()
        if self.answers:
            status, body = self.answers.pop(0)
            await exchange.answer(status, body)
            return
        token = {"access_token": f"ya29.{number}", "expires_in": self.expires_in, "token_type": "Bearer"}
        await exchange.answer(200, json.dumps(token).encode())


class World:
    """A service account and the endpoint that knows it."""

    def __init__(self, door: HttpDoor, endpoint: TokenEndpoint, token_uri: str) -> None:
        self.endpoint = endpoint
        self.token_uri = token_uri
        self.clock = Clock(START)
        self.authenticate: Authenticate = google_service_account(
            account(key_file(token_uri)), door, now=self.clock
        )

    async def token(self) -> str:
        return (await self.authenticate(unsigned()))["Authorization"]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    door, endpoint = HttpDoor(), TokenEndpoint()
    async with serving(endpoint) as served:
        yield World(door, endpoint, f"http://127.0.0.1:{served.port}/token")
    await door.close()


def decoded(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=="))


async def test_the_assertion_says_who_asks_for_what_and_is_signed(world: World) -> None:
    assert await world.token() == "Bearer ya29.1"
    exchange, body = world.endpoint.requests[0]
    assert exchange.line == "POST /token HTTP/1.1"
    assert exchange.headers["content-type"] == "application/x-www-form-urlencoded"
    form = parse_qs(body.decode(), strict_parsing=True)
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    header, claims, signature = form["assertion"][0].split(".")
    assert decoded(header) == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
    assert decoded(claims) == {
        "iss": "gateway@reel.iam.gserviceaccount.com",
        "scope": CLOUD,
        "aud": world.token_uri,
        "iat": int(START),
        "exp": int(START) + 3600,
    }
    proof = base64.urlsafe_b64decode(signature + "==")
    private_key().public_key().verify(proof, f"{header}.{claims}".encode(), PKCS1v15(), SHA256())


async def test_neither_server_gets_the_key_and_only_the_api_gets_the_token(world: World) -> None:
    credential = key_file(world.token_uri)
    seen, _ = await sent(credential, "GET", "/v1/operations", world.authenticate)
    assert seen.headers["authorization"] == "Bearer ya29.1"
    exchange, body = world.endpoint.requests[0]
    assert "authorization" not in exchange.headers
    secret = pem(private_key()).splitlines()[1]
    assert secret not in repr(seen) + repr(exchange.headers) + body.decode()


async def test_a_token_is_used_until_shortly_before_its_end(world: World) -> None:
    assert await world.token() == "Bearer ya29.1"
    world.clock.seconds += 3239
    assert await world.token() == "Bearer ya29.1"
    world.clock.seconds += 1
    assert await world.token() == "Bearer ya29.2"
    assert len(world.endpoint.requests) == 2


async def test_many_requests_wait_for_one_exchange(world: World) -> None:
    world.endpoint.go_on.clear()
    waiting = [asyncio.create_task(world.token()) for _ in range(20)]
    await asyncio.sleep(0.05)
    waiting[0].cancel()  # the one who began it gives up: the others still get their token
    world.endpoint.go_on.set()
    tokens = await asyncio.gather(*waiting[1:])
    assert set(tokens) == {"Bearer ya29.1"}
    assert len(world.endpoint.requests) == 1


async def test_a_failure_reaches_all_who_wait_and_the_next_request_tries_again(world: World) -> None:
    world.endpoint.answers = [(503, b"{}")]
    results = await asyncio.gather(*(world.token() for _ in range(5)), return_exceptions=True)
    assert all(
        isinstance(error, ProviderError) and error.kind is ErrorKind.PROVIDER_UNAVAILABLE for error in results
    )
    assert len(world.endpoint.requests) == 1
    assert await world.token() == "Bearer ya29.2"


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (
            (400, b'{"error":"invalid_grant","error_description":"Invalid JWT Signature."}'),
            ErrorKind.PROVIDER_AUTH,
            "Invalid JWT Signature.",
        ),
        ((401, b'{"error":"invalid_client"}'), ErrorKind.PROVIDER_AUTH, "invalid_client"),
        ((302, b""), ErrorKind.PROVIDER_UNAVAILABLE, "HTTP 302"),
        ((429, b"{}"), ErrorKind.PROVIDER_UNAVAILABLE, "HTTP 429"),
        ((503, b"{}"), ErrorKind.PROVIDER_UNAVAILABLE, "HTTP 503"),
        ((200, b"<html>sign in</html>"), ErrorKind.PROVIDER_UNAVAILABLE, "not readable JSON"),
        ((200, b'{"access_token":"x"}'), ErrorKind.PROVIDER_UNAVAILABLE, "no access_token"),
        ((200, b'{"access_token":"x","expires_in":NaN}'), ErrorKind.PROVIDER_UNAVAILABLE, "no access_token"),
    ],
)
async def test_a_refused_exchange_says_why_and_is_never_ambiguous(
    world: World, answer: tuple[int, bytes], kind: ErrorKind, message: str
) -> None:
    world.endpoint.answers = [answer]
    with pytest.raises(ProviderError, match=message) as caught:
        await world.token()
    assert caught.value.kind is kind
    assert not caught.value.ambiguous
    assert caught.value.message.startswith("Google's token endpoint gave no access token: ")


async def test_an_endpoint_that_is_not_there_is_unavailable_and_not_ambiguous() -> None:
    door = HttpDoor()
    async with serving(TokenEndpoint()) as served:
        gone = f"http://127.0.0.1:{served.port}/token"
    with pytest.raises(ProviderError) as caught:
        await google_service_account(account(key_file(gone)), door)(unsigned())
    await door.close()
    assert caught.value.kind is ErrorKind.PROVIDER_UNAVAILABLE
    assert not caught.value.ambiguous


@pytest.mark.parametrize(
    ("credential", "message"),
    [
        ("", "must be the JSON text of a service account's key file"),
        ("AIzaSyNotAFile", "must be the JSON text of a service account's key file"),
        ("[1]", "must be the JSON text of a service account's key file"),
        (lambda: key_file(type="authorized_user"), 'type is not "service_account"'),
        (
            lambda: key_file(client_email=None, private_key=7),
            "a key file without client_email, private_key$",
        ),
        (lambda: key_file(private_key="-----BEGIN PRIVATE KEY-----\nbm8=\n"), "not an RSA key in PEM"),
        (lambda: key_file(private_key=pem(ec.generate_private_key(ec.SECP256R1()))), "not an RSA key in PEM"),
        (lambda: key_file(token_uri="oauth2.googleapis.com/token"), "unusable token_uri"),
    ],
)
async def test_a_malformed_key_file_is_refused_before_anything_is_sent(
    credential: str | Callable[[], str], message: str
) -> None:
    text = credential if isinstance(credential, str) else credential()
    with pytest.raises(ProviderError, match=message) as caught:
        await google_service_account(account(text), HttpDoor())(unsigned())
    assert caught.value.kind is ErrorKind.PROVIDER_AUTH
    assert caught.value.message.startswith("upstream 'acme': the credential ")
    assert "PRIVATE KEY" not in caught.value.message


async def test_a_failed_exchange_sends_nothing_to_the_api(world: World) -> None:
    world.endpoint.answers = [(400, b'{"error":"invalid_grant"}')]
    reached: list[str] = []

    async def api(exchange: Exchange) -> None:
        reached.append(exchange.line)

    door = HttpDoor()
    async with serving(api) as served:
        client = door.account(Account("acme", served.base_url, "x"), authenticate=world.authenticate)
        with pytest.raises(ProviderError, match="invalid_grant"):
            await client.request("POST", "/predict", json={})
    await door.close()
    assert not reached
