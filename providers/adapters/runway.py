"""Runway: a task per video, at the endpoint of what it is made from."""

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
    MediaRole,
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

PROVIDER: Final = "runway"

_VERSION: Final = {"X-Runway-Version": "2024-11-06"}
_MAX_IMAGE: Final = 5 * 1024 * 1024 * 3 // 4  # by data URI, whose encoded text the limit counts
_MAX_VIDEO: Final = 16 * 1024 * 1024 * 3 // 4
_POSITIONS: Final = {MediaRole.FIRST_FRAME: "first", MediaRole.LAST_FRAME: "last"}
_FILES: Final = {
    **dict.fromkeys(_POSITIONS, 1),
    MediaRole.REFERENCE: 30,
    MediaRole.SOURCE: 1,
}
_FIELDS: Final = WireFields(
    {
        "seconds": "duration",
        "size": "ratio",
        "resolution": "resolution",
        "aspect_ratio": "ratio",
        "seed": "seed",
        "audio": "audio",
        "negative_prompt": "negativePrompt",
    },
    separator=":",
)
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
        request_fields.operation(request, Operation.GENERATE, Operation.EDIT)
        path, files = await _files(request)
        body: dict[str, Any] = {"model": request.model, "promptText": request.prompt}
        if request.operation is Operation.GENERATE:  # an edit is as long and as large as its source
            body |= {**_FIELDS.length(request), **_FIELDS.shape(request)}
        body |= {**_FIELDS.parameters(request), **files}
        body = request_fields.merged(body, request.provider_options)
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
        with answers.gone_is_fine():
            await self._http.request("DELETE", _path(handle), headers=_VERSION, timeout=30)


async def _files(request: VideoRequest) -> tuple[str, dict[str, Any]]:
    """The endpoint for what the video is made from, and its fields for the files."""
    files = request_fields.media(request, _FILES)
    references = [{"uri": await _image(item)} for item in files[MediaRole.REFERENCE]]
    fields: dict[str, Any] = {"references": references} if references else {}
    if request.operation is Operation.EDIT:
        if not files[MediaRole.SOURCE]:
            request_fields.refuse("video", f"{request.model} edits a video, and there is none")
        source = await media_forms.address_or_data(files[MediaRole.SOURCE][0], _MAX_VIDEO)
        return "/v1/video_to_video", {str(request.wire.get("source", "videoUri")): source, **fields}
    frames = [
        {"position": position, "uri": await _image(item)}
        for role, position in _POSITIONS.items()
        for item in files[role]
    ]
    if frames and references:
        request_fields.refuse("reference_images", f"{request.model} takes them only without frames")
    if frames:
        return "/v1/image_to_video", {"promptImage": frames}
    return "/v1/text_to_video", fields


async def _image(item: MediaInput) -> str:
    return await media_forms.address_or_data(item, _MAX_IMAGE)


def _path(handle: Handle) -> str:
    return f"/v1/tasks/{results.segment(handle['id'])}"


def build(account: Account, http: HttpDoor) -> Runway:
    """The adapter for one account."""
    return Runway(account, http)
