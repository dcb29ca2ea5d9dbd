"""Which URLs of strangers may be opened: the pure rules, without any network access.

Everything here fails closed: an address that is not surely public is private.
"""

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

MAX_URL_CHARS: Final = 2048
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")
_NEVER: Final = (
    IPv6Network("2001::/23"),  # protocol assignments: Teredo, ORCHID, benchmarking
    IPv6Network("2001:db8::/32"),
    IPv6Network("3fff::/20"),
)
_NEVER_V4: Final = (
    IPv4Network("168.63.129.16/32"),  # Azure's own host, in every virtual network there
    IPv4Network(
        "192.0.0.0/24"
    ),  # protocol assignments, Oracle's metadata among them; old Pythons call most global
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
)
_PRIVATE_NAMES: Final = ("localhost", "local", "localdomain", "internal", "intranet", "home.arpa")
_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


class UnsafeUrl(ValueError):
    """The URL must not be opened; the message says why, fit for the client that sent it."""


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port as an address bar compares them. Raises UnsafeUrl if there is no host."""
    parts = _split(url)
    if parts.scheme not in DEFAULT_PORTS:
        raise UnsafeUrl("the URL must start with http:// or https://")
    host = (parts.hostname or "").rstrip(".")
    if not host:
        raise UnsafeUrl("the URL names no host")
    return parts.scheme, host, _port(parts)


def check_public_url(url: str, allowed_private_hosts: Collection[str] = ()) -> tuple[str, str, int]:
    """Refuse what is plainly not a public http(s) URL; answers its (scheme, host, port).

    Names are not resolved here: `providers.http` checks the addresses when it connects.
    `allowed_private_hosts` holds "host:port" pairs that are let through. Raises UnsafeUrl.
    """
    if len(url) > MAX_URL_CHARS:
        raise UnsafeUrl(f"the URL is longer than {MAX_URL_CHARS} characters")
    if any(char <= " " or char in '\\"<>^`{|}\x7f' for char in url):
        raise UnsafeUrl("the URL contains a blank, control or quoting character; percent-encode it")
    scheme, host, port = origin(url)
    netloc = _split(url).netloc
    if "@" in netloc:
        raise UnsafeUrl("the URL must not contain a user name or password")
    if "[" in netloc and ":" not in host:
        raise UnsafeUrl("the URL has brackets around something that is not an IPv6 address")
    if not allowed(host, port, allowed_private_hosts):
        _check_host(host)
    return scheme, host, port


def allowed(host: str, port: int, allowed_private_hosts: Collection[str]) -> bool:
    """Whether the operator named this very host and port as an exception."""
    shown = f"[{host}]" if ":" in host else host
    return any(entry.lower() == f"{shown}:{port}".lower() for entry in allowed_private_hosts)


def is_public_address(address: str) -> bool:
    """Whether an IP address is globally routable unicast, looking inside IPv4-in-IPv6 forms."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    return _public_v4(ip) if isinstance(ip, IPv4Address) else _public_v6(ip)


def _public_v4(ip: IPv4Address) -> bool:
    if ip.is_multicast or ip.is_reserved or any(ip in network for network in _NEVER_V4):
        return False
    return ip.is_global


def _public_v6(ip: IPv6Address) -> bool:
    if ip.ipv4_mapped is not None:
        return _public_v4(ip.ipv4_mapped)
    if ip in _NAT64:
        return _public_v4(IPv4Address(int(ip) & 0xFFFFFFFF))
    if ip in _SIX_TO_FOUR:
        return _public_v4(IPv4Address((int(ip) >> 80) & 0xFFFFFFFF))
    if ip not in _GLOBAL_UNICAST or ip.scope_id is not None:
        return False
    return ip.is_global and not any(ip in network for network in _NEVER)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise UnsafeUrl("the URL is malformed") from error


def _port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError as error:
        raise UnsafeUrl("the URL has a port that is not a number from 1 to 65535") from error
    if port == 0:
        raise UnsafeUrl("the URL has a port that is not a number from 1 to 65535")
    return port or DEFAULT_PORTS[parts.scheme]


def _check_host(host: str) -> None:
    if ":" in host or _is_dotted_quad(host):
        if not is_public_address(host):
            raise UnsafeUrl("the URL points to a private or reserved address")
        return
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        raise UnsafeUrl("the URL writes an IP address in an unusual form; use four decimal numbers")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise UnsafeUrl("the URL's host is not a DNS name (write an international name as xn--...)")
    if len(labels) == 1 or f".{host.lower()}".endswith(tuple(f".{name}" for name in _PRIVATE_NAMES)):
        raise UnsafeUrl("the URL names a host of a private network")


def _is_dotted_quad(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True
