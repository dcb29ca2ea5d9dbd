"""Kling's HS256 token."""

import base64
import json
from typing import Any

import pytest

from providers.auth import Authenticate, jwt_hs256
from providers.contract import ErrorKind, ProviderError
from tests.providers.auth_wire import Clock, account, sent, unsigned

# Made with PyJWT 2.15.1: jwt.encode({"iss": "ak", "exp": 1700001800, "nbf": 1699999995}, "sk", algorithm="HS256").
VENDOR_TOKEN = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    "eyJpc3MiOiJhayIsImV4cCI6MTcwMDAwMTgwMCwibmJmIjoxNjk5OTk5OTk1fQ."
    "mgn0T3D3XT4hbNxAtEsJsDH8-Kpgvs6l8t89iZ9EkEg"
)
START = 1_700_000_000.5


async def token_of(authenticate: Authenticate) -> str:
    return (await authenticate(unsigned()))["Authorization"].removeprefix("Bearer ")


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=="))


async def test_the_token_is_the_one_that_pyjwt_makes() -> None:
    assert await token_of(jwt_hs256(account("ak:sk"), now=Clock(START))) == VENDOR_TOKEN


async def test_the_server_gets_the_token_and_never_the_secret() -> None:
    seen, _ = await sent(
        "ak:sk3cret", "POST", "/v1/videos", jwt_hs256(account("ak:sk3cret"), now=Clock(START)), json={}
    )
    assert claims(seen.headers["authorization"])["iss"] == "ak"
    assert "sk3cret" not in repr(seen)


async def test_a_token_is_used_for_25_minutes_and_not_longer() -> None:
    clock = Clock(START)
    authenticate = jwt_hs256(account("ak:sk"), now=clock)
    first = await token_of(authenticate)
    clock.seconds += 1499
    assert await token_of(authenticate) == first
    clock.seconds += 1
    second = await token_of(authenticate)
    assert claims(second)["nbf"] == claims(first)["nbf"] + 1500


async def test_a_clock_that_is_set_back_makes_a_new_token() -> None:
    clock = Clock(START)
    authenticate = jwt_hs256(account("ak:sk"), now=clock)
    await token_of(authenticate)
    clock.seconds -= 60
    assert claims(await token_of(authenticate))["nbf"] == int(START) - 65


@pytest.mark.parametrize(("skew", "moved"), [(30, -30), ("30", -30), (-5, 5)])
async def test_a_clock_known_to_be_wrong_is_corrected(skew: Any, moved: int) -> None:
    made = claims(
        await token_of(jwt_hs256(account("ak:sk", clock_skew_seconds=skew), now=Clock(1_700_000_000)))
    )
    assert made == {"iss": "ak", "exp": 1_700_001_800 + moved, "nbf": 1_699_999_995 + moved}


def test_a_skew_that_is_no_number_names_the_option() -> None:
    with pytest.raises(ValueError, match=r"'acme': options.clock_skew_seconds must be a number"):
        jwt_hs256(account("ak:sk", clock_skew_seconds="a bit"))


async def test_a_credential_without_a_secret_is_refused() -> None:
    with pytest.raises(ProviderError, match="ACCESS_KEY:SECRET_KEY") as caught:
        await token_of(jwt_hs256(account("only-a-key")))
    assert caught.value.kind is ErrorKind.PROVIDER_AUTH
    assert not caught.value.ambiguous
