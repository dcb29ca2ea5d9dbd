"""Google service accounts: an assertion signed with their key buys an access token for an hour (RFC 7523)."""

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from providers.auth.headers import Authenticate, Now, Unsigned, unusable
from providers.auth.jwt import signing_input, with_signature
from providers.auth.shared import Shared
from providers.contract import RETRYABLE, Account, ErrorKind, ProviderError
from providers.urls import UnsafeUrl, origin

if TYPE_CHECKING:
    from providers.http import HttpDoor

CLOUD_PLATFORM: Final = "https://www.googleapis.com/auth/cloud-platform"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_SECONDS: Final = 3600
EXCHANGE_SECONDS: Final = 30.0
# A token is given up after this part of its life: a request that takes a while must not meet its end.
USED_PART: Final = 0.9


def google_service_account(
    account: Account, door: "HttpDoor", *, scope: str = CLOUD_PLATFORM, now: Now = time.time
) -> Authenticate:
    """The credential is the text of a service account's JSON key file.

    Its private key never leaves this process: what is sent, and only to the file's own `token_uri`, is an
    assertion. One exchange serves all requests; its failure is PROVIDER_AUTH or PROVIDER_UNAVAILABLE and never
    ambiguous, because the request itself was not sent.
    """

    async def exchanged() -> tuple[str, float]:
        key, started = _key_file(account), now()
        answer = await _exchange(door, key, _assertion(key, scope, int(started)))
        token, seconds = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not isinstance(seconds, int | float) or not seconds > 0:
            raise _failed("its answer has no access_token with an expires_in", ErrorKind.PROVIDER_UNAVAILABLE)
        return token, started + USED_PART * seconds

    token = Shared(exchanged, now)

    async def bearer(_: Unsigned) -> dict[str, str]:
        return {"Authorization": f"Bearer {await token()}"}

    return bearer


@dataclass(frozen=True, slots=True)
class _KeyFile:
    email: str
    key_id: str
    key: RSAPrivateKey
    token_uri: str


def _key_file(account: Account) -> _KeyFile:
    try:
        fields = json.loads(account.credential)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise unusable(account, "must be the JSON text of a service account's key file")
    if fields.get("type") != "service_account":
        raise unusable(account, 'is a key file whose type is not "service_account"')
    names = ("client_email", "private_key_id", "private_key", "token_uri")
    missing = [name for name in names if not isinstance(fields.get(name), str) or not fields[name]]
    if missing:
        raise unusable(account, f"is a key file without {', '.join(missing)}")
    email, key_id, pem, token_uri = (fields[name] for name in names)
    try:
        origin(token_uri)
    except UnsafeUrl as error:
        raise unusable(account, f"is a key file with an unusable token_uri: {error}") from error
    return _KeyFile(email, key_id, _private_key(account, pem), token_uri)


def _private_key(account: Account, pem: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        # What the parser says may quote the key: it is not repeated.
        raise unusable(account, "is a key file whose private_key is not an RSA key in PEM") from None
    return key


def _assertion(key: _KeyFile, scope: str, issued: int) -> str:
    header = {"alg": "RS256", "typ": "JWT", "kid": key.key_id}
    claims = {
        "iss": key.email,
        "scope": scope,
        "aud": key.token_uri,
        "iat": issued,
        "exp": issued + ASSERTION_SECONDS,
    }
    text = signing_input(header, claims)
    return with_signature(text, key.key.sign(text.encode(), PKCS1v15(), SHA256()))


async def _exchange(door: "HttpDoor", key: _KeyFile, assertion: str) -> dict[str, Any]:
    endpoint = door.account(Account("google-oauth", key.token_uri))
    try:
        answer = await endpoint.request(
            "POST",
            key.token_uri,
            content=urlencode({"grant_type": GRANT, "assertion": assertion}).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            timeout=EXCHANGE_SECONDS,
        )
        return answer.object()
    except ProviderError as error:
        refused = 400 <= (error.http_status or 0) < 500 and error.kind not in RETRYABLE
        kind = ErrorKind.PROVIDER_AUTH if refused else ErrorKind.PROVIDER_UNAVAILABLE
        raise _failed(error.message, kind, error) from error


def _failed(why: str, kind: ErrorKind, cause: ProviderError | None = None) -> ProviderError:
    return ProviderError(
        kind,
        f"Google's token endpoint gave no access token: {why}",
        retry_after=cause.retry_after if cause else None,
        http_status=cause.http_status if cause else None,
        upstream_code=cause.upstream_code if cause else None,
    )
