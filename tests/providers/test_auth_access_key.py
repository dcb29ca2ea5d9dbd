"""AWS Signature Version 4 and Tencent's TC3: the vendors' published examples, and what goes over the wire."""

import calendar
import time
from collections.abc import Callable
from functools import partial

import pytest

from providers.auth import Authenticate, aws_sigv4, tencent_tc3
from providers.auth.access_key import authorization, sha256_hex
from providers.contract import ErrorKind, ProviderError
from tests.providers.auth_wire import Clock, account, sent, unsigned

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOON = Clock(1_785_672_000.9)
ARN = "arn%3Aaws%3Abedrock%3Aus-west-2%3A123456789012%3Aasync-invoke%2Fa1b2"


def at(stamp: str) -> Clock:
    return Clock(calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ")))


def signature(headers: dict[str, str]) -> str:
    return headers["Authorization"].rpartition("Signature=")[2]


def test_the_vanilla_request_of_the_aws_test_suite() -> None:
    proof = authorization(
        "AWS4-HMAC-SHA256",
        ("AKIDEXAMPLE", SECRET),
        key_prefix="AWS4",
        stamp="20150830T123600Z",
        scope=("20150830", "us-east-1", "service", "aws4_request"),
        request=("GET", "/", ""),
        headers={"x-amz-date": "20150830T123600Z", "host": "example.amazonaws.com"},
        payload_hash=sha256_hex(b""),
    )
    assert proof == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date, "
        "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ("prefix=J&max-keys=2", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
async def test_the_bucket_requests_of_the_s3_documentation(query: str, expected: str) -> None:
    host = "examplebucket.s3.amazonaws.com"
    key = account("AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    sign = aws_sigv4(key, region="us-east-1", service="s3", now=at("20130524T000000Z"))
    headers = dict(await sign(unsigned("GET", f"https://{host}/?{query}", {"host": host})))
    assert signature(headers) == expected
    assert headers["x-amz-date"] == "20130524T000000Z"
    assert headers["x-amz-content-sha256"] == sha256_hex(b"")


async def test_the_example_of_the_tencent_documentation() -> None:
    host = "cvm.tencentcloudapi.com"
    body = rb'{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}'
    sign = tencent_tc3(
        account("AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******:Gu5t9xGARNpq86cd98joQYCN3*******"),
        service="cvm",
        now=Clock(1551113065),
    )
    sent_headers = {"host": host, "content-type": "application/json; charset=utf-8"}
    headers = await sign(unsigned("POST", f"https://{host}/", sent_headers, body))
    assert headers["X-TC-Timestamp"] == "1551113065"
    assert headers["Authorization"] == (
        "TC3-HMAC-SHA256 Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******/2019-02-25/cvm/tc3_request, "
        "SignedHeaders=content-type;host, "
        "Signature=2230eefd229f582d8b1b891af7107b91597240707d778ab3738f756258d7652c"
    )


@pytest.mark.parametrize(
    ("service", "token", "expected"),
    [
        ("bedrock", "", "eb1413ab98755babb95b861456ce66fa06b4613250937575a2f09d5d82a307c6"),
        ("bedrock", ":SESSION/token==", "ac0420cad3d7f1df9ef7e51cc5d50bdb3353f8d5bcb518f6d23149afe817fbe7"),
        ("s3", "", "14a7d019f19f9ac48b894c9513e4d2ccc922cd86185fec0a7d814244684aecfa"),
    ],
)
async def test_an_encoded_path_is_encoded_again_except_for_s3(
    service: str, token: str, expected: str
) -> None:
    """The signatures were made with botocore 1.44.8."""
    host = "bedrock-runtime.us-west-2.amazonaws.com"
    sign = aws_sigv4(account(f"AKIDEXAMPLE:{SECRET}{token}"), region="us-west-2", service=service, now=NOON)
    headers = dict(await sign(unsigned("GET", f"https://{host}/async-invoke/{ARN}", {"host": host})))
    assert signature(headers) == expected
    assert headers.get("x-amz-security-token", "") == token.removeprefix(":")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"/async-invoke/{ARN}", None),
        ("GET", "/async-invoke?statusEquals=InProgress&maxResults=10&nextToken=a%2Fb%3D", None),
        ("POST", "/async-invoke", {"modelId": "luma.ray-v2:0", "modelInput": {"prompt": "Füchse 🦊"}}),
    ],
)
async def test_what_arrives_is_what_aws_sigv4_signed(method: str, path: str, body: object) -> None:
    credential = f"AKIDEXAMPLE:{SECRET}:TOKEN"
    sign = aws_sigv4(account(credential), region="us-west-2", now=NOON)
    seen, base = await sent(credential, method, path, sign, json=body)
    assert seen.url == base + path
    assert seen.headers["authorization"] == (await sign(seen))["Authorization"]
    assert SECRET not in repr(seen)
    signed = seen.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    content_type = ["content-type"] * (body is not None)
    assert signed == [
        *content_type, "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token",
    ]  # fmt: skip


async def test_what_arrives_is_what_tencent_tc3_signed() -> None:
    credential = "AKID:s3cret:TOKEN"
    sign = tencent_tc3(account(credential), service="vod", now=NOON)
    headers = {"X-TC-Action": "DescribeTaskDetail", "X-TC-Version": "2018-07-17"}
    seen, _ = await sent(credential, "POST", "/", sign, json={"TaskId": "任务"}, headers=headers)
    assert seen.headers["authorization"] == (await sign(seen))["Authorization"]
    assert seen.headers["x-tc-action"] == "DescribeTaskDetail"
    assert seen.headers["x-tc-token"] == "TOKEN"
    assert seen.headers["x-tc-timestamp"] == str(int(NOON.seconds))
    assert "s3cret" not in repr(seen)


@pytest.mark.parametrize("change", ["method", "path", "query", "body", "host", "clock"])
async def test_nothing_that_is_signed_can_change(change: str) -> None:
    request = unsigned("POST", "https://a.example/x?y=1", {"host": "a.example"}, b"{}")
    other = {
        "method": unsigned("PUT", request.url, request.headers, b"{}"),
        "path": unsigned("POST", "https://a.example/z?y=1", request.headers, b"{}"),
        "query": unsigned("POST", "https://a.example/x?y=2", request.headers, b"{}"),
        "body": unsigned("POST", request.url, request.headers, b"[]"),
        "host": unsigned("POST", request.url, {"host": "b.example"}, b"{}"),
    }.get(change, request)
    clock = Clock(NOON.seconds)
    sign = aws_sigv4(account(f"AKID:{SECRET}"), region="us-west-2", now=clock)
    first = await sign(request)
    clock.seconds += change == "clock"
    assert signature(dict(await sign(other))) != signature(dict(first))


async def test_blanks_within_a_header_count_once() -> None:
    sign = aws_sigv4(account(f"AKID:{SECRET}"), region="us-west-2", now=NOON)
    headers = {"host": "a.example", "x-amz-meta-title": "a b"}
    one = await sign(unsigned("PUT", "https://a.example/x", headers))
    more = await sign(unsigned("PUT", "https://a.example/x", {**headers, "x-amz-meta-title": " a   b "}))
    other = await sign(unsigned("PUT", "https://a.example/x", {**headers, "x-amz-meta-title": "ab"}))
    assert signature(dict(one)) == signature(dict(more)) != signature(dict(other))


@pytest.mark.parametrize("maker", [partial(aws_sigv4, region="x"), partial(tencent_tc3, service="x")])
async def test_a_credential_without_a_secret_is_refused(maker: Callable[..., Authenticate]) -> None:
    sign = maker(account("key-without-secret"))
    with pytest.raises(ProviderError, match="the credential must have the form") as caught:
        await sign(unsigned())
    assert caught.value.kind is ErrorKind.PROVIDER_AUTH
    assert "key-without-secret" not in caught.value.message
