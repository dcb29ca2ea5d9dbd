"""How a request proves who sends it, and how a callback proves who sent it.

A provider whose credential is one fixed header needs none of this but `options["auth"]` (see `auth_headers`).
The others hand one of the makers below to `HttpDoor.account(account, authenticate=...)`; `now` is Unix time in
seconds. A credential that cannot be used raises ProviderError PROVIDER_AUTH with the first request.
"""

from providers.auth.aws import aws_sigv4
from providers.auth.callbacks import (
    jwks_ed25519,
    verify_bfl,
    verify_fal,
    verify_kie,
    verify_openrouter,
    verify_shared_secret,
    verify_standard_webhook,
    verify_vidu,
    verify_wavespeed,
)
from providers.auth.google import google_service_account
from providers.auth.headers import Authenticate, Unsigned, auth_headers
from providers.auth.jwt import jwt_hs256
from providers.auth.tencent import tencent_tc3

__all__ = [
    "Authenticate",
    "Unsigned",
    "auth_headers",
    "aws_sigv4",
    "google_service_account",
    "jwks_ed25519",
    "jwt_hs256",
    "tencent_tc3",
    "verify_bfl",
    "verify_fal",
    "verify_kie",
    "verify_openrouter",
    "verify_shared_secret",
    "verify_standard_webhook",
    "verify_vidu",
    "verify_wavespeed",
]
