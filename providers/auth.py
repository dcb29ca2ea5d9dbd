"""How a request proves who sends it: headers made from an account's credential."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from providers.contract import Account


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A request about to be sent: absolute URL, headers, whole body (empty for a streamed form)."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


Authenticate = Callable[[Unsigned], Awaitable[Mapping[str, str]]]
"""Makes the headers that prove the sender. They replace equal ones of the request."""


def auth_headers(account: Account) -> dict[str, str]:
    """The credential as headers: `options["auth"]` is "bearer" (default), "none" or {"header", "prefix"}."""
    scheme = account.options.get("auth", "bearer")
    if not account.credential or scheme == "none":
        return {}
    if scheme == "bearer":
        return {"Authorization": f"Bearer {account.credential}"}
    if isinstance(scheme, dict) and isinstance(scheme.get("header"), str):
        return {scheme["header"]: f"{scheme.get('prefix', '')}{account.credential}"}
    raise ValueError(
        f'upstream \'{account.name}\': options.auth must be "bearer", "none" or a table with header and prefix',
    )
