"""Seedance on Volcengine Ark and on BytePlus ModelArk: a task per video, made from a list of content with roles.

One adapter for both sites and every region: base_url chooses, and the models' names differ. From memory and third
parties, so unverified: what QuotaExceeded counts, and the 409 for a running task that is deleted.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers import answers, content_roles, request_fields, results
from providers.contract import (
    Account,
    Completed,
    Content,
    ErrorKind,
    Failed,
    Handle,
    Operation,
    ProviderError,
    ReportedCost,
    Running,
    Status,
    SubmitSafety,
    Submitted,
    VideoRequest,
)
from providers.error_table import ErrorTable
from providers.http import HttpDoor
from providers.state_table import StateTable

PROVIDER: Final = "ark"

_TASKS: Final = "/contents/generations/tasks"
_MAX_FILE: Final = 20 * 1024 * 1024  # our own limits: what is not sent by address is in the request's memory
_MAX_TOGETHER: Final = 48 * 1024 * 1024
_MOST: Final = {"image": 9, "video": 3, "audio": 3}
_RESOLUTIONS: Final = ("480p", "720p", "1080p", "4k")
_RATIOS: Final = ("16:9", "9:16", "1:1", "4:3", "3:4", "21:9")
_PARAMETERS: Final[Mapping[str, request_fields.Write]] = {
    "seed": "seed",
    "audio": "generate_audio",
    "service_tier": request_fields.choice(
        "service_tier", "service_tier", {"default": "default", "flex": "flex"}
    ),
}
_FLAG: Final = re.compile(
    r"(?<!\S)--(rs|resolution|rt|ratio|dur|duration|frames|fps|framespersecond|seed|cf|camerafixed|wm|watermark)\b",
    re.IGNORECASE,
)
_STATES: Final = StateTable(
    queued=("queued",),
    running=("running",),
    completed=("succeeded",),
    failed={
        "failed": ErrorKind.PROVIDER_ERROR,
        "cancelled": ErrorKind.CANCELLED,
        "expired": ErrorKind.PROVIDER_ERROR,
    },
)
_ERRORS: Final = ErrorTable(
    in_success=False,
    codes={
        r".*(SensitiveContentDetected|RiskDetection)(\..*)?": ErrorKind.MODERATION_BLOCKED,
        r"(Invalid|Missing)Parameter(\..*)?": ErrorKind.INVALID_REQUEST,
        "AuthenticationError|AccessDenied": ErrorKind.PROVIDER_AUTH,
        "AccountOverdueError": ErrorKind.PROVIDER_FUNDS,
        r"InvalidEndpointOrModel\..*|ModelNotOpen": ErrorKind.MODEL_RETIRED,
        r"RateLimitExceeded(\..*)?|ModelAccountRpmRateLimitExceeded": ErrorKind.RATE_LIMITED,
        "QuotaExceeded": ErrorKind.CONCURRENCY_LIMITED,
        "ServerOverloaded": ErrorKind.PROVIDER_UNAVAILABLE,
    },
)


class Ark:
    """One account at one of the two sites."""

    poll_interval: ClassVar[float] = 5.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._http = http.account(account, errors=_ERRORS)

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the task: exactly one request. Raises ProviderError."""
        request_fields.operation(request, Operation.GENERATE)
        if flag := _FLAG.search(request.prompt):
            request_fields.refuse("prompt", f"'{flag[0]}' would change the video; use the field of that name")
        body: dict[str, Any] = {
            "model": request.model,
            "content": await content_roles.content(request, _MOST, _MAX_FILE, _MAX_TOGETHER),
            "resolution": request_fields.tier(request, _RESOLUTIONS),
            "duration": request_fields.whole_seconds(request),
            **request_fields.parameters(request, _PARAMETERS),
        }
        if request.wire.get("aspect_ratio", True):
            body["ratio"] = request_fields.aspect_ratio(request, _RATIOS)
        if request.callback_url:
            body["callback_url"] = request.callback_url
        body = request_fields.merged(body, request.provider_options)
        with answers.creating():
            answer = await self._http.request("POST", _TASKS, json=body)
        return Submitted({"id": answers.required(answer.object(), "id")})

    async def poll(self, handle: Handle) -> Status:
        """Read the task; a failed one says why in HTTP 200."""
        task = await self._task(handle)
        match _STATES.read(task.get("status")):
            case ErrorKind() as kind:
                code, message = answers.found(task, "error", "code"), answers.found(task, "error", "message")
                return Failed(_ERRORS.verdict(code, message, kind))
            case "completed":
                return _completed(task)
            case state:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download; the address works for a day, with Seedance 2.5 a hundred times."""
        return await results.download(self._http, outputs)

    async def cancel(self, handle: Handle) -> None:
        """Stop a task that is still queued. A running one is refused, and goes on.

        The same call would erase the record of a task that has ended, so the state is read first.
        """
        try:
            state = _STATES.read((await self._task(handle)).get("status"))
            if state in {"queued", "running"}:
                await self._http.request("DELETE", _path(handle), timeout=30)
        except ProviderError as error:
            if error.kind is ErrorKind.JOB_LOST:
                return
            raise
        if state == "completed":
            raise ProviderError(ErrorKind.PROVIDER_ERROR, "the task has succeeded already")

    async def check(self) -> str:
        """List one task."""
        await self._http.request("GET", f"{_TASKS}?page_num=1&page_size=1", timeout=30)
        return "the list of tasks can be read"

    async def _task(self, handle: Handle) -> dict[str, Any]:
        return (await self._http.request("GET", _path(handle), timeout=30)).object()


def _completed(task: Mapping[str, Any]) -> Completed | Failed:
    """The end with its address; tokens are what Ark bills, at a price that it does not tell here."""
    tokens = answers.found(task, "usage", "completion_tokens")
    cost = None if tokens is None else ReportedCost(None, f"{tokens} tokens")
    return results.at_address(answers.found(task, "content", "video_url"), cost)


def _path(handle: Handle) -> str:
    return f"{_TASKS}/{results.segment(handle['id'])}"


def build(account: Account, http: HttpDoor) -> Ark:
    """The adapter for one account."""
    return Ark(account, http)
