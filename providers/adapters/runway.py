"""Runway: a task per video, over the task endpoint of what it is made from."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers import answers, media_forms, request_fields, results, sizes
from providers.contract import (
    Account,
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

PROVIDER: Final = "runway"

_VERSION: Final = {"X-Runway-Version": "2024-11-06"}
_MAX_DATA_URI_IMAGE: Final = 5 * 1024 * 1024 * 3 // 4  # the limit counts the encoded text
_POSITIONS: Final = {MediaRole.FIRST_FRAME: "first", MediaRole.LAST_FRAME: "last"}
_PARAMETERS: Final = {"seed": "seed", "audio": "audio", "negative_prompt": "negativePrompt"}
_STATES: Final = StateTable(
    queued=("PENDING", "THROTTLED"),
    running=("RUNNING",),
    completed=("SUCCEEDED",),
    failed={"FAILED": ErrorKind.PROVIDER_ERROR, "CANCELLED": ErrorKind.CANCELLED},
)
_ERRORS: Final = ErrorTable(
    message_at=("error",),
    code_at=(),
    codes={
        r"SAFETY\..*": ErrorKind.MODERATION_BLOCKED,
        r"ASSET\..*": ErrorKind.INPUT_MEDIA,
    },
)


class Runway:
    """One Runway account."""

    poll_interval: ClassVar[float] = 6.0  # not faster than 5 s, says Runway
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._http = http.account(account, errors=_ERRORS)

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the task: exactly one request. Raises ProviderError."""
        request_fields.operation(request, Operation.GENERATE)
        images = await _images(request)
        body = {
            "model": request.model,
            "promptText": request.prompt,
            "ratio": sizes.joined(request.size, ":"),
            "duration": request_fields.whole_seconds(request),
            **request_fields.parameters(request, _PARAMETERS),
            **({"promptImage": images} if images else {}),
            **request.provider_options,
        }
        path = "/v1/image_to_video" if images else "/v1/text_to_video"
        with answers.creating():
            answer = await self._http.request("POST", path, json=body, headers=_VERSION)
        return Submitted({"id": answers.required(answer.object(), "id")})

    async def poll(self, handle: Handle) -> Status:
        """Read the task."""
        task = (await self._http.request("GET", _path(handle), headers=_VERSION, timeout=30)).object()
        match _STATES.read(task.get("status")):
            case ErrorKind() as kind:
                return Failed(_ERRORS.verdict(task.get("failureCode"), task.get("failure"), kind))
            case "completed":
                cost = answers.cost_in("credit", answers.found(task, "cost", "credits"))
                return results.at_address(answers.found(task, "output", 0), cost)
            case state:
                return Running(answers.percent_of_one(task.get("progress")), state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download from the signed address, which expires after a day."""
        return await results.download(self._http, outputs)

    async def cancel(self, handle: Handle) -> None:
        """Stop the task; a finished one is deleted."""
        try:
            await self._http.request("DELETE", _path(handle), headers=_VERSION, timeout=30)
        except ProviderError as error:
            if error.kind is not ErrorKind.JOB_LOST:
                raise


async def _images(request: VideoRequest) -> list[dict[str, str]]:
    files = request_fields.media(request, dict.fromkeys(_POSITIONS, 1))
    return [
        {"position": position, "uri": await media_forms.address_or_data(item, _MAX_DATA_URI_IMAGE)}
        for role, position in _POSITIONS.items()
        for item in files[role]
    ]


def _path(handle: Handle) -> str:
    return f"/v1/tasks/{results.segment(handle['id'])}"


def build(account: Account, http: HttpDoor) -> Runway:
    """The adapter for one account."""
    return Runway(account, http)
