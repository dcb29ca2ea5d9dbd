"""Lightricks' LTX API, version 2: a job per endpoint, read under the endpoint that made it.

Unverified: content_filtered_error (from memory), and that retake and extend take in version 2 the fields that are
documented for version 1. Files go as addresses or data URIs; its upload is not used. Whether an extension is joined
to its source is not documented.
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

PROVIDER: Final = "ltx"

_MAX_DATA_URI_IMAGE: Final = (7_000_000 - 100) * 3 // 4  # these limits count the encoded text
_MAX_DATA_URI_VIDEO: Final = (15_000_000 - 100) * 3 // 4
_FILES: Final[Mapping[Operation, Mapping[MediaRole, int]]] = {
    Operation.GENERATE: {MediaRole.FIRST_FRAME: 1, MediaRole.LAST_FRAME: 1},
    Operation.EDIT: {MediaRole.SOURCE: 1},
    Operation.EXTEND: {MediaRole.EXTEND_FROM: 1},
}
_STATES: Final = StateTable(
    queued=("pending",),
    running=("processing",),
    completed=("completed",),
    failed={"failed": ErrorKind.PROVIDER_ERROR},
)
_ERRORS: Final = ErrorTable(
    code_at=("error.type",),
    message_at=("error.message",),
    codes={
        "invalid_request_error": ErrorKind.INVALID_REQUEST,
        "authentication_error": ErrorKind.PROVIDER_AUTH,
        "insufficient_funds_error": ErrorKind.PROVIDER_FUNDS,
        "request_too_large": ErrorKind.INPUT_MEDIA,
        "content_filtered_error": ErrorKind.MODERATION_BLOCKED,
        "rate_limit_error": ErrorKind.RATE_LIMITED,
        "concurrency_limit_error": ErrorKind.CONCURRENCY_LIMITED,
    },
    in_success=False,
)


class Ltx:
    """One LTX account."""

    poll_interval: ClassVar[float] = 5.0  # not faster, says Lightricks
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._http = http.account(account, errors=_ERRORS)

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the job: exactly one request. Raises ProviderError."""
        request_fields.operation(request, *_FILES)
        path, fields = await _work(request)
        body = request_fields.merged(
            {"model": request.model, "prompt": request.prompt, **fields}, request.provider_options
        )
        with answers.creating():
            answer = await self._http.request("POST", path, json=body)
        return Submitted({"path": path, "id": answers.required(answer.object(), "id")})

    async def poll(self, handle: Handle) -> Status:
        """Read the job."""
        path = f"{handle['path']}/{results.segment(handle['id'])}"
        job = (await self._http.request("GET", path, timeout=30)).object()
        match _STATES.read(job.get("status")):
            case ErrorKind() as kind:
                error = job.get("error")
                code, message = answers.found(error, "type"), answers.found(error, "message")
                return Failed(_ERRORS.verdict(code, message, kind))
            case "completed":
                return results.at_address(answers.found(job, "result", "video_url"))
            case state:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download; the address works for a day."""
        return await results.download(self._http, outputs)

    async def check(self) -> str:
        """Read a job that nobody made."""
        return await answers.nothing_found(self.poll({"path": "/v2/text-to-video", "id": "none"}))


async def _work(request: VideoRequest) -> tuple[str, dict[str, Any]]:
    """The endpoint for what is wanted, and its fields beside model and prompt."""
    files = request_fields.media(request, _FILES[request.operation])
    if request.operation is Operation.EXTEND:
        fields = {"duration": request_fields.seconds(request), "mode": "end", **_kept_sound(request)}
        return "/v2/extend", fields | {"video_uri": await _video(request, files[MediaRole.EXTEND_FROM])}
    if request.operation is Operation.EDIT:  # the whole video, unless provider_options say which part
        fields = {"start_time": 0, "duration": request_fields.seconds(request), **_kept_sound(request)}
        fields["mode"] = "replace_audio_and_video"
        return "/v2/retake", fields | {"video_uri": await _video(request, files[MediaRole.SOURCE])}
    fields = {
        "duration": request_fields.whole_seconds(request),
        "resolution": request.size,
        **request_fields.parameters(request, {"fps": "fps", "audio": "generate_audio"}),
    }
    first, last = files[MediaRole.FIRST_FRAME], files[MediaRole.LAST_FRAME]
    if last and not first:
        request_fields.refuse("last_frame", f"{request.model} takes it only with a first frame")
    for name, items in (("image_uri", first), ("last_frame_uri", last)):
        for item in items:
            fields[name] = await media_forms.address_or_data(item, _MAX_DATA_URI_IMAGE)
    return ("/v2/image-to-video" if first else "/v2/text-to-video"), fields


def _kept_sound(request: VideoRequest) -> dict[str, Any]:
    """No field says whether a retake or an extension has sound: it follows the video that it works on."""

    def sound(on: bool) -> dict[str, Any]:
        if not on:
            request_fields.refuse("audio", "a retake or an extension cannot be told to be silent")
        return {}

    return request_fields.parameters(request, {"audio": sound})


async def _video(request: VideoRequest, files: list[MediaInput]) -> str:
    if not files:
        request_fields.refuse("video", f"{request.model} needs the video to {request.operation.value}")
    return await media_forms.address_or_data(files[0], _MAX_DATA_URI_VIDEO)


def build(account: Account, http: HttpDoor) -> Ltx:
    """The adapter for one account."""
    return Ltx(account, http)
