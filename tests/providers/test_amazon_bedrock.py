"""What is special about Bedrock: signatures, codes in a header, keys that are honoured, a bucket of one's own."""

from typing import Any

import pytest

from providers.adapters import amazon_bedrock
from providers.answers import Response
from providers.contract import (
    Account,
    Completed,
    ErrorKind,
    Failed,
    MediaRole,
    Operation,
    ProviderError,
    VideoRequest,
)
from providers.http import HttpDoor
from providers.registry import build_adapter
from tests.fakes import FakeProviders
from tests.providers.wire import ended, media, video_request

KEY = "AKIACONFORMANCE:conformance/secret+key"
FIRST, LAST = (media(role, b"a", "image/jpeg") for role in (MediaRole.FIRST_FRAME, MediaRole.LAST_FRAME))


@pytest.fixture
def adapter(fake: FakeProviders, door: HttpDoor) -> amazon_bedrock.AmazonBedrock:
    fake.config(api_key=KEY)
    return made(fake, door)


def made(fake: FakeProviders, door: HttpDoor, **options: Any) -> amazon_bedrock.AmazonBedrock:
    spec = fake.upstream("amazon_bedrock")
    spec.options |= options
    adapter = build_adapter(spec, door)
    assert isinstance(adapter, amazon_bedrock.AmazonBedrock)
    return adapter


def asked(**changes: Any) -> VideoRequest:
    return video_request(**{"model": "luma.ray-v2:0", "size": "1280x720", "seconds": 5, **changes})


async def test_a_text_becomes_a_video(adapter: amazon_bedrock.AmazonBedrock, fake: FakeProviders) -> None:
    await adapter.submit(asked(provider_options={"loop": True}, idempotency_key="attempt-1"))
    request = fake.requests("POST")[-1]
    assert request["path"] == "/amazon_bedrock/async-invoke"
    assert request["fields"] == {
        "modelId": "luma.ray-v2:0",
        "modelInput": {
            "prompt": "a fox",
            "duration": "5s",
            "resolution": "720p",
            "aspect_ratio": "16:9",
            "loop": True,
        },
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://reel-bucket/videos"}},
        "clientRequestToken": "attempt-1",
    }


async def test_frames_are_keyframes_in_base64(
    adapter: amazon_bedrock.AmazonBedrock, fake: FakeProviders
) -> None:
    await adapter.submit(asked(media=(LAST, FIRST), resolution="540p", aspect_ratio="9:21"))
    sent = fake.requests("POST")[-1]["fields"]["modelInput"]
    frame = {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "YQ=="}}
    assert sent["keyframes"] == {"frame0": frame, "frame1": frame}
    assert (sent["resolution"], sent["aspect_ratio"]) == ("540p", "9:21")


async def test_how_the_bucket_is_written_to_is_an_option(fake: FakeProviders, door: HttpDoor) -> None:
    await made(fake, door, kms_key_id="alias/reel", bucket_owner="123456789012").submit(asked())
    assert fake.requests("POST")[-1]["fields"]["outputDataConfig"]["s3OutputDataConfig"] == {
        "s3Uri": "s3://reel-bucket/videos",
        "kmsKeyId": "alias/reel",
        "bucketOwner": "123456789012",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"operation": Operation.EXTEND}, "operation: .* cannot extend"),
        ({"size": "1920x1080"}, "size: 1920x1080 is none of the resolutions 540p, 720p"),
        ({"media": (media(MediaRole.REFERENCE, b"a"),)}, "reference: .* takes no such file"),
        ({"parameters": {"seed": 1}}, "seed: .* takes no such parameter"),
    ],
)
async def test_what_it_does_not_take(
    adapter: amazon_bedrock.AmazonBedrock, fake: FakeProviders, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        await adapter.submit(asked(**changes))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert not fake.requests()


async def test_the_names_of_invocations_are_signed_as_aws_does_it(
    adapter: amazon_bedrock.AmazonBedrock, fake: FakeProviders
) -> None:
    handle = (await adapter.submit(asked())).handle
    assert handle["arn"].startswith("arn:aws:bedrock:us-west-2:123456789012:async-invoke/")
    assert isinstance(await ended(adapter, handle), Completed), "the fake checks every signature"


@pytest.mark.parametrize("prompt", ["a fox", "plain folder"])
async def test_the_file_is_read_from_the_bucket_with_a_signature(
    adapter: amazon_bedrock.AmazonBedrock, fake: FakeProviders, prompt: str
) -> None:
    handle = (await adapter.submit(asked(prompt=prompt))).handle
    status = await ended(adapter, handle)
    assert isinstance(status, Completed)
    invocation = handle["arn"].rpartition("/")[2]
    assert status.outputs == {"s3_uri": f"s3://reel-bucket/videos/{invocation}/output.mp4"}
    content = await adapter.open_content(handle, status.outputs)
    assert b"".join([chunk async for chunk in content.chunks])[4:8] == b"ftyp"
    read = fake.requests("GET")[-1]
    assert read["path"] == f"/amazon_bedrock/s3/reel-bucket/videos/{invocation}/output.mp4"
    assert "/us-west-2/s3/aws4_request" in read["headers"]["authorization"]


async def test_a_file_that_is_not_there_or_not_to_be_read(
    adapter: amazon_bedrock.AmazonBedrock, fake: FakeProviders
) -> None:
    uri = "s3://reel-bucket/videos/gone/output.mp4"
    with pytest.raises(ProviderError, match="is not there any more") as caught:
        await adapter.open_content({}, {"s3_uri": uri})
    assert caught.value.kind is ErrorKind.CONTENT_EXPIRED
    fake.config(api_key="another:key")
    with pytest.raises(ProviderError, match="needs s3:GetObject") as caught:
        await adapter.open_content({}, {"s3_uri": uri})
    assert caught.value.kind is ErrorKind.PROVIDER_AUTH


@pytest.mark.parametrize(
    ("options", "bucket", "base"),
    [
        ({}, "reel", "https://reel.s3.us-west-2.amazonaws.com"),
        ({"region": "eu-west-1"}, "reel.example", "https://s3.eu-west-1.amazonaws.com/reel.example"),
        ({"s3_endpoint": "https://minio.example"}, "reel", "https://minio.example/reel"),
    ],
)
async def test_the_address_of_a_bucket(
    door: HttpDoor, options: dict[str, str], bucket: str, base: str
) -> None:
    account = Account("aws", "https://aws.example", KEY, {"output_s3_uri": f"s3://{bucket}", **options})
    assert amazon_bedrock.build(account, door)._bucket(bucket)._base == base


@pytest.mark.parametrize("output", ["", "reel-bucket/videos", "s3://Reel_Bucket/videos"])
async def test_the_bucket_must_be_named(door: HttpDoor, output: str) -> None:
    with pytest.raises(ValueError, match=r"options.output_s3_uri must be s3://bucket/folder"):
        amazon_bedrock.build(Account("aws", "https://aws.example", KEY, {"output_s3_uri": output}), door)


async def test_a_session_token_is_an_option_or_part_of_the_credential(
    fake: FakeProviders, door: HttpDoor
) -> None:
    fake.config(api_key=f"{KEY}:session-token")
    assert await made(fake, door, session_token="session-token").check()
    with pytest.raises(ProviderError):
        await made(fake, door).check()
    assert fake.requests("GET")[0]["headers"]["x-amz-security-token"] == "session-token"


async def test_a_bedrock_api_key_is_refused_before_anything_is_sent(
    fake: FakeProviders, door: HttpDoor
) -> None:
    spec = fake.upstream("amazon_bedrock", api_key="bedrock-api-key")
    with pytest.raises(ProviderError, match="must have the form ACCESS_KEY:SECRET_KEY") as caught:
        await build_adapter(spec, door).submit(asked())
    assert caught.value.kind is ErrorKind.PROVIDER_AUTH
    assert not fake.requests()


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (400, "ValidationException", "blocked by our content filters", ErrorKind.MODERATION_BLOCKED),
        (400, "ValidationException", "duration is unsupported", ErrorKind.INVALID_REQUEST),
        (400, "ServiceQuotaExceededException", "", ErrorKind.CONCURRENCY_LIMITED),
        (400, "ConflictException", "", ErrorKind.INVALID_REQUEST),
        (403, "AccessDeniedException", "", ErrorKind.PROVIDER_AUTH),
        (429, "ThrottlingException", "", ErrorKind.RATE_LIMITED),
        (503, "ServiceUnavailableException", "", ErrorKind.PROVIDER_UNAVAILABLE),
    ],
)
def test_the_code_is_in_a_header_or_in_the_body(
    status: int, code: str, message: str, kind: ErrorKind
) -> None:
    body = f'{{"message": "{message}"}}'.encode()
    in_header = amazon_bedrock._ERRORS(Response(status, {"x-amzn-errortype": f"{code}:http://x/"}, body))
    in_body = amazon_bedrock._ERRORS(Response(status, {}, body[:-1] + f', "__type": "{code}"}}'.encode()))
    for error in (in_header, in_body):
        assert error is not None
        assert (error.kind, error.upstream_code) == (kind, code)
        assert error.ambiguous == (status >= 500)


async def test_moderation_is_told_in_words(adapter: amazon_bedrock.AmazonBedrock) -> None:
    status = await ended(adapter, (await adapter.submit(asked(prompt="[fault:moderation]"))).handle)
    assert isinstance(status, Failed)
    assert status.error.kind is ErrorKind.MODERATION_BLOCKED
    assert "content filters" in status.error.message


async def test_the_check_costs_nothing(adapter: amazon_bedrock.AmazonBedrock, fake: FakeProviders) -> None:
    assert await adapter.check()
    assert fake.stats()["jobs"] == 0
