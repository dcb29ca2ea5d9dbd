"""boto3: bedrock-runtime for the invocations, s3 for the file; the fake checks both signatures."""

import time
from typing import Any, ClassVar

import boto3
from botocore.config import Config

from tests.conformance.official import Ended, OfficialClient


class Boto3(OfficialClient):
    """`start_async_invoke` and `get_async_invoke`."""

    provider = "amazon_bedrock"
    success = "Completed"
    ends: ClassVar = {
        "failed": ("Failed", "could not process the request"),
        "moderation": ("Failed", "content filters"),
    }

    refusals: ClassVar = {
        "auth": ("ClientError", "UnrecognizedClientException"),
        "rate_limited": ("ThrottlingException", "Too many requests"),
        "concurrency": ("ServiceQuotaExceededException", "too many invocations"),
        "invalid": ("ValidationException", "1 validation error detected."),
        "moderation_submit": ("ValidationException", "content filters"),
        "retired": ("ResourceNotFoundException", "end of its life"),
        "server_error": ("InternalServerException", "An internal server error occurred."),
        "lost": ("ResourceNotFoundException", "The invocation was not found."),
    }

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        key_id, secret = credential.split(":")
        self._session = boto3.Session(key_id, secret, region_name="us-west-2")
        self._runtime = self._open("bedrock-runtime", "")

    def make(self, prompt: str) -> Ended:
        """Start and read an invocation, then take the object from the bucket."""
        output = {"s3OutputDataConfig": {"s3Uri": "s3://reel-bucket/videos"}}
        wanted = {"prompt": prompt, "duration": "5s", "resolution": "540p", "aspect_ratio": "16:9"}
        arn = self._runtime.start_async_invoke(
            modelId="luma.ray-v2:0", modelInput=wanted, outputDataConfig=output
        )["invocationArn"]
        shown = self._runtime.get_async_invoke(invocationArn=arn)
        while shown["status"] == "InProgress":
            time.sleep(0.05)
            shown = self._runtime.get_async_invoke(invocationArn=arn)
        listed = self._runtime.list_async_invokes()["asyncInvokeSummaries"]
        assert [each["invocationArn"] for each in listed] == [arn]
        if shown["status"] == "Failed":
            return Ended("Failed", shown["failureMessage"])
        address = shown["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]
        bucket, _, folder = address.removeprefix("s3://").partition("/")
        stored = self._open("s3", "/s3").get_object(Bucket=bucket, Key=f"{folder}/output.mp4")
        return Ended(shown["status"], video=stored["Body"].read())

    def close(self) -> None:
        """Close it."""
        self._runtime.close()

    def _open(self, service: str, path: str) -> Any:
        own = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        return self._session.client(service, endpoint_url=f"{self.origin}/amazon_bedrock{path}", config=own)
