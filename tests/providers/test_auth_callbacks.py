"""Callbacks of each vendor: the true one passes, every change of it is refused."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from providers.auth import (
    jwks_ed25519,
    verify_bfl,
    verify_fal,
    verify_kie,
    verify_openrouter,
    verify_shared_secret,
    verify_standard_webhook,
    verify_vidu,
    verify_wavespeed,
)
from providers.contract import CallbackRefused, ErrorKind, ProviderError
from providers.http import HttpDoor
from tests.providers.auth_wire import Clock
from tests.providers.wire import Exchange, Served, serving

NOW = 1_785_672_000
BODY = '{"id":"p1","prompt":"Füchse","status":"succeeded"}'.encode()
SECRET = "whsec_" + base64.b64encode(b"a key of 24 random bytes").decode()
URL = "https://reel.example/v1/callbacks/att_1/token?hop=a%20b"

Headers = dict[str, str]
Verify = Callable[[Headers, bytes, Clock], None]


def hmac_b64(key: str, text: str) -> str:
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()


def standard() -> Headers:
    moment = datetime.fromtimestamp(NOW, UTC)
    signature = Webhook(SECRET).sign("msg_1", moment.replace(tzinfo=None), BODY.decode())
    return {"webhook-id": "msg_1", "webhook-timestamp": str(NOW), "webhook-signature": signature}


def wavespeed() -> Headers:
    content = f"msg_1.{NOW}.".encode() + BODY
    digest = hmac.new(SECRET.removeprefix("whsec_").encode(), content, hashlib.sha256).hexdigest()
    return {"webhook-id": "msg_1", "webhook-timestamp": str(NOW), "webhook-signature": f"v3,{digest}"}


def openrouter() -> Headers:
    digest = hmac.new(b"signing secret", f"{NOW},".encode() + BODY, hashlib.sha256).hexdigest()
    return {"x-openrouter-signature": f"t={NOW},v1={digest}"}


def bfl() -> Headers:
    return {"x-bfl-signature": "sha256=" + hmac.new(b"chosen", BODY, hashlib.sha256).hexdigest()}


def kie() -> Headers:
    return {
        "x-webhook-timestamp": str(NOW),
        "x-webhook-signature": hmac_b64("kie-key", f"task-1.{NOW}"),
    }


def vidu() -> Headers:
    date = format_datetime(datetime.fromtimestamp(NOW, UTC), usegmt=True)
    head = f"POST\n/v1/callbacks/att_1/token\nhop=a%20b\nvidu\n{date}\n"
    signed = f"Date:{date}\nx-request-nonce:n-1\n"
    return {
        "date": date,
        "x-request-nonce": "n-1",
        "x-hmac-algorithm": "hmac-sha256",
        "x-hmac-access-key": "vidu",
        "x-hmac-signed-headers": "Date;x-request-nonce",
        "x-hmac-signature": hmac_b64("vidu-key", head + signed),
    }


VENDORS: dict[str, tuple[Callable[[], Headers], Verify]] = {
    "standard": (
        standard,
        lambda headers, body, now: verify_standard_webhook(SECRET, headers, body, now=now),
    ),
    "wavespeed": (wavespeed, lambda headers, body, now: verify_wavespeed(SECRET, headers, body, now=now)),
    "openrouter": (
        openrouter,
        lambda headers, body, now: verify_openrouter("signing secret", headers, body, now=now),
    ),
    "bfl": (bfl, lambda headers, body, now: verify_bfl("chosen", headers, body)),
    "kie": (kie, lambda headers, body, now: verify_kie("kie-key", "task-1", headers, now=now)),
    "vidu": (vidu, lambda headers, body, now: verify_vidu("vidu-key", URL, headers, now=now)),
    "secret": (
        lambda: {"x-webhook-secret": "words"},
        lambda headers, body, now: verify_shared_secret("words", headers, "x-webhook-secret"),
    ),
}
SIGNS_BODY = ("standard", "wavespeed", "openrouter", "bfl")
SIGNS_TIME = ("standard", "wavespeed", "openrouter", "kie", "vidu")
TIMES = {"date", "webhook-timestamp", "x-webhook-timestamp", "x-openrouter-signature"}


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_true_callback_passes(vendor: str) -> None:
    made, verify = VENDORS[vendor]
    verify(made(), BODY, Clock(NOW))


@pytest.mark.parametrize("vendor", VENDORS)
def test_no_header_that_counts_can_be_changed_or_left_out(vendor: str) -> None:
    made, verify = VENDORS[vendor]
    for name in set(made()) - {"x-hmac-algorithm", "x-hmac-access-key"}:
        with pytest.raises(CallbackRefused):
            verify({key: value for key, value in made().items() if key != name}, BODY, Clock(NOW))
        with pytest.raises(CallbackRefused):
            verify({**made(), name: made()[name][:-1] + "~"}, BODY, Clock(NOW))


@pytest.mark.parametrize("vendor", SIGNS_BODY)
def test_a_changed_body_is_refused(vendor: str) -> None:
    made, verify = VENDORS[vendor]
    with pytest.raises(CallbackRefused, match="does not match"):
        verify(made(), BODY + b" ", Clock(NOW))


@pytest.mark.parametrize("vendor", SIGNS_TIME)
@pytest.mark.parametrize("away", [-300, 300])
def test_a_callback_is_good_for_five_minutes(vendor: str, away: int) -> None:
    made, verify = VENDORS[vendor]
    verify(made(), BODY, Clock(NOW + away))
    with pytest.raises(CallbackRefused, match="more than 300 seconds"):
        verify(made(), BODY, Clock(NOW + away + (1 if away > 0 else -1)))


@pytest.mark.parametrize("vendor", SIGNS_TIME)
@given(text=st.text(max_size=40) | st.from_regex(r"\A[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ [\d:]+ \S*\Z"))
def test_a_time_that_is_none_is_refused(vendor: str, text: str) -> None:
    made, verify = VENDORS[vendor]
    name = next(name for name in made() if name in TIMES)
    with pytest.raises(CallbackRefused):
        verify({**made(), name: text}, BODY, Clock(NOW))


@pytest.mark.parametrize("text", ["9" * 400, "nan", "-1", "1e9", "\u0661\u0662", " 1785672000"])
def test_only_plain_unix_seconds_are_a_time(text: str) -> None:
    with pytest.raises(CallbackRefused, match="not in Unix seconds"):
        verify_kie("kie-key", "task-1", {**kie(), "x-webhook-timestamp": text}, now=Clock(NOW))


@pytest.mark.parametrize(
    "text", ["yesterday", "Mon, 99999999999999999999 Jan 2026 00:00:00 GMT", "Mon, 01 Jan 2026 99:00:00 GMT"]
)
def test_only_an_http_date_is_a_date(text: str) -> None:
    with pytest.raises(CallbackRefused, match="Date is not an HTTP date"):
        verify_vidu("vidu-key", URL, {**vidu(), "date": text}, now=Clock(NOW))


def test_one_of_several_standard_signatures_is_enough() -> None:
    true = standard()["webhook-signature"]
    headers = {**standard(), "webhook-signature": f"v1a,abcd v1, junk v2,{true[3:]} {true}"}
    verify_standard_webhook(SECRET, headers, BODY, now=Clock(NOW))
    with pytest.raises(CallbackRefused):
        verify_standard_webhook(
            SECRET, {**headers, "webhook-signature": f"v2,{true[3:]}"}, BODY, now=Clock(NOW)
        )


def test_a_body_need_not_be_text() -> None:
    body = b"\xff\x00"
    digest = hmac.new(base64.b64decode(SECRET[6:]), f"m.{NOW}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "webhook-id": "m",
        "webhook-timestamp": str(NOW),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
    verify_standard_webhook(SECRET, headers, body, now=Clock(NOW))


@pytest.mark.parametrize(
    ("vendor", "secret"),
    [*((vendor, "") for vendor in VENDORS), ("standard", "whsec_"), ("wavespeed", "whsec_")],
)
def test_an_empty_secret_verifies_nothing(vendor: str, secret: str) -> None:
    """Anybody can sign with an empty key."""
    calls: dict[str, Callable[[], None]] = {
        "standard": lambda: verify_standard_webhook(secret, standard(), BODY, now=Clock(NOW)),
        "wavespeed": lambda: verify_wavespeed(secret, wavespeed(), BODY, now=Clock(NOW)),
        "openrouter": lambda: verify_openrouter(secret, openrouter(), BODY, now=Clock(NOW)),
        "bfl": lambda: verify_bfl(secret, bfl(), BODY),
        "kie": lambda: verify_kie(secret, "task-1", kie(), now=Clock(NOW)),
        "vidu": lambda: verify_vidu(secret, URL, vidu(), now=Clock(NOW)),
        "secret": lambda: verify_shared_secret(secret, {"x-webhook-secret": ""}, "x-webhook-secret"),
    }
    with pytest.raises(CallbackRefused, match="no webhook secret is configured"):
        calls[vendor]()


def test_another_task_or_address_is_refused() -> None:
    with pytest.raises(CallbackRefused, match="does not match"):
        verify_kie("kie-key", "task-2", kie(), now=Clock(NOW))
    with pytest.raises(CallbackRefused, match="does not match"):
        verify_vidu("vidu-key", URL.replace("att_1", "att_2"), vidu(), now=Clock(NOW))


# fal


PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def jwk(private: Ed25519PrivateKey) -> dict[str, str]:
    raw = private.public_key().public_bytes_raw()
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode(),
    }


def fal(body: bytes = BODY, private: Ed25519PrivateKey = PRIVATE) -> Headers:
    message = "\n".join(("req-1", "user-1", str(NOW), hashlib.sha256(body).hexdigest()))
    return {
        "x-fal-webhook-request-id": "req-1",
        "x-fal-webhook-user-id": "user-1",
        "x-fal-webhook-timestamp": str(NOW),
        "x-fal-webhook-signature": private.sign(message.encode()).hex(),
    }


class KeySet:
    """A key server that answers what it is told to."""

    def __init__(self) -> None:
        others = [Ed25519PrivateKey.generate() for _ in range(2)]
        rsa = {"kty": "RSA", "n": "AQAB", "e": "AQAB"}
        self.status = 200
        self.document: Any = {"keys": [rsa, *map(jwk, others), jwk(PRIVATE)]}
        self.asked: list[Headers] = []

    async def __call__(self, exchange: Exchange) -> None:
        self.asked.append(exchange.headers)
        await exchange.answer(self.status, json.dumps(self.document).encode())


@pytest.fixture
async def key_set() -> AsyncIterator[tuple[KeySet, Served]]:
    answers = KeySet()
    async with serving(answers) as served:
        yield answers, served


@pytest.fixture
async def open_door(key_set: tuple[KeySet, Served]) -> AsyncIterator[HttpDoor]:
    door = HttpDoor(allowed_private_hosts=(f"127.0.0.1:{key_set[1].port}",))
    yield door
    await door.close()


async def test_fal_is_known_by_one_of_its_keys_fetched_once_an_hour(
    key_set: tuple[KeySet, Served], open_door: HttpDoor
) -> None:
    answers, served = key_set
    clock = Clock(NOW)
    keys = jwks_ed25519(open_door, f"{served.base_url}/jwks.json", now=clock)
    await verify_fal(keys, fal(), BODY, now=clock)
    await verify_fal(keys, fal(), BODY, now=clock)
    assert len(answers.asked) == 1
    assert "authorization" not in answers.asked[0]
    clock.seconds += 3600
    with pytest.raises(CallbackRefused, match="more than 300 seconds"):
        await verify_fal(keys, fal(), BODY, now=clock)
    await verify_fal(keys, fal(), BODY, now=Clock(NOW))
    assert len(answers.asked) == 2


async def test_a_false_fal_callback_is_refused(key_set: tuple[KeySet, Served], open_door: HttpDoor) -> None:
    keys = jwks_ed25519(open_door, f"{key_set[1].base_url}/jwks.json", now=Clock(NOW))
    stranger = Ed25519PrivateKey.generate()
    false = [
        (fal(), BODY + b" "),
        (fal(private=stranger), BODY),
        ({**fal(), "x-fal-webhook-signature": "zz"}, BODY),
        ({**fal(), "x-fal-webhook-signature": "00"}, BODY),
        ({**fal(), "x-fal-webhook-timestamp": str(NOW + 1)}, BODY),
        ({**fal(), "x-fal-webhook-user-id": "user-2"}, BODY),
        *(({k: v for k, v in fal().items() if k != name}, BODY) for name in fal()),
    ]
    for headers, body in false:
        with pytest.raises(CallbackRefused):
            await verify_fal(keys, headers, body, now=Clock(NOW))


@pytest.mark.parametrize(
    ("status", "document"),
    [(404, {}), (500, {}), (200, []), (200, {"keys": [1]}), (200, {"keys": []}),
     (200, {"keys": [{"crv": "Ed25519", "x": "AAAA"}]}), (200, {"keys": [{"crv": "Ed25519"}]})],
)  # fmt: skip
async def test_keys_that_cannot_be_read_are_an_error_to_try_again(
    key_set: tuple[KeySet, Served], open_door: HttpDoor, status: int, document: Any
) -> None:
    answers, served = key_set
    good = answers.document
    answers.status, answers.document = status, document
    keys = jwks_ed25519(open_door, f"{served.base_url}/jwks.json", now=Clock(NOW))
    with pytest.raises(ProviderError, match="the keys that sign") as caught:
        await verify_fal(keys, fal(), BODY, now=Clock(NOW))
    assert caught.value.kind is ErrorKind.PROVIDER_UNAVAILABLE
    answers.status, answers.document = 200, good
    await verify_fal(keys, fal(), BODY, now=Clock(NOW))
