"""Sign-in by a provider: whom it lets in, and every lie that it does not believe."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import jwt
import pytest

from gateway.settings import Settings
from tests.gateway.dashboard.visits import Visit, visiting
from tests.gateway.live import settings_for
from tests.oidc import CLIENT, SECRET, Provider, oidc_provider


@pytest.fixture
def provider() -> Iterator[Provider]:
    with oidc_provider() as provider:
        yield provider


@pytest.fixture
def visit(tmp_path: Path, provider: Provider) -> Iterator[Visit]:
    oidc = {"issuer": provider.base_url, "client_id": CLIENT, "client_secret": SECRET, "name": "Acme SSO"}
    with visiting(settings_for(tmp_path, oidc=oidc)) as visit:
        yield visit


def browser(visit: Visit) -> httpx.Client:
    return httpx.Client(base_url=visit.live.base_url, verify=False, headers={"X-Onereel": "fetch"})


def come_back(client: httpx.Client, path: str = "/login/oidc") -> str:
    """Go to the provider; the address it leads back to."""
    there = client.get(path)
    assert there.status_code == 303, there.text
    return httpx.get(there.headers["location"], verify=False).headers["location"]


def sign_in(client: httpx.Client, path: str = "/login/oidc") -> httpx.Response:
    return client.get(come_back(client, path))


def invite(visit: Visit, email: str = "ada@example.com", role: str = "developer") -> None:
    visit.post("/members/invitations", {"role": role, "email": email})


def test_an_invited_person_enters_and_is_known_the_next_time(visit: Visit, provider: Provider) -> None:
    invite(visit)
    with browser(visit) as client:
        assert "Sign in with Acme SSO" in client.get("/login").text
        answer = sign_in(client, "/login/oidc?next=/videos")
        assert (answer.status_code, answer.headers["location"]) == (303, "/videos")
        assert "developer of" in client.get("/account").text
    provider.claims = {"email": "changed@example.com"}  # found by its subject
    with browser(visit) as client:
        assert sign_in(client).status_code == 303
        assert "ada@example.com" in client.get("/account").text


def test_an_account_with_a_password_is_linked_by_its_verified_address(
    visit: Visit, provider: Provider
) -> None:
    provider.claims = {"email": "Owner@Example.com"}
    with browser(visit) as client:
        assert sign_in(client).status_code == 303
        assert "owner@example.com" in client.get("/account").text
    provider.claims = {"email": "owner@example.com", "sub": "somebody-else"}
    with browser(visit) as client:
        assert sign_in(client).json()["error"]["code"] == "other_identity"


def test_nobody_else_enters(visit: Visit, provider: Provider) -> None:
    with browser(visit) as client:
        assert sign_in(client).json()["error"]["code"] == "not_invited"
    invite(visit)
    for unverified in (False, None, "true"):
        provider.claims = {"email_verified": unverified}
        with browser(visit) as client:
            assert sign_in(client).json()["error"]["code"] == "email_unverified"


LIES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "another nonce": lambda claims: {**claims, "nonce": "x"},
    "no nonce": lambda claims: {name: value for name, value in claims.items() if name != "nonce"},
    "another audience": lambda claims: {**claims, "aud": "somebody-else"},
    "another issuer": lambda claims: {**claims, "iss": "https://evil.example"},
    "expired": lambda claims: {**claims, "exp": int(time.time()) - 120, "iat": int(time.time()) - 400},
    "from the future": lambda claims: {
        **claims,
        "iat": int(time.time()) + 600,
        "nbf": int(time.time()) + 600,
    },
    "no subject": lambda claims: {name: value for name, value in claims.items() if name != "sub"},
    "no end": lambda claims: {name: value for name, value in claims.items() if name != "exp"},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_token_that_lies_is_refused(visit: Visit, provider: Provider, lie: str) -> None:
    invite(visit)
    provider.spoil = LIES[lie]
    with browser(visit) as client:
        assert sign_in(client).json()["error"]["code"] == "oidc_refused"
        assert client.get("/account").status_code == 401


def test_a_token_signed_by_nobody_or_another_is_refused(visit: Visit, provider: Provider) -> None:
    invite(visit)
    stranger = Provider(base_url=provider.base_url)
    for sign in (
        lambda claims: jwt.encode(claims, "", algorithm="none"),
        lambda claims: jwt.encode(claims, "x" * 64, algorithm="HS256", headers={"kid": provider.kid}),
        lambda claims: jwt.encode(claims, stranger.key, algorithm="RS256", headers={"kid": provider.kid}),
        lambda claims: jwt.encode(claims, stranger.key, algorithm="RS256", headers={"kid": "unknown"}),
        lambda _: "no token at all",
    ):
        provider.sign = sign
        with browser(visit) as client:
            assert sign_in(client).json()["error"]["code"] == "oidc_refused"


def test_a_new_key_of_the_provider_is_fetched(visit: Visit, provider: Provider) -> None:
    invite(visit)
    with browser(visit) as client:
        assert sign_in(client).status_code == 303
    provider.rotate()
    with browser(visit) as client:
        assert sign_in(client).status_code == 303


def test_the_way_back_is_for_the_browser_that_left_and_once(visit: Visit) -> None:
    invite(visit)
    with browser(visit) as client, browser(visit) as other:
        back = come_back(client)
        assert other.get(back).json()["error"]["code"] == "oidc_stale"  # a link sent to a victim
        come_back(other)
        assert other.get(back).json()["error"]["code"] == "oidc_stale"  # it began one of its own
        parts = urlsplit(back)
        broken = dict(parse_qsl(parts.query)) | {"state": "x"}
        assert client.get(f"{parts.path}?{urlencode(broken)}").status_code == 400
        assert client.get(back).status_code == 303
        client.cookies.delete("onereel_session")
        assert client.get(back).status_code == 400  # the code is used, and the cookie gone


@pytest.mark.parametrize("there", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_it_leads_nowhere_else(visit: Visit, there: str) -> None:
    invite(visit)
    with browser(visit) as client:
        assert sign_in(client, f"/login/oidc?{urlencode({'next': there})}").headers["location"] == "/"


def test_a_domain_may_enter_without_invitations(tmp_path: Path, provider: Provider) -> None:
    oidc = {
        "issuer": provider.base_url,
        "client_id": CLIENT,
        "client_secret": SECRET,
        "allowed_domains": ["example.com"],
        "default_role": "viewer",
    }
    with visiting(settings_for(tmp_path, oidc=oidc)) as visit:
        with browser(visit) as client:
            assert sign_in(client).status_code == 303
            assert "viewer of" in client.get("/account").text
        provider.claims = {"email": "eve@example.com.evil.example", "sub": "2"}
        with browser(visit) as client:
            assert sign_in(client).json()["error"]["code"] == "domain_not_allowed"


def test_settings_that_let_everybody_in_are_refused() -> None:
    with pytest.raises(ValueError, match="allowed_domains"):
        Settings(oidc={"issuer": "https://id.example.com", "client_id": "x", "default_role": "viewer"})
    with pytest.raises(ValueError, match="client_id"):
        Settings(oidc={"issuer": "https://id.example.com"})


def test_without_a_provider_there_is_no_such_way(tmp_path: Path) -> None:
    with visiting(settings_for(tmp_path)) as visit, browser(visit) as client:
        assert client.get("/login/oidc").status_code == 404
        assert "Sign in with" not in client.get("/login").text
