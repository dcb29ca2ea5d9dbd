"""AWS Signature Version 4, for Amazon Bedrock and the S3 bucket that it writes to."""

import time
from typing import Final
from urllib.parse import quote, urlsplit

from providers.auth.access_key import authorization, sha256_hex
from providers.auth.headers import Authenticate, Now, Unsigned, credential_parts
from providers.contract import Account

SHAPE: Final = "ACCESS_KEY:SECRET_KEY[:SESSION_TOKEN]"


def aws_sigv4(
    account: Account, *, region: str, service: str = "bedrock", now: Now = time.time
) -> Authenticate:
    """Sign with the credential "ACCESS_KEY:SECRET_KEY" or "ACCESS_KEY:SECRET_KEY:SESSION_TOKEN".

    A Bedrock API key has no colon and is a plain bearer instead. Paths and queries must be percent-encoded as
    `urllib.parse.quote` does it, without dot segments and empty ones. Streamed forms cannot be signed.
    """

    async def sign(request: Unsigned) -> dict[str, str]:
        access_key, secret_key, *token = credential_parts(account, SHAPE)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now()))
        payload_hash = sha256_hex(request.body)
        added = {"x-amz-content-sha256": payload_hash, "x-amz-date": stamp}
        if token:
            added["x-amz-security-token"] = token[0]
        signed = {name: value for name, value in request.headers.items() if _is_signed(name)} | added
        parts = urlsplit(request.url)
        path = parts.path or "/"
        proof = authorization(
            "AWS4-HMAC-SHA256",
            (access_key, secret_key),
            key_prefix="AWS4",
            stamp=stamp,
            scope=(stamp[:8], region, service, "aws4_request"),
            # Every service but S3 encodes the encoded path once more.
            request=(
                request.method,
                path if service == "s3" else quote(path, safe="/~"),
                _query(parts.query),
            ),
            headers=signed,
            payload_hash=payload_hash,
        )
        return {**added, "Authorization": proof}

    return sign


def _is_signed(name: str) -> bool:
    return name in {"host", "content-type"} or name.startswith("x-amz-")


def _query(query: str) -> str:
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&") if pair)
    return "&".join(f"{name}={value}" for name, value in pairs)
