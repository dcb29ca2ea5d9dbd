"""Luma's Agents API (ray-3.2): generations with presigned results.

The older Dream Machine API has another host, other keys and other requests: it is not served here.
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

PROVIDER: Final = "luma"

_MAX_IMAGE: Final = (
    20 * 1024 * 1024
)  # these two are our own limits: the whole file is in the request's memory
_MAX_VIDEO: Final = 50 * 1024 * 1024
_RATIOS: Final = ("3:1", "2:1", "21:9", "16:9", "4:3", "3:2", "1:1", "3:4", "2:3", "9:16", "1:2", "1:3")
_RESOLUTIONS: Final = ("360p", "540p", "720p", "1080p")
_LENGTHS: Final = (5, 10)
_FRAMES_PER_SECOND: Final = 24
_FILES: Final[Mapping[Operation, Mapping[MediaRole, int]]] = {
    Operation.GENERATE: {MediaRole.FIRST_FRAME: 1, MediaRole.LAST_FRAME: 1},
    Operation.EDIT: {MediaRole.SOURCE: 1, MediaRole.FIRST_FRAME: 1},
    Operation.EXTEND: {MediaRole.EXTEND_FROM: 1, MediaRole.LAST_FRAME: 1},
}
_STATES: Final = StateTable(
    queued=("queued",),
    running=("processing",),
    completed=("completed",),
    failed={"failed": ErrorKind.PROVIDER_ERROR},
)
_ERRORS: Final = ErrorTable(
    code_at=(),
    message_at=("detail.0.msg", "detail"),
    codes={
        "content_moderated": ErrorKind.MODERATION_BLOCKED,
        "budget_exhausted": ErrorKind.PROVIDER_FUNDS,
        "image_too_large|unsupported_format|corrupt_input": ErrorKind.INPUT_MEDIA,
        "invalid_request": ErrorKind.INVALID_REQUEST,
        "rate_limited": ErrorKind.RATE_LIMITED,
        "generation_failed|output_not_found": ErrorKind.PROVIDER_ERROR,
    },
)


class Luma:
    """One key of the Agents API."""

    poll_interval: ClassVar[float] = 5.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        if "/dream-machine" in account.base_url:
            raise ValueError(
                f"upstream '{account.name}': the Dream Machine API is not supported; use the Agents API, "
                "https://agents.lumalabs.ai/v1, with a key of its own"
            )
        self._http = http.account(account, errors=_ERRORS)

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the generation: exactly one request. Raises ProviderError."""
        request_fields.operation(request, *_FILES)
        files = request_fields.media(request, _FILES[request.operation])
        body = request_fields.merged(
            {
                "model": request.model,
                "prompt": request.prompt,
                **request_fields.parameters(request, {}),
                **await _KINDS[request.operation](request, files),
            },
            request.provider_options,
        )
        with answers.creating():
            answer = await self._http.request("POST", "/generations", json=body)
        return Submitted({"id": answers.required(answer.object(), "id")})

    async def poll(self, handle: Handle) -> Status:
        """Read the generation; each reading signs the result's address anew."""
        path = f"/generations/{results.segment(handle['id'])}"
        generation = (await self._http.request("GET", path, timeout=30)).object()
        match _STATES.read(generation.get("state")):
            case ErrorKind() as kind:
                code, reason = generation.get("failure_code"), generation.get("failure_reason")
                return Failed(_ERRORS.verdict(code, reason, kind))
            case "completed":
                made = generation.get("output") or []
                urls = [output.get("url") for output in made if answers.found(output, "type") == "video"]
                return results.at_address(urls[0] if urls else None)
            case state:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download; the address works for an hour."""
        return await results.download(self._http, outputs)


Files = Mapping[MediaRole, list[MediaInput]]


async def _video(request: VideoRequest, files: Files) -> dict[str, Any]:
    """Frames are keyframes: only those go with every length."""
    video: dict[str, Any] = {"duration": _duration(request), "resolution": _resolution(request)}
    places = {MediaRole.FIRST_FRAME: 0, MediaRole.LAST_FRAME: int(request.seconds) * _FRAMES_PER_SECOND}
    pinned = [(place, item) for role, place in places.items() for item in files[role]]
    if pinned:
        video["keyframes"] = [await _image(item) for _, item in pinned]
        video["keyframe_indexes"] = [place for place, _ in pinned]
    return {"type": "video", "aspect_ratio": request_fields.aspect_ratio(request, _RATIOS), "video": video}


async def _edit(request: VideoRequest, files: Files) -> dict[str, Any]:
    """An edit has the length and the shape of its source."""
    video: dict[str, Any] = {"resolution": _resolution(request)}
    if first := files[MediaRole.FIRST_FRAME]:
        video["start_frame"] = await _image(first[0])
    if request.source:
        return {"type": "video_edit", "source": {"generation_id": request.source["id"]}, "video": video}
    if not files[MediaRole.SOURCE]:
        request_fields.refuse("video", f"{request.model} needs the video to edit")
    source = await _reference(files[MediaRole.SOURCE][0], _MAX_VIDEO)
    return {"type": "video_edit", "source": source, "video": video}


async def _extension(request: VideoRequest, files: Files) -> dict[str, Any]:
    """An extension starts where an earlier generation ended."""
    if not request.source:
        request_fields.refuse("video", f"{request.model} extends only what it generated itself")
    video: dict[str, Any] = {
        "duration": _duration(request),
        "resolution": _resolution(request),
        "start_frame": {"generation_id": request.source["id"]},
    }
    if last := files[MediaRole.LAST_FRAME]:
        video["end_frame"] = await _image(last[0])
    return {"type": "video", "aspect_ratio": request_fields.aspect_ratio(request, _RATIOS), "video": video}


_KINDS: Final = {Operation.GENERATE: _video, Operation.EDIT: _edit, Operation.EXTEND: _extension}


def _duration(request: VideoRequest) -> str:
    if request.seconds not in _LENGTHS:
        request_fields.refuse("seconds", f"{request.model} makes 5 or 10 seconds, not {request.seconds}")
    return f"{int(request.seconds)}s"


def _resolution(request: VideoRequest) -> str:
    return str(request_fields.tier(request, _RESOLUTIONS))


async def _image(item: MediaInput) -> dict[str, str]:
    return await _reference(item, _MAX_IMAGE)


async def _reference(item: MediaInput, max_bytes: int) -> dict[str, str]:
    """The type is always given: a video's address needs it, and so does data."""
    if item.url and item.url.startswith("https://"):
        return {"url": item.url, "media_type": item.media_type}
    return {"data": await media_forms.base64_text(item, max_bytes), "media_type": item.media_type}


def build(account: Account, http: HttpDoor) -> Luma:
    """The adapter for one account."""
    return Luma(account, http)
