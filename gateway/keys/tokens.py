"""The secret itself: made, hashed, and shown without its middle."""

import hashlib
import secrets
from typing import Final

PREFIX: Final = "onereel_"


def new_token() -> str:
    """`onereel_` and 256 random bits, safe in URLs and headers."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """Hex SHA-256: what is stored, and what is looked up, so no comparison depends on the secret itself."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def redact(token: str) -> str:
    """Enough to recognise a key, too little to use it."""
    return f"{PREFIX}...{token[-4:]}"


def first_key_notice(token: str) -> str:
    """Frame the key of a first start, so that nobody overlooks it between log lines."""
    lines = ("Admin API key (shown only this once, keep it safe):", token)
    width = max(map(len, lines))
    bar = f"+{'-' * (width + 2)}+"
    return "\n".join((bar, *(f"| {line:{width}} |" for line in lines), bar))
