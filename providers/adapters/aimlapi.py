"""AI/ML API: one schema for the models of many vendors; which fields a model takes differs (`wire` names them).

Unverified: that pictures may go as data URIs, the words that moderation uses, and that `credits_used` is what was
charged. Its older endpoints per vendor are not served.
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

PROVIDER: Final = "aimlapi"

_PATH: Final = "/v2/video/generations"
_MAX_IMAGE: Final = 10 * 1024 * 1024  # our own limit: the whole file is in the request's memory
_FIELDS: Final = WireFields(
    {
        "seconds": "duration",
        "resolution": "resolution",
        "aspect_ratio": "aspect_ratio",
        "audio": "generate_audio",
        "negative_prompt": "negative_prompt",
        "seed": "seed",
        "first_frame": "image_url",
        "last_frame": "last_image_url",
        "reference": "image_urls",
    }
)
_STATES: Final = StateTable(
    queued=("queued",),
    running=("generating",),
    completed=("completed",),
    failed={"error": ErrorKind.PROVIDER_ERROR},
)
_ERRORS: Final = ErrorTable(
    code_at=("error.name", "error.code", "statusCode"),
    message_at=("error.message", "message", "error"),
    words={"moderation|content policy|sensitive|nsfw": ErrorKind.MODERATION_BLOCKED},
    in_success=False,
)


class Aimlapi:
    """One AI/ML API account."""

    poll_interval: ClassVar[float] = 5.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._http = http.account(account, errors=_ERRORS)

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the generation: exactly one request. Raises ProviderError."""
        request_fields.operation(request, Operation.GENERATE)
        body = {
            "model": request.model,
            "prompt": request.prompt,
            **_FIELDS.length(request),
            **_FIELDS.shape(request),
            **_FIELDS.parameters(request),
            **await _FIELDS.files(request, _file),
        }
        body = request_fields.merged(body, request.provider_options)
        with answers.creating():
            answer = await self._http.request("POST", _PATH, json=body)
        return Submitted({"id": answers.required(answer.object(), "id")})

    async def poll(self, handle: Handle) -> Status:
        """Read the generation."""
        path = f"{_PATH}?generation_id={results.segment(handle['id'])}"
        generation = (await self._http.request("GET", path, timeout=30)).object()
        match _STATES.read(generation.get("status")):
            case ErrorKind() as kind:
                error = generation.get("error")
                code, message = answers.found(error, "name"), answers.found(error, "message")
                return Failed(_ERRORS.verdict(code, message, kind))
            case "completed":
                video = generation.get("video")
                url = answers.found(video, "url") or answers.found(video, 0, "url")
                cost = answers.cost_in("credit", answers.found(generation, "meta", "usage", "credits_used"))
                return results.at_address(url, cost)
            case state:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download."""
        return await results.download(self._http, outputs)


async def _file(item: MediaInput) -> str:
    if not item.media_type.startswith("image/"):
        return media_forms.address(item)
    return await media_forms.address_or_data(item, _MAX_IMAGE)


def build(account: Account, http: HttpDoor) -> Aimlapi:
    """The adapter for one account."""
    return Aimlapi(account, http)
