"""Kling: the business code in the envelope decides before the HTTP status; a task is read under its create's path.

The credential is an API key, or "ACCESS_KEY:SECRET_KEY" (see `providers.auth.jwt_hs256` for its option).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers import answers, media_forms, request_fields, results
from providers.auth import jwt_hs256
from providers.contract import (
    Account,
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

PROVIDER: Final = "kling"

_TEXT: Final = "/v1/videos/text2video"
_EXTEND: Final = "/v1/videos/video-extend"
_MAX_IMAGE: Final = 10 * 1024 * 1024
_MODES: Final = {"720p": "std", "1080p": "pro", "4k": "4k"}
_RATIOS: Final = ("16:9", "9:16", "1:1")
_FILES: Final = {MediaRole.FIRST_FRAME: 1, MediaRole.LAST_FRAME: 1, MediaRole.REFERENCE: 4}
_PARAMETERS: Final[Mapping[str, request_fields.Write]] = {
    "negative_prompt": "negative_prompt",
    "audio": lambda on: {"sound": "on" if on else "off"},
}
_SAID_OF_EXTENSIONS: Final[Mapping[str, request_fields.Write]] = {"negative_prompt": "negative_prompt"}
_STATES: Final = StateTable(
    queued=("submitted",),
    running=("processing",),
    completed=("succeed",),
    failed={"failed": ErrorKind.PROVIDER_ERROR},
)
_ERRORS: Final = ErrorTable(
    code_at=("code",),
    message_at=("message",),
    fine=frozenset({"0"}),
    codes={
        "100[0-4]|1100|1103|1304": ErrorKind.PROVIDER_AUTH,
        "1101|1102": ErrorKind.PROVIDER_FUNDS,
        "1200|1201|1202": ErrorKind.INVALID_REQUEST,
        "1203": ErrorKind.JOB_LOST,
        "1300|1301": ErrorKind.MODERATION_BLOCKED,
        "1302": ErrorKind.RATE_LIMITED,
        "1303": ErrorKind.CONCURRENCY_LIMITED,
        "500[0-2]": ErrorKind.PROVIDER_UNAVAILABLE,
    },
    words={"safety|sensitive|policy|violat|risk control": ErrorKind.MODERATION_BLOCKED},
)


class Kling:
    """One Kling account."""

    poll_interval: ClassVar[float] = 5.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        signed = jwt_hs256(account) if ":" in account.credential else None
        self._http = http.account(account, authenticate=signed, errors=_ERRORS)

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the task: exactly one request. Raises ProviderError."""
        request_fields.operation(request, Operation.GENERATE, Operation.EXTEND)
        extends = request.operation is Operation.EXTEND
        path, body = await (self._extension(request) if extends else _video(request))
        body |= {"prompt": request.prompt, "external_task_id": request.attempt_id}
        if request.callback_url:
            body["callback_url"] = request.callback_url
        body = request_fields.merged(body, request.provider_options)
        with answers.creating():
            answer = await self._http.request("POST", path, json=body)
        return Submitted({"path": path, "id": answers.required(answer.object(), "data", "task_id")})

    async def poll(self, handle: Handle) -> Status:
        """Read the task."""
        task = await self._task(handle)
        match _STATES.read(answers.found(task, "task_status")):
            case ErrorKind() as kind:
                return Failed(_ERRORS.verdict(None, answers.found(task, "task_status_msg"), kind))
            case "completed":
                cost = answers.cost_in("credit", answers.found(task, "final_unit_deduction"))
                return results.at_address(answers.found(task, "task_result", "videos", 0, "url"), cost)
            case state:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download; the address works for 30 days."""
        return await results.download(self._http, outputs)

    async def check(self) -> str:
        """Read a task that nobody made."""
        return await answers.nothing_found(self._task({"path": _TEXT, "id": "none"}))

    async def _task(self, handle: Handle) -> Any:
        path = f"{handle['path']}/{results.segment(handle['id'])}"
        return (await self._http.request("GET", path, timeout=30)).object().get("data")

    async def _extension(self, request: VideoRequest) -> tuple[str, dict[str, Any]]:
        """An extension goes on from Kling's own video, whose id stands in the task that made it."""
        request_fields.media(request, {})
        if not request.source:
            request_fields.refuse("video", f"{request.model} extends only what this account made")
        try:
            with answers.before_create():
                task = await self._task(request.source)
        except ProviderError as error:
            if error.kind is not ErrorKind.JOB_LOST:
                raise
            request_fields.refuse("video", "Kling has it no longer: it keeps a video for 30 days")
        video = answers.found(task, "task_result", "videos", 0, "id")
        if not video:
            request_fields.refuse("video", "Kling does not say which video its task has made")
        return _EXTEND, {"video_id": video, **request_fields.parameters(request, _SAID_OF_EXTENSIONS)}


async def _video(request: VideoRequest) -> tuple[str, dict[str, Any]]:
    path, images = await _images(request)
    body = {
        "model_name": request.model,
        "duration": str(request_fields.whole_seconds(request)),
        "mode": request_fields.tier(request, _MODES),
        **request_fields.parameters(request, _PARAMETERS),
        **images,
    }
    if "image" not in images:  # a first frame has its own shape
        body["aspect_ratio"] = request_fields.aspect_ratio(request, _RATIOS)
    return path, body


async def _images(request: VideoRequest) -> tuple[str, dict[str, Any]]:
    """The create's path for what the video is made from, and its image fields."""
    files = request_fields.media(request, _FILES)
    first, last = files[MediaRole.FIRST_FRAME], files[MediaRole.LAST_FRAME]
    references = files[MediaRole.REFERENCE]
    if references and (first or last):
        request_fields.refuse("reference_images", f"{request.model} takes them only without other frames")
    if last and not first:
        request_fields.refuse("last_frame", f"{request.model} takes it only with a first frame")
    if references:
        images = [{"image": await _image(item)} for item in references]
        return "/v1/videos/multi-image2video", {"image_list": images}
    if first:
        fields = {"image": await _image(first[0])}
        return "/v1/videos/image2video", fields | ({"image_tail": await _image(last[0])} if last else {})
    return _TEXT, {}


async def _image(item: MediaInput) -> str:
    return item.url or await media_forms.base64_text(item, _MAX_IMAGE)


def build(account: Account, http: HttpDoor) -> Kling:
    """The adapter for one account."""
    return Kling(account, http)
