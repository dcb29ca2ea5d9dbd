"""Together: one schema for the video models of many makers; a finished job names what it cost.

Options of the account: those of `providers.huggingface`.
Unverified: the codes and words of moderation, and that `outputs.cost` is in USD.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers import answers, media_forms, request_fields, results, sizes
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
from providers.huggingface import HuggingFace
from providers.state_table import StateTable
from providers.wire_fields import WireFields

PROVIDER: Final = "together"

_MAX_DATA_URI: Final = 60 * 1000 * 3 // 4  # about 60 KB of text; it fetches larger pictures from an address
_MANY: Final = 1000  # it names no limit; the model's row does
_FRAMES: Final = {MediaRole.FIRST_FRAME: "first", MediaRole.LAST_FRAME: "last"}
_MOST: Final = {
    **dict.fromkeys(_FRAMES, 1),
    MediaRole.REFERENCE: _MANY,
    MediaRole.SOURCE: 1,
    MediaRole.EXTEND_FROM: 1,
}
_FIELDS: Final = WireFields(
    {
        "resolution": "resolution",
        "aspect_ratio": "ratio",
        "audio": "generate_audio",
        "fps": "fps",
        "negative_prompt": "negative_prompt",
        "seed": "seed",
    }
)
_STATES: Final = StateTable(
    queued=("queued",),
    running=("in_progress",),
    completed=("completed",),
    failed={"failed": ErrorKind.PROVIDER_ERROR},
)
_ERRORS: Final = ErrorTable(
    code_at=("error.code", "error.type"),
    in_success=False,
    codes={".*(content_policy|moderation|safety).*": ErrorKind.MODERATION_BLOCKED},
    words={
        "content policy|moderation|safety": ErrorKind.MODERATION_BLOCKED,
        "out of memory": ErrorKind.OUT_OF_MEMORY,
    },
)


class Together:
    """One Together account."""

    poll_interval: ClassVar[float] = 3.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._hub = HuggingFace(account, http, "together")
        self._http = http.account(account, authenticate=self._hub.authenticate, errors=_ERRORS)

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the job: exactly one request. Raises ProviderError."""
        request_fields.operation(request, Operation.GENERATE, Operation.EDIT, Operation.EXTEND)
        media = await _media(request)
        body = {
            "model": await self._hub.model(request.model),
            "prompt": request.prompt,
            "seconds": str(request_fields.seconds(request)),  # a text, says its schema
            **_shape(request),
            **_FIELDS.parameters(request),
            **({"media": media} if media else {}),
        }
        with answers.creating():
            answer = await self._http.request(
                "POST", "/v2/videos", json=request_fields.merged(body, request.provider_options)
            )
        return Submitted({"id": answers.required(answer.object(), "id")})

    async def poll(self, handle: Handle) -> Status:
        """Read the job."""
        path = f"/v2/videos/{results.segment(handle['id'])}"
        job = (await self._http.request("GET", path, timeout=30)).object()
        match _STATES.read(job.get("status")):
            case ErrorKind() as kind:
                code, message = (answers.found(job, "error", name) for name in ("code", "message"))
                return Failed(_ERRORS.verdict(code, message, kind))
            case "completed":
                cost = answers.cost_in("USD", answers.found(job, "outputs", "cost"))
                return results.at_address(answers.found(job, "outputs", "video_url"), cost)
            case state:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download."""
        return await results.download(self._http, outputs)


def _shape(request: VideoRequest) -> dict[str, Any]:
    if request.resolution or request.aspect_ratio:
        return _FIELDS.shape(request)
    width, height = sizes.pixels(request.size)
    return {"width": width, "height": height}


async def _media(request: VideoRequest) -> dict[str, Any]:
    files = request_fields.media(request, _MOST)
    media: dict[str, Any] = {}
    for role, frame in _FRAMES.items():
        for item in files[role]:
            media.setdefault("frame_images", []).append({"input_image": await _image(item), "frame": frame})
    for item in files[MediaRole.REFERENCE]:
        match item.media_type.partition("/")[0]:
            case "video":
                media.setdefault("reference_videos", []).append({"video": media_forms.address(item)})
            case "audio":
                media.setdefault("audio_inputs", []).append(media_forms.address(item))
            case _:
                media.setdefault("reference_images", []).append(await _image(item))
    for item in files[MediaRole.SOURCE]:
        media["source_video"] = media_forms.address(item)
    for item in files[MediaRole.EXTEND_FROM]:
        media["frame_videos"] = [{"video": media_forms.address(item)}]
    return media


async def _image(item: MediaInput) -> str:
    if item.size <= _MAX_DATA_URI:
        return await media_forms.address_or_data(item, _MAX_DATA_URI)
    return media_forms.address(item)


def build(account: Account, http: HttpDoor) -> Together:
    """The adapter for one account."""
    return Together(account, http)
