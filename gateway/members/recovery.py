"""A way back in for whoever runs the machine: a signed link for a new password, good once, within the hour.

It is made without the database, by `onereel recover`, from the key that encrypts what is stored.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from gateway.crypto import SecretBox

LIFETIME_MS: Final = 3_600_000
_KIND: Final = "recover"


def recovery_token(box: SecretBox, email: str, now_ms: int) -> str:
    """Make the token of the link."""
    name, until = urlsafe_b64encode(email.lower().encode()).decode().rstrip("="), now_ms + LIFETIME_MS
    return f"{_KIND}.{name}.{until}.{box.signature(_signed(name, until))}"


def recovered_email(box: SecretBox, token: str, now_ms: int) -> str | None:
    """Read whose link it is; None for one that we did not make, or that is over."""
    kind, _, rest = token.partition(".")
    name, _, rest = rest.partition(".")
    until, _, signature = rest.partition(".")
    if kind != _KIND or not (until.isascii() and until.isdecimal() and len(until) < 16):
        return None
    if int(until) < now_ms or not box.is_signature(_signed(name, int(until)), signature):
        return None
    return urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()


def _signed(name: str, until: int) -> str:
    return f"{_KIND}/{name}/{until}"
