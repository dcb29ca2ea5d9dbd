"""xAI's Grok Imagine: a request id that answers HTTP 202 until the video is done.

Unverified: the shape of last_frame over REST (taken from the SDK's messages), and that pending answers may have no
body (from a third party's client).
"""

from collections.abc import Mapping
from decimal import Decimal
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

PROVIDER: Final = "xai"

_MAX_IMAGE: Final = (
    20 * 1024 * 1024
)  # these two are our own limits: the whole file is in the request's memory
_MAX_VIDEO: Final = 50 * 1024 * 1024
_PATHS: Final = {
    Operation.GENERATE: "/videos/generations",
    Operation.EDIT: "/videos/edits",
    Operation.EXTEND: "/videos/extensions",
}
_FILES: Final[Mapping[Operation, Mapping[MediaRole, int]]] = {
    Operation.GENERATE: {MediaRole.FIRST_FRAME: 1, MediaRole.LAST_FRAME: 1, MediaRole.REFERENCE: 7},
    Operation.EDIT: {MediaRole.SOURCE: 1},
    Operation.EXTEND: {MediaRole.EXTEND_FROM: 1},
}
_RATIOS: Final = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")
_RESOLUTIONS: Final = ("480p", "720p", "1080p")
_TICKS: Final = 10_000_000_000
_PENDING: Final = 202
_STATES: Final = StateTable(
    running=("pending",),
    completed=("done",),
    failed={"failed": ErrorKind.PROVIDER_ERROR, "expired": ErrorKind.PROVIDER_ERROR},
)
_ERRORS: Final = ErrorTable(
    code_at=("error.code", "code"),
    message_at=("error.message", "error"),
    words={"content policy|moderation": ErrorKind.MODERATION_BLOCKED},
    in_success=False,
)


class Xai:
    """One xAI team's key: only with it are its requests found again."""

    poll_interval: ClassVar[float] = 5.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._http = http.account(account, errors=_ERRORS)

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the video: exactly one request. Raises ProviderError."""
        request_fields.operation(request, *_PATHS)
        body = request_fields.merged(
            {"model": request.model, "prompt": request.prompt, **_shape(request), **await _files(request)},
            request.provider_options,
        )
        with answers.creating():
            answer = await self._http.request("POST", _PATHS[request.operation], json=body)
        return Submitted({"id": answers.required(answer.object(), "request_id")})

    async def poll(self, handle: Handle) -> Status:
        """Read the request; what moderation withheld is called done, without a video."""
        answer = await self._http.request("GET", f"/videos/{results.segment(handle['id'])}", timeout=30)
        if answer.status == _PENDING:
            progress = answers.found(answer.object(), "progress") if answer.body else None
            return Running(answers.percent(progress))
        video = answer.object()
        match _STATES.read(video.get("status")):
            case ErrorKind() as kind:
                error = video.get("error")
                code, message = answers.found(error, "code"), answers.found(error, "message")
                return Failed(_ERRORS.verdict(code, message, kind))
            case "completed":
                url = answers.found(video, "video", "url")
                if not url and answers.found(video, "video", "respect_moderation") is False:
                    return results.without_video(
                        ErrorKind.MODERATION_BLOCKED, "moderation withheld the video"
                    )
                return results.at_address(url, _cost(video))
        return Running(answers.percent(video.get("progress")))

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download from the public address, which works for about a day."""
        return await results.download(self._http, outputs)


def _shape(request: VideoRequest) -> dict[str, Any]:
    """Length, shape and sound, where they are not those of the video it works on."""
    if request.operation is not Operation.GENERATE:
        kept = request_fields.parameters(request, {"audio": _with_sound})
        return kept if request.operation is Operation.EDIT else kept | _length(request)
    return {
        **_length(request),
        "aspect_ratio": request_fields.aspect_ratio(request, _RATIOS),
        "resolution": request_fields.tier(request, _RESOLUTIONS),
        **request_fields.parameters(request, {"audio": "generate_audio"}),
    }


def _length(request: VideoRequest) -> dict[str, int]:
    return {"duration": request_fields.whole_seconds(request)}


def _with_sound(on: bool) -> dict[str, Any]:
    if not on:
        request_fields.refuse("audio", "an edit or an extension cannot be made without sound")
    return {}


async def _files(request: VideoRequest) -> dict[str, Any]:
    files = request_fields.media(request, _FILES[request.operation])
    if request.operation is not Operation.GENERATE:
        videos = [item for items in files.values() for item in items]
        if not videos:
            request_fields.refuse("video", f"{request.model} needs the video to {request.operation.value}")
        return {"video": await _file(videos[0], _MAX_VIDEO)}
    fields: dict[str, Any] = {}
    for role, name in ((MediaRole.FIRST_FRAME, "image"), (MediaRole.LAST_FRAME, "last_frame")):
        for item in files[role]:
            fields[name] = await _file(item, _MAX_IMAGE)
    if references := files[MediaRole.REFERENCE]:
        if request_fields.tier(request, _RESOLUTIONS) == "1080p":
            request_fields.refuse("size", f"{request.model} takes reference images only up to 720p")
        fields["reference_images"] = [await _file(item, _MAX_IMAGE) for item in references]
    return fields


async def _file(item: MediaInput, max_bytes: int) -> dict[str, str]:
    return {"url": await media_forms.address_or_data(item, max_bytes)}


def _cost(video: Mapping[str, Any]) -> ReportedCost | None:
    """What was charged: 10,000,000,000 ticks are one dollar."""
    ticks = answers.found(video, "usage", "cost_in_usd_ticks")
    return answers.cost_in("USD", Decimal(str(ticks)) / _TICKS) if isinstance(ticks, int | float) else None


def build(account: Account, http: HttpDoor) -> Xai:
    """The adapter for one account."""
    return Xai(account, http)
