"""Signatures equal to those of the vendors' own signers, over requests nobody would think of."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, urlencode

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.auth import Authenticate, Unsigned, aws_sigv4, jwt_hs256, tencent_tc3
from providers.auth.google import CLOUD_PLATFORM, _assertion, _key_file
from providers.contract import Account

TEXT = st.text(min_size=1, max_size=12)
WORD = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/+=._-", min_size=1, max_size=40
)
SEGMENTS = st.lists(TEXT.filter(lambda text: text not in {".", ".."}), max_size=4)
PAIRS = st.lists(st.tuples(TEXT, st.text(max_size=12)), max_size=5)
MOMENT = st.integers(1_000_000_000, 4_000_000_000)
JSON = st.dictionaries(
    TEXT,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


def account(*parts: str) -> Account:
    return Account("acme", "https://api.example.com", ":".join(parts))


def as_sent(request: httpx.Request) -> Unsigned:
    return Unsigned(request.method, str(request.url), dict(request.headers), request.content)


def signed(authenticate: Authenticate, request: httpx.Request) -> dict[str, str]:
    async def sign() -> dict[str, str]:
        return dict(await authenticate(as_sent(request)))

    return asyncio.run(sign())


def path_of(segments: Sequence[str], *, slash: bool) -> str:
    return "/" + "/".join(quote(text, safe="") for text in segments) + ("/" if slash and segments else "")


@settings(max_examples=400, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    host=st.sampled_from(["bedrock-runtime.us-west-2.amazonaws.com", "bucket.s3.amazonaws.com:443", "[::1]:9000"]),
    segments=SEGMENTS,
    slash=st.booleans(),
    pairs=PAIRS,
    body=st.binary(max_size=60),
    title=st.sampled_from(["plain", "two  blanks", "tab\tand blank "]),
    token=st.none() | WORD,
    keys=st.tuples(WORD, WORD),
    region=st.sampled_from(["us-west-2", "eu-central-1"]),
    service=st.sampled_from(["bedrock", "s3"]),
    moment=MOMENT,
)  # fmt: skip
def test_aws_sigv4_is_that_of_botocore(
    *,
    method: str,
    host: str,
    segments: list[str],
    slash: bool,
    pairs: list[tuple[str, str]],
    body: bytes,
    title: str,
    token: str | None,
    keys: tuple[str, str],
    region: str,
    service: str,
    moment: int,
) -> None:
    auth = pytest.importorskip("botocore.auth")
    awsrequest = pytest.importorskip("botocore.awsrequest")
    credentials = pytest.importorskip("botocore.credentials")
    query = urlencode(pairs, quote_via=quote, safe="")
    url = f"https://{host}{path_of(segments, slash=slash)}" + ("?" + query if query else "")
    headers = {"Content-Type": "application/json", "X-Amz-Meta-Title": title}
    request = httpx.Request(method, url, headers=headers, content=body)
    parts = keys if token is None else (*keys, token)
    ours = signed(
        aws_sigv4(account(*parts), region=region, service=service, now=lambda: moment + 0.5), request
    )

    counted = {**headers, "X-Amz-Content-SHA256": ours["x-amz-content-sha256"]}
    theirs = awsrequest.AWSRequest(method, str(request.url), headers=counted, data=body)
    signer = auth.S3SigV4Auth if service == "s3" else auth.SigV4Auth
    with patch.object(auth, "get_current_datetime", lambda: datetime.fromtimestamp(moment, UTC)):
        signer(credentials.Credentials(*keys, token), service, region).add_auth(theirs)
    assert ours.pop("Authorization") == theirs.headers["Authorization"]
    assert {name: theirs.headers[name] for name in ours} == ours


@settings(max_examples=300, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST"]),
    params=JSON,
    token=st.none() | WORD,
    keys=st.tuples(WORD, WORD),
    service=st.sampled_from(["vclm", "vod"]),
    moment=MOMENT,
)
def test_tencent_tc3_is_that_of_the_sdk(
    *,
    method: str,
    params: dict[str, Any],
    token: str | None,
    keys: tuple[str, str],
    service: str,
    moment: int,
) -> None:
    sdk = pytest.importorskip("tencentcloud.common.abstract_client")
    credential = pytest.importorskip("tencentcloud.common.credential")
    http = pytest.importorskip("tencentcloud.common.http.request")
    host = f"{service}.tencentcloudapi.com"
    client = sdk.AbstractClient(credential.Credential(*keys, token), "ap-guangzhou")
    client._service, client._apiVersion, client._endpoint = service, "2024-05-23", host
    theirs = http.RequestInternal(host, method, "/")
    with patch.object(sdk.time, "time", lambda: moment + 0.5):
        client._build_req_with_tc3_signature("DescribeJob", params, theirs)

    url = f"https://{host}/" + (f"?{theirs.data}" if method == "GET" and theirs.data else "")
    body = theirs.data.encode() if method == "POST" else b""
    request = httpx.Request(
        method, url, headers={"Content-Type": theirs.header["Content-Type"]}, content=body
    )
    parts = keys if token is None else (*keys, token)
    ours = signed(tencent_tc3(account(*parts), service=service, now=lambda: moment + 0.5), request)
    assert {name: theirs.header[name] for name in ours} == ours
    assert "X-TC-Token" in ours or token is None


@settings(max_examples=200, deadline=None)
@given(access_key=WORD, secret_key=WORD, moment=MOMENT)
@pytest.mark.filterwarnings("ignore:The HMAC key is")
def test_kling_takes_what_pyjwt_makes(access_key: str, secret_key: str, moment: int) -> None:
    jwt = pytest.importorskip("jwt")
    request = httpx.Request("GET", "https://api.example.com/")
    ours = signed(jwt_hs256(account(access_key, secret_key), now=lambda: moment + 0.5), request)
    claims = {"iss": access_key, "exp": moment + 1800, "nbf": moment - 5}
    assert ours == {"Authorization": f"Bearer {jwt.encode(claims, secret_key, algorithm='HS256')}"}


@cache
def key_pair() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


@settings(max_examples=50, deadline=None)
@given(
    email=TEXT,
    key_id=WORD,
    moment=MOMENT,
    scope=st.sampled_from([CLOUD_PLATFORM, "https://www.googleapis.com/auth/devstorage.read_only"]),
)
def test_googles_assertion_is_that_of_google_auth(email: str, key_id: str, moment: int, scope: str) -> None:
    helpers = pytest.importorskip("google.auth._helpers")
    crypt = pytest.importorskip("google.auth.crypt")
    jwt = pytest.importorskip("google.auth.jwt")
    service_account = pytest.importorskip("google.oauth2.service_account")
    fields = {
        "type": "service_account",
        "client_email": email,
        "private_key_id": key_id,
        "private_key": key_pair().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    ours = _assertion(_key_file(Account("acme", "", json.dumps(fields))), scope, moment)

    credentials = service_account.Credentials.from_service_account_info(fields, scopes=[scope])
    with patch.object(helpers, "utcnow", lambda: datetime.fromtimestamp(moment, UTC).replace(tzinfo=None)):
        theirs = credentials._make_authorization_grant_assertion()
    assert jwt.decode_header(ours) == jwt.decode_header(theirs)
    assert jwt.decode(ours, verify=False) == jwt.decode(theirs, verify=False)
    public = key_pair().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text, _, proof = ours.rpartition(".")
    assert crypt.verify_signature(text.encode(), helpers.padded_urlsafe_b64decode(proof), public)
