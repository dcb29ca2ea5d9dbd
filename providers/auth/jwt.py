"""JSON Web Tokens: their serial form, and the HS256 token that Kling takes as a bearer."""

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Final

from providers.auth.headers import Authenticate, Now, Unsigned, credential_parts
from providers.contract import Account

VALID_SECONDS: Final = 1800
REUSE_SECONDS: Final = 1500
BACKDATED_SECONDS: Final = 5


def jwt_hs256(account: Account, *, now: Now = time.time) -> Authenticate:
    """Kling's token from the credential "ACCESS_KEY:SECRET_KEY"; one serves for 25 of its 30 minutes.

    Kling refuses a token from a clock that is more than 5 s ahead of its own: `options["clock_skew_seconds"]`
    is how far this machine's clock may be ahead (default 0). Raises ValueError if it is not a number.
    """
    try:
        skew = float(account.options.get("clock_skew_seconds", 0))
    except (TypeError, ValueError):
        raise ValueError(
            f"upstream '{account.name}': options.clock_skew_seconds must be a number of seconds"
        ) from None
    token, issued = "", 0

    async def bearer(_: Unsigned) -> dict[str, str]:
        nonlocal token, issued
        seconds = int(now() - skew)
        if not token or not issued <= seconds < issued + REUSE_SECONDS:
            access_key, secret_key = credential_parts(account, "ACCESS_KEY:SECRET_KEY")
            token, issued = _kling_token(access_key, secret_key, seconds), seconds
        return {"Authorization": f"Bearer {token}"}

    return bearer


def _kling_token(access_key: str, secret_key: str, issued: int) -> str:
    claims = {"iss": access_key, "exp": issued + VALID_SECONDS, "nbf": issued - BACKDATED_SECONDS}
    text = signing_input({"alg": "HS256", "typ": "JWT"}, claims)
    return with_signature(text, hmac.new(secret_key.encode(), text.encode(), hashlib.sha256).digest())


def signing_input(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """What a token's signature covers: "header.claims", each as base64url of JSON (RFC 7515)."""
    return ".".join(_segment(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))


def with_signature(text: str, signature: bytes) -> str:
    """The whole token."""
    return f"{text}.{_segment(signature)}"


def _segment(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
