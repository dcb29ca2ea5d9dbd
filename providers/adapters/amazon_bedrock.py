"""Amazon Bedrock: asynchronous invocations of Luma's Ray 2, which leave the video in a bucket of the account's own.

The credential is ACCESS_KEY:SECRET_KEY[:SESSION_TOKEN]; it needs s3:GetObject on the bucket too, so a Bedrock API key
alone does not do. Options of the account: output_s3_uri (s3://bucket/folder, required), region (default us-west-2; it
must be the one in base_url), session_token, kms_key_id, bucket_owner, s3_endpoint (of another S3-compatible store).
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final
from urllib.parse import quote

from providers import answers, media_forms, request_fields, results
from providers.auth import aws_sigv4
from providers.contract import (
    Account,
    Completed,
    Content,
    ErrorKind,
    Failed,
    Handle,
    MediaInput,
    MediaRole,
    Operation,
    ProviderError,
    Running,
    Status,
    SubmitSafety,
    Submitted,
    VideoRequest,
)
from providers.error_table import ErrorTable
from providers.http import AccountClient, HttpDoor
from providers.state_table import StateTable

PROVIDER: Final = "amazon_bedrock"

_MAX_IMAGE: Final = 20 * 1024 * 1024  # our own limit: the whole file is in the request's memory
_FILE: Final = "output.mp4"
_S3_URI: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")
_KEYFRAMES: Final = {MediaRole.FIRST_FRAME: "frame0", MediaRole.LAST_FRAME: "frame1"}
_RATIOS: Final = ("16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21")
_BUCKET_OPTIONS: Final = {"kms_key_id": "kmsKeyId", "bucket_owner": "bucketOwner"}
_STATES: Final = StateTable(
    running=("InProgress",), completed=("Completed",), failed={"Failed": ErrorKind.PROVIDER_ERROR}
)
_ERRORS: Final = ErrorTable(
    code_header="x-amzn-errortype",
    code_at=("__type",),
    message_at=("message", "Message"),
    codes={
        "ThrottlingException": ErrorKind.RATE_LIMITED,
        "ServiceQuotaExceededException": ErrorKind.CONCURRENCY_LIMITED,
        "AccessDeniedException": ErrorKind.PROVIDER_AUTH,
        "ResourceNotFoundException": ErrorKind.JOB_LOST,
        "InternalServerException|ServiceUnavailableException": ErrorKind.PROVIDER_UNAVAILABLE,
    },
    words={"content filters?": ErrorKind.MODERATION_BLOCKED},
)
_UNREADABLE: Final = {
    ErrorKind.PROVIDER_AUTH: (ErrorKind.PROVIDER_AUTH, "may not be read: the key needs s3:GetObject on it"),
    ErrorKind.JOB_LOST: (ErrorKind.CONTENT_EXPIRED, "is not there any more"),
}


class AmazonBedrock:
    """One AWS account in one region."""

    poll_interval: ClassVar[float] = 10.0
    submit_safety: SubmitSafety = "key"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        options, self._door = account.options, http
        self._region = str(options.get("region", "us-west-2"))
        token = options.get("session_token")
        self._account = replace(account, credential=f"{account.credential}:{token}") if token else account
        signed = aws_sigv4(self._account, region=self._region)
        self._http = http.account(self._account, authenticate=signed, errors=_ERRORS)
        output = str(options.get("output_s3_uri", ""))
        if not _S3_URI.fullmatch(output):
            raise ValueError(
                f"upstream '{account.name}': options.output_s3_uri must be s3://bucket/folder of a bucket of your own"
            )
        named = {name: options[option] for option, name in _BUCKET_OPTIONS.items() if option in options}
        self._output = {"s3OutputDataConfig": {"s3Uri": output, **named}}

    async def submit(self, request: VideoRequest) -> Submitted:
        """Start the invocation: exactly one request; the same key starts no second one. Raises ProviderError."""
        request_fields.operation(request, Operation.GENERATE)
        wanted = {
            "prompt": request.prompt,
            "duration": f"{request_fields.whole_seconds(request)}s",
            "resolution": request_fields.tier(request, ("540p", "720p")),
            "aspect_ratio": request_fields.aspect_ratio(request, _RATIOS),
            **request_fields.parameters(request, {}),
            **await _keyframes(request),
        }
        body = {
            "modelId": request.model,
            "modelInput": request_fields.merged(wanted, request.provider_options),
            "outputDataConfig": self._output,
            "clientRequestToken": request.idempotency_key,
        }
        with answers.creating():
            answer = await self._http.request("POST", "/async-invoke", json=body)
        return Submitted({"arn": answers.required(answer.object(), "invocationArn")})

    async def poll(self, handle: Handle) -> Status:
        """Read the invocation."""
        path = f"/async-invoke/{results.segment(handle['arn'])}"
        invocation = (await self._http.request("GET", path, timeout=30)).object()
        match _STATES.read(invocation.get("status")):
            case ErrorKind() as kind:
                return Failed(_ERRORS.verdict(None, invocation.get("failureMessage"), kind))
            case "completed":
                folder = answers.found(invocation, "outputDataConfig", "s3OutputDataConfig", "s3Uri")
                return _at(folder, str(handle["arn"]).rpartition("/")[2])
            case _:
                return Running()

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Read the file from the bucket, which keeps it until its owner deletes it."""
        bucket, _, key = str(outputs["s3_uri"]).removeprefix("s3://").partition("/")
        try:
            content = await self._bucket(bucket).stream("GET", f"/{quote(key)}")
        except ProviderError as error:
            if error.kind not in _UNREADABLE:
                raise
            kind, why = _UNREADABLE[error.kind]
            message = f"{outputs['s3_uri']} {why}"
            raise ProviderError(kind, message, http_status=error.http_status) from error
        return await answers.video_only(content)

    async def check(self) -> str:
        """List one invocation, which costs nothing."""
        await self._http.request("GET", "/async-invoke?maxResults=1", timeout=30)
        return "the key may list invocations"

    def _bucket(self, name: str) -> AccountClient:
        endpoint = self._account.options.get("s3_endpoint")
        host = f"s3.{self._region}.amazonaws.com"
        # A certificate for *.s3 does not cover a name with dots.
        by_path = f"https://{host}/{name}" if "." in name else f"https://{name}.{host}"
        account = replace(self._account, base_url=f"{endpoint}/{name}" if endpoint else by_path)
        return self._door.account(account, authenticate=aws_sigv4(account, region=self._region, service="s3"))


def _at(folder: Any, invocation: str) -> Completed | Failed:
    """Where the file lies: in a folder named after the invocation, whether the answer says so or not."""
    place = str(folder or "").rstrip("/")
    if not _S3_URI.fullmatch(place):
        return results.without_video()
    own = place if place.endswith(f"/{invocation}") else f"{place}/{invocation}"
    return Completed({"s3_uri": f"{own}/{_FILE}"})


async def _keyframes(request: VideoRequest) -> dict[str, Any]:
    files = request_fields.media(request, dict.fromkeys(_KEYFRAMES, 1))
    frames = {name: await _image(item) for role, name in _KEYFRAMES.items() for item in files[role]}
    return {"keyframes": frames} if frames else {}


async def _image(item: MediaInput) -> dict[str, Any]:
    data = await media_forms.base64_text(item, _MAX_IMAGE)
    return {"type": "image", "source": {"type": "base64", "media_type": item.media_type, "data": data}}


def build(account: Account, http: HttpDoor) -> AmazonBedrock:
    """The adapter for one account."""
    return AmazonBedrock(account, http)
