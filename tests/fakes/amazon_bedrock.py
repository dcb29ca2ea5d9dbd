"""Amazon Bedrock's asynchronous invocations, and the bucket that they write to, both behind SigV4."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from functools import reduce
from typing import Any, ClassVar, Final
from urllib.parse import quote

from providers.sizes import size_of
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job, new_id
from providers.testing_provider import Asked, FakeProvider

_ARN: Final = "arn:aws:bedrock:us-west-2:123456789012:async-invoke/"
_OWN_BUCKET: Final = "the file lies in the account's own bucket"
_STATES: Final = {"queued": "InProgress", "running": "InProgress", "unknown_state": "Hibernating"}
_REASONS: Final = {
    "failed": "The model could not process the request.",
    "moderation": "The generated video has been blocked by our content filters.",
}
_RATIOS: Final = {"1:1", "16:9", "9:16", "4:3", "3:4", "21:9", "9:21"}
_PROOF: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8}/us-west-2/(bedrock|s3)/aws4_request), "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)
_NO_SUCH_KEY: Final = (
    b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
)
_XML: Final = {"content-type": "application/xml"}


class Fake(FakeProvider):
    """StartAsyncInvoke of Luma's Ray 2; the bucket at /s3/<bucket>/<key>."""

    mount = "amazon_bedrock"
    routes = (
        ("POST", "/async-invoke", "create"),
        ("GET", "/async-invoke/{id*}", "poll"),
        ("GET", "/async-invoke", "list"),
        ("GET", "/s3/reel-bucket/{key*}", "stored"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, "ThrottlingException", "Too many requests, please wait before trying again."),
        "server_error": (500, "InternalServerException", "An internal server error occurred."),
        "auth": (
            403,
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        "invalid": (400, "ValidationException", "1 validation error detected."),
        "retired": (404, "ResourceNotFoundException", "This model version has reached the end of its life."),
        "lost": (404, "ResourceNotFoundException", "The invocation was not found."),
        "moderation_submit": (
            400,
            "ValidationException",
            "This request has been blocked by our content filters.",
        ),
        "concurrency": (400, "ServiceQuotaExceededException", "Your account has too many invocations."),
    }
    credential = "AKIACONFORMANCE:conformance/secret+key"
    credential_header = ("authorization", "AWS4-HMAC-SHA256 Credential=")
    options: ClassVar[Mapping[str, Any]] = {
        "region": "us-west-2",
        "output_s3_uri": "s3://reel-bucket/videos",
        "s3_endpoint": "{origin}/amazon_bedrock/s3",
    }
    example: ClassVar[Mapping[str, Any]] = {"model": "luma.ray-v2:0", "seconds": 5, "size": "960x540"}
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "funds": "it bills the AWS account afterwards",
        "out_of_memory": "it has no word for it",
        "cancelled": "it has no such state",
        "expired": "it has no such state",
        "completed_with_error": "a completed invocation carries no error",
        "foreign_url": _OWN_BUCKET,
        "foreign_url_field": _OWN_BUCKET,
        "expired_url": _OWN_BUCKET,
        "expired_foreign_url": _OWN_BUCKET,
    }
    honours_keys = True

    def authorized(self, request: Request, key: str) -> bool:
        """Check the signature, made anew from what arrived."""
        proof = _PROOF.fullmatch(request.headers.get("authorization", ""))
        key_id, _, rest = key.partition(":")
        secret, _, token = rest.partition(":")
        if proof is None or proof[1] != key_id or request.headers.get("x-amz-security-token", "") != token:
            return False
        service = "s3" if "/s3/" in request.path else "bedrock"
        names = proof[4].split(";")
        hashed = hashlib.sha256(request.body).hexdigest()
        if proof[3] != service or not {"host", "x-amz-date"} <= set(names):
            return False
        if request.headers.get("x-amz-content-sha256", hashed if service == "bedrock" else "") != hashed:
            return False  # only S3 wants it
        return hmac.compare_digest(proof[5], _signature(request, secret, proof[2], names, hashed))

    def job_id(self) -> str:
        """Make the name of an invocation."""
        return _ARN + new_id("i").removeprefix("i_")[:12]

    def asked(self, request: Request) -> Asked:
        """Read a create of Ray 2."""
        body, wanted = request.fields, request.fields["modelInput"]
        if body["modelId"] != "luma.ray-v2:0":
            raise ValueError("modelId is none of those with asynchronous invocations")
        if not body["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"].startswith("s3://"):
            raise ValueError("outputDataConfig: s3Uri must be an S3 address")
        if wanted["duration"] not in {"5s", "9s"} or wanted["resolution"] not in {"540p", "720p"}:
            raise ValueError("modelInput: unsupported duration or resolution")
        if wanted["aspect_ratio"] not in _RATIOS or not 1 <= len(wanted["prompt"]) <= 5000:
            raise ValueError("modelInput: unsupported aspect_ratio, or no prompt")
        for frame in wanted.get("keyframes", {}).values():
            if (frame["type"], frame["source"]["type"]) != ("image", "base64"):
                raise ValueError("keyframes: only images in base64")
        return Asked(
            prompt=wanted["prompt"],
            size=size_of(wanted["resolution"], wanted["aspect_ratio"]),
            seconds=wanted["duration"].rstrip("s"),
            model=body["modelId"],
            key=body["clientRequestToken"],
        )

    async def created(self, request: Request, job: Job) -> Answer:
        """The name of the invocation."""
        return as_json({"invocationArn": job.id})

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The invocation; its output lies in a folder named after it."""
        uri = job.fields["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"].rstrip("/")
        folder = "" if "plain folder" in job.prompt else f"/{job.id.rpartition('/')[2]}"
        shown = {
            "invocationArn": job.id,
            "status": "Failed" if state in _REASONS else _STATES.get(state, "Completed"),
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": uri + folder}},
        }
        if state in _REASONS:
            shown["failureMessage"] = _REASONS[state]
        return as_json(shown)

    async def stored(self, request: Request) -> Answer:
        """A file of the bucket."""
        folder, _, name = request.params["key"].removeprefix("videos/").partition("/")
        job = self.state.jobs.get(_ARN + folder)
        return (
            Answer(404, _NO_SUCH_KEY, _XML)
            if job is None or name != "output.mp4"
            else await self.foreign(job)
        )

    async def list(self, request: Request) -> Answer:
        """The invocations."""
        return as_json({"asyncInvokeSummaries": [{"invocationArn": id_} for id_ in self.state.jobs]})

    def error(self, status: int, code: Any, message: str) -> Answer:
        """An error whose type is in a header."""
        return as_json(
            {"message": message}, status, **{"x-amzn-errortype": f"{code}:http://internal.amazon.com/"}
        )


def _signature(request: Request, secret: str, scope: str, names: list[str], hashed: str) -> str:
    """What the vendor computes: the path is encoded once more, for S3 it is not."""
    head, colon, arn = request.path.partition("arn:")
    path = head + quote(colon + arn, safe="")
    if "/s3/" not in path:
        path = quote(path, safe="/~")
    query = "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(request.query.items())
    )
    headers = "".join(f"{name}:{request.headers[name]}\n" for name in names)
    canonical = "\n".join((request.method, path, query, headers, ";".join(names), hashed))
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", request.headers["x-amz-date"], scope, digest))
    key = reduce(
        lambda made, part: hmac.new(made, part.encode(), hashlib.sha256).digest(),
        scope.split("/"),
        f"AWS4{secret}".encode(),
    )
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
