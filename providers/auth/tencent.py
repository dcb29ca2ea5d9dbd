"""Tencent Cloud's TC3-HMAC-SHA256."""

import time
from urllib.parse import urlsplit

from providers.auth.access_key import authorization, sha256_hex
from providers.auth.headers import Authenticate, Now, Unsigned, credential_parts
from providers.contract import Account


def tencent_tc3(account: Account, *, service: str, now: Now = time.time) -> Authenticate:
    """Sign with the credential "SECRET_ID:SECRET_KEY" or "SECRET_ID:SECRET_KEY:TOKEN"; `service` as "vclm" or "vod".

    The adapter sends X-TC-Action, X-TC-Version and X-TC-Region itself, and a body with its Content-Type.
    """

    async def sign(request: Unsigned) -> dict[str, str]:
        secret_id, secret_key, *token = credential_parts(account, "SECRET_ID:SECRET_KEY[:TOKEN]")
        seconds = int(now())
        added = {"X-TC-Timestamp": str(seconds)}
        if token:
            added["X-TC-Token"] = token[0]
        parts = urlsplit(request.url)
        proof = authorization(
            "TC3-HMAC-SHA256",
            (secret_id, secret_key),
            key_prefix="TC3",
            stamp=str(seconds),
            scope=(time.strftime("%Y-%m-%d", time.gmtime(seconds)), service, "tc3_request"),
            request=(request.method, parts.path or "/", parts.query),
            headers={name: request.headers[name] for name in ("content-type", "host")},
            payload_hash=sha256_hex(request.body),
        )
        return {**added, "Authorization": proof}

    return sign
