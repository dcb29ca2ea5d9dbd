"""The shape of every way to authenticate, and the simplest one: the credential in a header."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from providers.contract import Account, ErrorKind, ProviderError


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A request about to be sent: absolute URL, headers in lower case, whole body (empty for a streamed form)."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


Authenticate = Callable[[Unsigned], Awaitable[Mapping[str, str]]]
"""Makes the headers that prove the sender. They replace equal ones of the request."""

Now = Callable[[], float]
"""Unix time in seconds."""


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


def credential_parts(account: Account, shape: str) -> list[str]:
    """The credential split at its colons, as `shape` says: "ID:SECRET", or "ID:SECRET[:TOKEN]".

    Raises ProviderError PROVIDER_AUTH where a part is missing, empty or too many.
    """
    parts = [part.strip() for part in account.credential.split(":")]
    least, most = shape.partition("[")[0].count(":") + 1, shape.count(":") + 1
    if least <= len(parts) <= most and all(parts):
        return parts
    raise unusable(account, f"must have the form {shape}")


def unusable(account: Account, why: str) -> ProviderError:
    """The error of a credential that this provider cannot take: "must be ...", never the credential itself."""
    return ProviderError(ErrorKind.PROVIDER_AUTH, f"upstream '{account.name}': the credential {why}")
