"""Callbacks: whether they come from the upstream they claim to come from.

Every function takes headers in lower case and raises CallbackRefused. A callback is only a hint to poll now, so a
window of 5 minutes around the sender's time is enough against replays. PixVerse has no function here: it calls one
registered address for all jobs, and how it encodes the signed payload is not documented well enough.
"""

import hashlib
import hmac
import json
import time
from base64 import b64decode, b64encode, urlsafe_b64decode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from providers.auth.headers import Now
from providers.auth.shared import Shared
from providers.contract import CallbackRefused, ErrorKind, ProviderError

if TYPE_CHECKING:
    from providers.http import HttpDoor

Headers = Mapping[str, str]
Keys = Callable[[], Awaitable[Sequence[Ed25519PublicKey]]]

WINDOW_SECONDS: Final = 300
MAX_TIME_DIGITS: Final = 12
PREFIX: Final = "whsec_"
KEYS_GOOD_SECONDS: Final = 3600.0
KEYS_FETCH_SECONDS: Final = 10.0
MAX_KEYS_BYTES: Final = 64 * 1024


def verify_standard_webhook(secret: str, headers: Headers, body: bytes, *, now: Now = time.time) -> None:
    """Standard Webhooks (Replicate, Gemini): `secret` is "whsec_" + base64; one of several signatures suffices."""
    content = _id_time_body(headers, body, now)
    try:
        key = b64decode(secret.removeprefix(PREFIX) + "==")
    except ValueError:
        raise CallbackRefused("the configured webhook secret is not whsec_ + base64") from None
    expected = "v1," + b64encode(_hmac(key, content)).decode()
    if not any(_equal(expected, given) for given in _header(headers, "webhook-signature").split()):
        raise CallbackRefused("the signature does not match")


def verify_wavespeed(secret: str, headers: Headers, body: bytes, *, now: Now = time.time) -> None:
    """WaveSpeed: as Standard Webhooks, but the key is the text after "whsec_", and the signature "v3," + hex.

    Source: wavespeed.ai/docs/verify-webhooks, whose own example does not verify (its secret is a stand-in): unverified.
    """
    content = _id_time_body(headers, body, now)
    _check("v3," + _hmac(secret.removeprefix(PREFIX).encode(), content).hex(), headers, "webhook-signature")


def verify_openrouter(secret: str, headers: Headers, body: bytes, *, now: Now = time.time) -> None:
    """OpenRouter: "t=<Unix time>,v1=<hex>", an HMAC of "time,body" with the workspace's signing secret.

    Source: openrouter.ai/docs on video generation, at second hand: unverified.
    """
    stamp, _, given = _header(headers, "x-openrouter-signature").removeprefix("t=").partition(",v1=")
    _check_time(_seconds(stamp), now)
    if not _equal(_hmac(secret.encode(), f"{stamp},".encode() + body).hex(), given):
        raise CallbackRefused("the signature does not match")


def verify_bfl(secret: str, headers: Headers, body: bytes) -> None:
    """Black Forest Labs: HMAC of the body with the request's webhook_secret. No time is signed.

    Third-party sources only: unverified.
    """
    _check("sha256=" + _hmac(secret.encode(), body).hex(), headers, "x-bfl-signature")


def verify_kie(secret: str, task_id: str, headers: Headers, *, now: Now = time.time) -> None:
    """kie.ai: HMAC of "task.time". The body is not signed. Source: docs.kie.ai, webhook-verification."""
    stamp = _header(headers, "x-webhook-timestamp")
    _check_time(_seconds(stamp), now)
    signed = _hmac(secret.encode(), f"{task_id}.{stamp}".encode())
    _check(b64encode(signed).decode(), headers, "x-webhook-signature")


def verify_vidu(api_key: str, callback_url: str, headers: Headers, *, now: Now = time.time) -> None:
    """Vidu: HMAC, with the API key that made the task, of the call's head. The body is not signed.

    `callback_url` is the address given to Vidu, whatever stands between it and this server.
    Source: platform.vidu.com/docs/callback-signature.
    """
    date = _header(headers, "date")
    try:
        _check_time(parsedate_to_datetime(date).timestamp(), now)
    except (ValueError, OverflowError):
        raise CallbackRefused("the callback's Date is not an HTTP date") from None
    names = _header(headers, "x-hmac-signed-headers").split(";")
    signed = "".join(f"{name}:{_header(headers, name.lower())}\n" for name in names)
    url = urlsplit(callback_url)
    text = "\n".join(("POST", url.path or "/", url.query, "vidu", date, signed))
    _check(b64encode(_hmac(api_key.encode(), text.encode())).decode(), headers, "x-hmac-signature")


def verify_shared_secret(secret: str, headers: Headers, name: str) -> None:
    """A secret that the upstream repeats in the header `name` (PiAPI: x-webhook-secret)."""
    if not secret:
        raise CallbackRefused("no webhook secret is configured")
    _check(secret, headers, name)


async def verify_fal(keys: Keys, headers: Headers, body: bytes, *, now: Now = time.time) -> None:
    """fal: Ed25519 over request id, user id, time and the body's SHA-256, by one of `jwks_ed25519(door, url)`.

    Third-party verifiers that agree, no vendor text: unverified. Raises ProviderError where no keys could be read.
    """
    stamp = _header(headers, "x-fal-webhook-timestamp")
    _check_time(_seconds(stamp), now)
    ids = (_header(headers, f"x-fal-webhook-{name}-id") for name in ("request", "user"))
    message = "\n".join((*ids, stamp, hashlib.sha256(body).hexdigest())).encode()
    try:
        signature = bytes.fromhex(_header(headers, "x-fal-webhook-signature"))
    except ValueError:
        raise CallbackRefused("the signature is not hexadecimal") from None
    if not any(_signed_by(key, signature, message) for key in await keys()):
        raise CallbackRefused("the signature does not match")


def jwks_ed25519(door: "HttpDoor", url: str, *, now: Now = time.time) -> Keys:
    """The Ed25519 keys of a JSON Web Key Set (RFC 8037), fetched when first needed and again every hour."""

    async def fetched() -> tuple[Sequence[Ed25519PublicKey], float]:
        try:
            content = await door.fetch(url, max_bytes=MAX_KEYS_BYTES, timeout=KEYS_FETCH_SECONDS)
            text = b"".join([chunk async for chunk in content.chunks])
            keys = [_ed25519(key) for key in json.loads(text)["keys"] if key.get("crv") == "Ed25519"]
            if not keys:
                raise _no_keys("it holds no Ed25519 key")
        except ProviderError as error:
            raise _no_keys(error.message) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _no_keys("the answer is not a JSON Web Key Set") from error
        return keys, now() + KEYS_GOOD_SECONDS

    return Shared(fetched, now)


def _no_keys(why: str) -> ProviderError:
    return ProviderError(
        ErrorKind.PROVIDER_UNAVAILABLE,
        f"the keys that sign the upstream's callbacks could not be read: {why}",
    )


def _ed25519(key: Mapping[str, Any]) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(key["x"] + "=="))


def _signed_by(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _id_time_body(headers: Headers, body: bytes, now: Now) -> bytes:
    stamp = _header(headers, "webhook-timestamp")
    _check_time(_seconds(stamp), now)
    return b".".join((_header(headers, "webhook-id").encode(), stamp.encode(), body))


def _header(headers: Headers, name: str) -> str:
    value = headers.get(name)
    if not value:
        raise CallbackRefused(f"the callback has no {name} header")
    return value


def _seconds(stamp: str) -> int:
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= MAX_TIME_DIGITS):
        raise CallbackRefused("the callback's time is not in Unix seconds")
    return int(stamp)


def _check_time(sent_at: float, now: Now) -> None:
    if abs(now() - sent_at) > WINDOW_SECONDS:
        raise CallbackRefused(f"the callback's time is more than {WINDOW_SECONDS} seconds away from ours")


def _hmac(key: bytes, content: bytes) -> bytes:
    if not key:
        raise CallbackRefused("no webhook secret is configured")
    return hmac.new(key, content, hashlib.sha256).digest()


def _check(expected: str, headers: Headers, name: str) -> None:
    if not _equal(expected, _header(headers, name)):
        raise CallbackRefused("the signature does not match")


def _equal(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode())
