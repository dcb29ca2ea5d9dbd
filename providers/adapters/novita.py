"""Novita: an address per model and mode, a model's name is the last part of it.

Wan models want `input` and `parameters`, and images by address (novita.ai/docs/api-reference/model-apis-wan-2.5-*);
the others have flat bodies whose fields differ, so their files and words need the row's `wire`. Callbacks are not
signed and not documented for every model: none is asked for; `extra.webhook` may be given in provider_options.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers import answers, media_forms, request_fields, results
from providers.contract import (
    Account,
    Content,
    ErrorKind,
    Failed,
    Handle,
    MediaInput,
    Operation,
    Running,
    Status,
    SubmitSafety,
    Submitted,
    VideoRequest,
)
from providers.error_table import ErrorTable
from providers.http import HttpDoor
from providers.state_table import StateTable
from providers.wire_fields import WireFields

PROVIDER: Final = "novita"

_NESTED: Final = re.compile(r"wan-?2\.[2-9]")
_INPUT: Final = frozenset({"prompt", "negative_prompt", "img_url"})
_MAX_FILE: Final = 20 * 1024 * 1024  # our own limit: the whole file is in the request's memory
_NAMES: Final = {
    "seconds": "duration",
    "resolution": "resolution",
    "aspect_ratio": "aspect_ratio",
    "negative_prompt": "negative_prompt",
    "seed": "seed",
}
_WAN: Final = WireFields(
    {**_NAMES, "size": "size", "audio": "audio", "first_frame": "img_url"}, separator="*"
)
_FLAT: Final = WireFields({**_NAMES, "audio": "generate_audio"})
_STATES: Final = StateTable(
    queued=("TASK_STATUS_QUEUED",),
    running=("TASK_STATUS_PROCESSING",),
    completed=("TASK_STATUS_SUCCEED",),
    failed={"TASK_STATUS_FAILED": ErrorKind.PROVIDER_ERROR},
)
_ERRORS: Final = ErrorTable(
    code_at=("reason",),
    message_at=("message",),
    in_success=False,
    codes={
        "ILLEGAL_PROMPT|ILLEGAL_IMAGE_CONTENT": ErrorKind.MODERATION_BLOCKED,
        "INVALID_REQUEST_BODY": ErrorKind.INVALID_REQUEST,
        "BILLING_BALANCE_NOT_ENOUGH": ErrorKind.PROVIDER_FUNDS,
        "INVALID_API_KEY|NEED_REAL_NAME_VERIFY": ErrorKind.PROVIDER_AUTH,
        "RATE_LIMIT_EXCEEDED": ErrorKind.RATE_LIMITED,
        "TASK_NOT_FOUND": ErrorKind.JOB_LOST,
    },
    words={"ILLEGAL_PROMPT|ILLEGAL_IMAGE_CONTENT": ErrorKind.MODERATION_BLOCKED},
)


class Novita:
    """One Novita account."""

    poll_interval: ClassVar[float] = 5.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._http = http.account(account, errors=_ERRORS)

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the task: exactly one request. Raises ProviderError."""
        request_fields.operation(request, Operation.GENERATE)
        nested = _NESTED.match(request.model) is not None
        fields = _WAN if nested else _FLAT
        body: dict[str, Any] = {
            "prompt": request.prompt,
            **fields.length(request),
            **fields.shape(request),
            **fields.parameters(request),
            **await fields.files(request, _address if nested else _file),
        }
        body = request_fields.merged(_split(body) if nested else body, request.provider_options)
        with answers.creating():
            answer = await self._http.request(
                "POST", f"/v3/async/{results.segment(request.model)}", json=body
            )
        return Submitted({"id": answers.required(answer.object(), "task_id")})

    async def poll(self, handle: Handle) -> Status:
        """Read the task."""
        path = f"/v3/async/task-result?task_id={results.segment(handle['id'])}"
        answer = (await self._http.request("GET", path, timeout=30)).object()
        task = answer.get("task")
        match _STATES.read(answers.found(task, "status")):
            case ErrorKind() as kind:
                return Failed(_ERRORS.verdict(None, answers.found(task, "reason"), kind))
            case "completed":
                return results.at_address(answers.found(answer, "videos", 0, "video_url"))
            case state:
                progress = answers.percent(answers.found(task, "progress_percent"))
                return Running(progress, state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download; the task says how long its address works."""
        return await results.download(self._http, outputs)


def _split(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a Wan model is made from, and how."""
    return {
        "input": {name: value for name, value in body.items() if name in _INPUT},
        "parameters": {name: value for name, value in body.items() if name not in _INPUT},
    }


async def _address(item: MediaInput) -> str:
    return media_forms.address(item)


async def _file(item: MediaInput) -> str:
    return await media_forms.address_or_data(item, _MAX_FILE)


def build(account: Account, http: HttpDoor) -> Novita:
    """The adapter for one account."""
    return Novita(account, http)
