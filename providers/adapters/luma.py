"""Luma: generations by the Agents API (ray-3.2), or by the older Dream Machine API (ray-2) where base_url names it.

Unverified, from memory: what Dream Machine answers to errors, and that each reading signs a result's address anew.
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
_DREAM_RATIOS: Final = ("1:1", "16:9", "9:16", "4:3", "3:4", "21:9", "9:21")
_FRAMES_PER_SECOND: Final = 24
_FILES: Final[Mapping[Operation, Mapping[MediaRole, int]]] = {
    Operation.GENERATE: {MediaRole.FIRST_FRAME: 1, MediaRole.LAST_FRAME: 1},
    Operation.EDIT: {MediaRole.SOURCE: 1, MediaRole.FIRST_FRAME: 1},
    Operation.EXTEND: {MediaRole.EXTEND_FROM: 1, MediaRole.LAST_FRAME: 1},
}
_STATES: Final = StateTable(
    queued=("queued",),
    running=("processing", "dreaming"),
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
    },
    words={"moderat": ErrorKind.MODERATION_BLOCKED},  # Dream Machine has no codes
)


class Luma:
    """One key, of one of the two APIs."""

    poll_interval: ClassVar[float] = 5.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._dreams = "/dream-machine/" in account.base_url
        self._http = http.account(account, errors=_ERRORS)

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the generation: exactly one request. Raises ProviderError."""
        request_fields.operation(request, *_DREAMS if self._dreams else _KINDS)
        files = request_fields.media(request, _FILES[request.operation])
        write = _dream if self._dreams else _KINDS[request.operation]
        body = {"model": request.model, "prompt": request.prompt, **await write(request, files)}
        body = request_fields.merged(body | request_fields.parameters(request, {}), request.provider_options)
        path = "/generations/video" if self._dreams else "/generations"
        with answers.creating():
            answer = await self._http.request("POST", path, json=body)
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
                return results.at_address([*urls, answers.found(generation, "assets", "video")][0])
            case state:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download; the address works for an hour."""
        return await results.download(self._http, outputs)


Files = Mapping[MediaRole, list[MediaInput]]


async def _video(request: VideoRequest, files: Files) -> dict[str, Any]:
    """Frames are keyframes: only those go with every length."""
    places = {MediaRole.FIRST_FRAME: 0, MediaRole.LAST_FRAME: int(request.seconds) * _FRAMES_PER_SECOND}
    pinned = [(place, item) for role, place in places.items() for item in files[role]]
    frames: dict[str, Any] = {}
    if pinned:
        frames["keyframes"] = [await _reference(item, _MAX_IMAGE) for _, item in pinned]
        frames["keyframe_indexes"] = [place for place, _ in pinned]
    ratio = request_fields.aspect_ratio(request, _RATIOS)
    video = {"duration": _duration(request, 5, 10), "resolution": _resolution(request), **frames}
    return {"type": "video", "aspect_ratio": ratio, "video": video}


async def _edit(request: VideoRequest, files: Files) -> dict[str, Any]:
    """An edit has the length and the shape of its source."""
    video: dict[str, Any] = {"resolution": _resolution(request)}
    for first in files[MediaRole.FIRST_FRAME]:
        video["start_frame"] = await _reference(first, _MAX_IMAGE)
    if request.source:
        return {"type": "video_edit", "source": {"generation_id": request.source["id"]}, "video": video}
    if not files[MediaRole.SOURCE]:
        request_fields.refuse("video", f"{request.model} needs the video to edit")
    source = await _reference(files[MediaRole.SOURCE][0], _MAX_VIDEO)
    return {"type": "video_edit", "source": source, "video": video}


async def _extension(request: VideoRequest, files: Files) -> dict[str, Any]:
    """An extension starts where an earlier generation ended."""
    frames: dict[str, Any] = {"start_frame": {"generation_id": _earlier(request)}}
    for last in files[MediaRole.LAST_FRAME]:
        frames["end_frame"] = await _reference(last, _MAX_IMAGE)
    ratio = request_fields.aspect_ratio(request, _RATIOS)
    video = {"duration": _duration(request, 5, 10), "resolution": _resolution(request), **frames}
    return {"type": "video", "aspect_ratio": ratio, "video": video}


async def _dream(request: VideoRequest, files: Files) -> dict[str, Any]:
    """Dream Machine takes its frames by address alone."""
    frames: dict[str, Any] = {}
    if request.operation is Operation.EXTEND:
        frames["frame0"] = {"type": "generation", "id": _earlier(request)}
    for role, name in ((MediaRole.FIRST_FRAME, "frame0"), (MediaRole.LAST_FRAME, "frame1")):
        for item in files.get(role, ()):
            frames[name] = {"type": "image", "url": media_forms.address(item)}
    return {
        "duration": _duration(request, 5, 9),
        "resolution": request_fields.tier(request, ("540p", "720p", "1080p", "4k")),
        "aspect_ratio": request_fields.aspect_ratio(request, _DREAM_RATIOS),
        **({"keyframes": frames} if frames else {}),
        **({"callback_url": request.callback_url} if request.callback_url else {}),
    }


_DREAMS: Final = (Operation.GENERATE, Operation.EXTEND)
_KINDS: Final = {Operation.GENERATE: _video, Operation.EDIT: _edit, Operation.EXTEND: _extension}


def _earlier(request: VideoRequest) -> str:
    if not request.source:
        request_fields.refuse("video", f"{request.model} extends only what it generated itself")
    return str(request.source["id"])


def _duration(request: VideoRequest, *lengths: int) -> str:
    if request.seconds not in lengths:
        one, two = lengths
        request_fields.refuse("seconds", f"{request.model} makes {one} or {two} s, not {request.seconds}")
    return f"{int(request.seconds)}s"


def _resolution(request: VideoRequest) -> Any:
    return request_fields.tier(request, ("360p", "540p", "720p", "1080p"))


async def _reference(item: MediaInput, max_bytes: int) -> dict[str, str]:
    """The type is always given: a video's address needs it, and so does data."""
    if item.url and item.url.startswith("https://"):
        return {"url": item.url, "media_type": item.media_type}
    return {"data": await media_forms.base64_text(item, max_bytes), "media_type": item.media_type}


def build(account: Account, http: HttpDoor) -> Luma:
    """The adapter for one account."""
    return Luma(account, http)
