"""Vidu: the path of a create says what the video is made from; callbacks are signed with the account's key.

From memory, so unverified: the code SystemThrottling. Not offered: extension.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from providers import answers, content_roles, media_forms, request_fields, results
from providers.auth import verify_vidu
from providers.contract import (
    Account,
    CallbackRefused,
    Content,
    ErrorKind,
    Failed,
    Handle,
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
from providers.http import HttpDoor
from providers.state_table import StateTable

PROVIDER: Final = "vidu"

_AUTH: Final = {"auth": {"header": "Authorization", "prefix": "Token "}}
_MAX_DATA: Final = 14 * 1024 * 1024  # a body has at most 20 MB, base64 of all images included
_MOST: Final = {"image": 7}
_KINDS: Final[Mapping[tuple[MediaRole, ...], str]] = {
    (): "text2video",
    (MediaRole.FIRST_FRAME,): "img2video",
    (MediaRole.FIRST_FRAME, MediaRole.LAST_FRAME): "start-end2video",
}
_RESOLUTIONS: Final = {"540p": "540p", "720p": "720p", "1080p": "1080p", "1440p": "2K", "2k": "2K"}
_RATIOS: Final = ("16:9", "9:16", "1:1", "4:3", "3:4")
_PARAMETERS: Final[Mapping[str, request_fields.Write]] = {
    "seed": "seed",
    "audio": "audio",
    "service_tier": request_fields.choice("service_tier", "off_peak", {"default": False, "flex": True}),
}
_STATES: Final = StateTable(
    queued=("created", "queueing", "scheduled"),
    running=("processing",),
    completed=("success",),
    failed={"failed": ErrorKind.PROVIDER_ERROR},
)
_ERRORS: Final = ErrorTable(
    code_at=("reason",),
    message_at=("message",),
    codes={
        "AuditSubmitIllegal|TaskPromptPolicyViolation|CreationPolicyViolation": ErrorKind.MODERATION_BLOCKED,
        "Image.*": ErrorKind.INPUT_MEDIA,
        "CreditInsufficient": ErrorKind.PROVIDER_FUNDS,
        "UserCancelled": ErrorKind.CANCELLED,
        "ModelUnavailable": ErrorKind.MODEL_RETIRED,
        "BadRequest|Field.*|PageSizeOutOfRange": ErrorKind.INVALID_REQUEST,
        "Unauthorized|Forbidden": ErrorKind.PROVIDER_AUTH,
        "QuotaExceeded": ErrorKind.CONCURRENCY_LIMITED,
        "TooManyRequests|SystemThrottling|OperationInProcess": ErrorKind.RATE_LIMITED,
    },
)


class Vidu:
    """One account at one of the two sites."""

    poll_interval: ClassVar[float] = 5.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._http = http.account(replace(account, options={**_AUTH, **account.options}), errors=_ERRORS)
        self._key = account.credential

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the task: exactly one request. Raises ProviderError."""
        request_fields.operation(request, Operation.GENERATE)
        files = content_roles.frames_or_references(request, _MOST)
        roles = tuple(item.role for item in files)
        if roles == (MediaRole.LAST_FRAME,):
            request_fields.refuse("last_frame", f"{request.model} takes it only with a first frame")
        kind = _KINDS.get(roles, "reference2video")
        body: dict[str, Any] = {
            "model": request.model,
            "prompt": request.prompt,
            "duration": request_fields.whole_seconds(request),
            "resolution": request_fields.tier(request, _RESOLUTIONS),
            "payload": request.attempt_id,
            **request_fields.parameters(request, _PARAMETERS),
        }
        if files:
            body["images"] = await media_forms.addresses_or_data(files, _MAX_DATA, _MAX_DATA)
        if kind in {"text2video", "reference2video"} and request.wire.get("aspect_ratio", True):
            body["aspect_ratio"] = request_fields.aspect_ratio(request, _RATIOS)
        if request.callback_url:
            body["callback_url"] = request.callback_url
        body = request_fields.merged(body, request.provider_options)
        with answers.creating():
            answer = await self._http.request("POST", f"/{kind}", json=body)
        id_ = answers.required(answer.object(), "task_id")
        return Submitted({"id": id_, "callback_url": body.get("callback_url")})

    async def poll(self, handle: Handle) -> Status:
        """Read the task."""
        task = await self._task(handle)
        match _STATES.read(task.get("state")):
            case ErrorKind() as kind:
                return Failed(_ERRORS.verdict(task.get("err_code"), None, kind))
            case "completed":
                cost = answers.cost_in("credit", task.get("credits"))
                return results.at_address(answers.found(task, "creations", 0, "url"), cost)
            case state:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download; the address works for a day."""
        return await results.download(self._http, outputs)

    async def cancel(self, handle: Handle) -> None:
        """Stop a task that is not scheduled yet. A later one is refused, and goes on."""
        try:
            await self._http.request("POST", f"{_path(handle)}/cancel", json={"id": handle["id"]}, timeout=30)
        except ProviderError as error:
            if error.kind is ErrorKind.JOB_LOST:
                return
            late = error.kind is ErrorKind.INVALID_REQUEST
            if not late or not isinstance(_STATES.read((await self._task(handle)).get("state")), ErrorKind):
                raise

    async def verify_callback(self, handle: Handle, headers: Mapping[str, str], body: bytes) -> None:  # noqa: ARG002 - it is not signed
        """Check that Vidu calls. What it says is not signed, so only a poll tells."""
        url = handle.get("callback_url")
        if not url:
            raise CallbackRefused("no callback was asked for")
        verify_vidu(self._key, url, headers)

    async def _task(self, handle: Handle) -> dict[str, Any]:
        return (await self._http.request("GET", f"{_path(handle)}/creations", timeout=30)).object()


def _path(handle: Handle) -> str:
    return f"/tasks/{results.segment(handle['id'])}"


def build(account: Account, http: HttpDoor) -> Vidu:
    """The adapter for one account."""
    return Vidu(account, http)
