"""Black Forest Labs' FLUX 3 video: one endpoint for all modes, and a regional address to poll.

A request is checked strictly: provider_options may only hold fields that the mode has. Unverified, from third
parties: the signature of callbacks, the reasons of moderation, and that `cost` counts credits. The unit of its
progress is not documented, so none is told.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from providers import answers, media_forms, request_fields, results
from providers.auth import verify_bfl
from providers.contract import (
    Account,
    CallbackRefused,
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
from providers.http import HttpDoor
from providers.state_table import StateTable

PROVIDER: Final = "black_forest_labs"

_AUTH: Final = {"auth": {"header": "x-key"}}
_HOSTS: Final = ("*.bfl.ai",)
_MAX_IMAGE: Final = 20 * 1024 * 1024  # our own limit: the whole file is in the request's memory
_MAX_VIDEO: Final = 50 * 1000 * 1000
_RATIOS: Final = ("21:9", "2:1", "16:9", "4:3", "1:1", "3:4", "9:16")
_RESOLUTIONS: Final = {"720p": "hd", "1080p": "fhd"}
_FILES: Final[Mapping[Operation, Mapping[MediaRole, int]]] = {
    Operation.GENERATE: {MediaRole.FIRST_FRAME: 1, MediaRole.LAST_FRAME: 1},
    Operation.EXTEND: {MediaRole.EXTEND_FROM: 1},
}
_STATES: Final = StateTable(
    running=("Pending",),
    completed=("Ready",),
    failed={
        "Request Moderated": ErrorKind.MODERATION_BLOCKED,
        "Content Moderated": ErrorKind.MODERATION_BLOCKED,
        "Error": ErrorKind.PROVIDER_ERROR,
        "Task not found": ErrorKind.JOB_LOST,
    },
)
_ERRORS: Final = ErrorTable(
    code_at=(),
    message_at=("detail.0.msg", "detail"),
    words={"active tasks|concurren": ErrorKind.CONCURRENCY_LIMITED},
)


class BlackForestLabs:
    """One API key."""

    poll_interval: ClassVar[float] = 5.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        keyed = replace(account, options={**_AUTH, **account.options})
        self._http = http.account(keyed, hosts=_HOSTS, errors=_ERRORS)
        self._key = account.credential.encode()

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the task: exactly one request. Raises ProviderError."""
        request_fields.operation(request, *_FILES)
        body: dict[str, Any] = {
            "prompt": request.prompt,
            "aspect_ratio": request_fields.aspect_ratio(request, _RATIOS),
            "resolution": request_fields.tier(request, {**_RESOLUTIONS, **request.wire}),
            "duration": request_fields.whole_seconds(request),
            **request_fields.parameters(request, {"audio": "generate_audio"}),
            **await _media(request),
        }
        if request.callback_url:
            body |= {"webhook_url": request.callback_url, "webhook_secret": self._secret(request.attempt_id)}
        body = request_fields.merged(body, request.provider_options)
        with answers.creating():
            answer = (await self._http.request("POST", f"/v1/{request.model}", json=body)).object()
        ids = {name: answers.required(answer, name) for name in ("id", "polling_url")}
        return Submitted({**ids, "attempt": request.attempt_id, "cost": answer.get("cost")})

    async def poll(self, handle: Handle) -> Status:
        """Read the task where its create said."""
        task = (await self._http.request("GET", str(handle["polling_url"]), timeout=30)).object()
        match _STATES.read(task.get("status")):
            case ErrorKind.JOB_LOST:
                raise ProviderError(ErrorKind.JOB_LOST, "the upstream no longer knows the task")
            case ErrorKind() as kind:
                return Failed(_ERRORS.verdict(task.get("status"), _why(task.get("details")), kind))
            case "completed":
                cost = answers.cost_in("credit", handle.get("cost"))
                return results.at_address(answers.found(task, "result", "sample"), cost)
        return Running()

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download from the signed address, which works for two hours at most."""
        return await results.download(self._http, outputs)

    async def verify_callback(self, handle: Handle, headers: Mapping[str, str], body: bytes) -> None:
        """Check the signature with the secret of this attempt, and that the report is about this task."""
        verify_bfl(self._secret(str(handle["attempt"])), headers, body)
        if answers.found(answers.decoded(body), "id") != handle["id"]:
            raise CallbackRefused("the callback is about another task")

    async def check(self) -> str:
        """Read a task that nobody made."""
        return await answers.nothing_found(self.poll({"polling_url": "/v1/get_result?id=none"}))

    def _secret(self, attempt_id: str) -> str:
        """A secret per attempt that only this account's holder can make: nothing has to be kept."""
        return hmac.new(self._key, f"webhook {attempt_id}".encode(), hashlib.sha256).hexdigest()


async def _media(request: VideoRequest) -> dict[str, Any]:
    """The mode, and the one field of media that it has."""
    files = request_fields.media(request, _FILES[request.operation])
    if request.operation is Operation.EXTEND:
        if not files[MediaRole.EXTEND_FROM]:
            request_fields.refuse("video", f"{request.model} needs the video to extend")
        return {"mode": "v2v", "start_video": await _file(files[MediaRole.EXTEND_FROM][0], _MAX_VIDEO)}
    first, last = files[MediaRole.FIRST_FRAME], files[MediaRole.LAST_FRAME]
    if last and not first:
        request_fields.refuse("last_frame", f"{request.model} takes it only with a first frame")
    if not first:
        return {"mode": "t2v"}
    return {"mode": "i2v", "keyframes": [await _file(item, _MAX_IMAGE) for item in (*first, *last)]}


async def _file(item: MediaInput, max_bytes: int) -> str:
    return item.url or await media_forms.base64_text(item, max_bytes)


def _why(details: Any) -> str:
    reasons = answers.found(details, "Moderation Reasons")
    if isinstance(reasons, list):
        return ", ".join(str(reason) for reason in reasons)
    return details if isinstance(details, str) else ""


def build(account: Account, http: HttpDoor) -> BlackForestLabs:
    """The adapter for one account."""
    return BlackForestLabs(account, http)
