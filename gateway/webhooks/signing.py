"""Standard Webhooks: secrets, and the three headers that prove a delivery is ours."""

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from secrets import token_bytes

PREFIX = "whsec_"


def new_secret() -> str:
    """`whsec_` + base64 of 32 random bytes."""
    return PREFIX + b64encode(token_bytes(32)).decode()


def secret_hint(secret: str) -> str:
    """Enough to recognise a secret, too little to use it."""
    return f"{PREFIX}...{secret[-4:]}"


def signed_headers(secrets: Sequence[str], event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Make the webhook-* headers: one signature per secret, newest first. `timestamp` in Unix seconds.

    ValueError for no secret, or one that is not `whsec_` + base64.
    """
    if not secrets:
        raise ValueError("a delivery needs at least one secret")
    content = b".".join((event_id.encode(), str(timestamp).encode(), body))
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, content) for secret in secrets),
    }


def _signature(secret: str, content: bytes) -> str:
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a signing secret is whsec_ + base64") from None
    return "v1," + b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
