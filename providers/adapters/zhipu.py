"""Zhipu (Z.ai, BigModel): CogVideoX and the Vidu models it resells, one create for all.

Codes: docs.bigmodel.cn/cn/api/api-code. From memory, so unverified: data URIs and their cap of 5 MiB, and that a
failed task carries an error object. A request_id that was used before is refused (1231).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers import answers, media_forms, request_fields, results
from providers.contract import (
    Account,
    Content,
    ErrorKind,
    Failed,
    Handle,
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

PROVIDER: Final = "zhipu"

_MAX_IMAGE: Final = 5 * 1024 * 1024
_RATIOS: Final = ("16:9", "9:16", "1:1")
_FILES: Final = {MediaRole.FIRST_FRAME: 1, MediaRole.LAST_FRAME: 1, MediaRole.REFERENCE: 3}
_PARAMETERS: Final = {"audio": "with_audio", "fps": "fps"}
_STATES: Final = StateTable(
    running=("PROCESSING",), completed=("SUCCESS",), failed={"FAIL": ErrorKind.PROVIDER_ERROR}
)
_ERRORS: Final = ErrorTable(
    code_at=("error.code",),
    message_at=("error.message",),
    in_success=False,
    codes={
        "100[0-4]|111[0-2]|112[01]|1220|1311": ErrorKind.PROVIDER_AUTH,
        "1113": ErrorKind.PROVIDER_FUNDS,
        "1211|1221|1222": ErrorKind.MODEL_RETIRED,
        "1210|121[2-5]|1261": ErrorKind.INVALID_REQUEST,
        "1231": ErrorKind.PROVIDER_ERROR,  # taken before: only who sent it twice can say what that means
        "130[01]": ErrorKind.MODERATION_BLOCKED,
        "1302": ErrorKind.CONCURRENCY_LIMITED,
        "130[3458]|1310": ErrorKind.RATE_LIMITED,
        "1312": ErrorKind.PROVIDER_UNAVAILABLE,
    },
)


class Zhipu:
    """One account; keys of Z.ai and of BigModel belong to their own site."""

    poll_interval: ClassVar[float] = 5.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._http = http.account(account, errors=_ERRORS)

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the task: exactly one request. Raises ProviderError."""
        request_fields.operation(request, Operation.GENERATE)
        body = {
            "model": request.model,
            "prompt": request.prompt,
            "duration": request_fields.whole_seconds(request),
            "request_id": request.attempt_id,
            **_shape(request),
            **request_fields.parameters(request, _PARAMETERS),
            **await _images(request),
        }
        body = request_fields.merged(body, request.provider_options)
        with answers.creating():
            answer = await self._http.request("POST", "/videos/generations", json=body)
        return Submitted({"id": answers.required(answer.object(), "id")})

    async def poll(self, handle: Handle) -> Status:
        """Read the task; a failed one is told in HTTP 200."""
        path = f"/async-result/{results.segment(handle['id'])}"
        task = (await self._http.request("GET", path, timeout=30)).object()
        match _STATES.read(task.get("task_status")):
            case ErrorKind() as kind:
                code, message = answers.found(task, "error", "code"), answers.found(task, "error", "message")
                return Failed(_ERRORS.verdict(code, message, kind))
            case "completed":
                return results.at_address(answers.found(task, "video_result", 0, "url"))
            case _:
                return Running()

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download."""
        return await results.download(self._http, outputs)


def _shape(request: VideoRequest) -> dict[str, str]:
    """Pixels; the models whose rows speak in words have one resolution each and need no more than the ratio."""
    if request.resolution is None and request.aspect_ratio is None:
        return {"size": request.size}
    if not request.wire.get("aspect_ratio", True):
        return {}
    return {"aspect_ratio": request_fields.aspect_ratio(request, _RATIOS)}


async def _images(request: VideoRequest) -> dict[str, Any]:
    """`image_url`: one address, a list of first and last frame, or a list of references."""
    files = request_fields.media(request, _FILES)
    first, last = files[MediaRole.FIRST_FRAME], files[MediaRole.LAST_FRAME]
    references = files[MediaRole.REFERENCE]
    if references and (first or last):
        request_fields.refuse("reference_images", f"{request.model} takes them only without other frames")
    if last and not first:
        request_fields.refuse("last_frame", f"{request.model} takes it only with a first frame")
    images = [await media_forms.address_or_data(item, _MAX_IMAGE) for item in (*first, *last, *references)]
    if not images:
        return {}
    return {"image_url": images if last or references else images[0]}


def build(account: Account, http: HttpDoor) -> Zhipu:
    """The adapter for one account."""
    return Zhipu(account, http)
