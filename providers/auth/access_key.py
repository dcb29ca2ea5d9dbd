"""The scheme that clouds share: a canonical form of the request, signed with a key derived for one day and service.

AWS Signature Version 4 and Tencent's TC3-HMAC-SHA256 differ only in what they call things and which headers count.
"""

import hashlib
import hmac
from collections.abc import Mapping
from functools import reduce


def authorization(
    algorithm: str,
    key: tuple[str, str],
    *,
    key_prefix: str,
    stamp: str,
    scope: tuple[str, ...],
    request: tuple[str, str, str],
    headers: Mapping[str, str],
    payload_hash: str,
) -> str:
    """The Authorization header. `key` is (id, secret), `request` (method, path, query), both canonical.

    `headers` are those to sign, in lower case; `scope` is the day, what else binds the key, and the end word.
    """
    names = sorted(headers)
    lines = [f"{name}:{' '.join(headers[name].split())}\n" for name in names]
    canonical = "\n".join((*request, "".join(lines), ";".join(names), payload_hash))
    text = "\n".join((algorithm, stamp, "/".join(scope), sha256_hex(canonical.encode())))
    key_id, secret = key
    derived = reduce(_hmac, scope, (key_prefix + secret).encode())
    signature = _hmac(derived, text).hex()
    return f"{algorithm} Credential={'/'.join((key_id, *scope))}, SignedHeaders={';'.join(names)}, Signature={signature}"


def sha256_hex(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
