"""Gemini Omni by the Interactions API: an interaction in the background, its video a file of the Files API.

Options of the account: api_version (default v1beta). Unverified, from third parties: HTTP 400 for an unknown
interaction, a refusal as a completed interaction without a video; from memory: a file is gone after 48 hours.
Callbacks of one request are signed in a way that is not documented well enough to check: they are only hints.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from providers import answers, media_forms, request_fields, results
from providers.contract import (
    Account,
    Completed,
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

PROVIDER: Final = "google_gemini"

_MAX_FILE: Final = 20 * 1024 * 1024  # our own limit: the whole file is in the request's memory
_FILES: Final[Mapping[Operation, Mapping[MediaRole, int]]] = {
    Operation.GENERATE: {MediaRole.FIRST_FRAME: 1, MediaRole.REFERENCE: 6},
    Operation.EDIT: {MediaRole.SOURCE: 1, MediaRole.REFERENCE: 6},
    Operation.EXTEND: {MediaRole.EXTEND_FROM: 1},
}
_STATES: Final = StateTable(
    queued=("queued",),
    running=("in_progress", "requires_continuation"),
    completed=("completed",),
    failed={
        **dict.fromkeys(("failed", "incomplete", "requires_action"), ErrorKind.PROVIDER_ERROR),
        "cancelled": ErrorKind.CANCELLED,
        "budget_exceeded": ErrorKind.PROVIDER_FUNDS,
    },
)
_FILE_STATES: Final = StateTable(
    running=("PROCESSING",), completed=("ACTIVE",), failed={"FAILED": ErrorKind.PROVIDER_ERROR}
)
_ERRORS: Final = ErrorTable(
    code_at=("error.status", "error.code"),
    message_at=("error.message",),
    in_success=False,
    words={
        "api key not valid": ErrorKind.PROVIDER_AUTH,
        "invalid interaction name": ErrorKind.JOB_LOST,
        r"usage guidelines|blocked\b.*\b(safety|polic)": ErrorKind.MODERATION_BLOCKED,
    },
)


class GoogleGemini:
    """One API key."""

    poll_interval: ClassVar[float] = 10.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        options = {"auth": {"header": "x-goog-api-key"}, **account.options}
        self._http = http.account(replace(account, options=options), errors=_ERRORS)
        self._version = f"/{account.options.get('api_version', 'v1beta')}"

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the interaction: exactly one request. Raises ProviderError."""
        request_fields.operation(request, *_FILES)
        task, blocks = await _input(request)
        seed = request_fields.parameters(request, {"seed": "seed"})
        body: dict[str, Any] = {
            "model": request.model,
            "input": [*blocks, {"type": "text", "text": request.prompt}],
            "background": True,
            "store": True,
            "response_format": _format(request),
            "generation_config": {"video_config": {"task": task}, **seed},
            **({"previous_interaction_id": request.source["id"]} if request.source else {}),
            **({"webhook_config": {"uris": [request.callback_url]}} if request.callback_url else {}),
        }
        body = request_fields.merged(body, request.provider_options)
        for field, needed in (("background", True), ("store", True), ("response_format.delivery", "uri")):
            if answers.found(body, *field.split(".")) != needed:
                request_fields.refuse("provider_options", f"{field} stays {needed}: the video is read later")
        with answers.creating():
            answer = await self._http.request("POST", f"{self._version}/interactions", json=body)
        return Submitted({"id": answers.required(answer.object(), "id")})

    async def poll(self, handle: Handle) -> Status:
        """Read the interaction, and once it is done its file, which may need some more time."""
        interaction = (await self._http.request("GET", self._path(handle), timeout=30)).object()
        match _STATES.read(interaction.get("status")):
            case ErrorKind() as kind:
                return _failed(answers.found(interaction, "errors", 0), kind)
            case "completed":
                return await self._finished(interaction)
            case state:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the file is enough
        """Start the download; a file that is gone may answer that it is forbidden."""
        try:
            return await results.download(self._http, outputs)
        except ProviderError as error:
            if error.kind in {ErrorKind.JOB_LOST, ErrorKind.PROVIDER_AUTH}:
                error.kind = ErrorKind.CONTENT_EXPIRED
            raise

    async def cancel(self, handle: Handle) -> None:
        """Stop the interaction; only one that runs can be stopped."""
        try:
            await self._http.request("POST", f"{self._path(handle)}/cancel", timeout=30)
        except ProviderError as error:
            if error.kind not in {ErrorKind.JOB_LOST, ErrorKind.INVALID_REQUEST}:
                raise

    async def _finished(self, interaction: Mapping[str, Any]) -> Status:
        blocks = _output(interaction)
        uri = next((block["uri"] for block in blocks if block.get("uri")), "")
        if not uri:
            why = " ".join(str(block["text"]) for block in reversed(blocks) if block.get("text"))
            return _failed({"message": why}, ErrorKind.MODERATION_BLOCKED)
        name = re.search(r"/files/([a-z0-9-]+)", uri)
        if name is None:
            return results.at_address(uri)
        path = f"{self._version}/files/{name[1]}"
        file = (await self._http.request("GET", path, timeout=30)).object()
        match _FILE_STATES.read(file.get("state")):
            case ErrorKind() as kind:
                return _failed(file.get("error"), kind)
            case "completed":
                return Completed({"url": f"{path}:download?alt=media"})
        return Running()

    def _path(self, handle: Handle) -> str:
        return f"{self._version}/interactions/{results.segment(handle['id'])}"


def _format(request: VideoRequest) -> dict[str, str]:
    """What is wanted; an edit keeps the shape and the length of its source."""
    form = {
        "type": "video",
        "delivery": "uri",
        "resolution": request_fields.tier(request, ("360p", "720p", "1080p", "4k")),
    }
    if request.operation is not Operation.EDIT:
        form["aspect_ratio"] = request_fields.aspect_ratio(request, ("16:9", "9:16"))
        form["duration"] = f"{request_fields.whole_seconds(request)}s"
    return form


async def _input(request: VideoRequest) -> tuple[str, list[dict[str, str]]]:
    """The task and its files. An image does not say what it is for: that is the task's to say."""
    files = request_fields.media(request, _FILES[request.operation])
    blocks = [await _block(item) for items in files.values() for item in items]
    if request.operation is not Operation.GENERATE:
        if not request.source and not any(block["type"] == "video" for block in blocks):
            request_fields.refuse("video", f"{request.model} needs the video to {request.operation.value}")
        return request.operation.value, blocks
    if files[MediaRole.FIRST_FRAME] and files[MediaRole.REFERENCE]:
        request_fields.refuse("reference_images", f"{request.model} takes them only without a first frame")
    task = "image_to_video" if files[MediaRole.FIRST_FRAME] else "reference_to_video"
    return (task if blocks else "text_to_video"), blocks


async def _block(item: MediaInput) -> dict[str, str]:
    kind, data = item.media_type.partition("/")[0], await media_forms.base64_text(item, _MAX_FILE)
    return {"type": kind, "data": data, "mime_type": item.media_type}


def _output(interaction: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What came out of the last turn, the newest first."""
    blocks = [interaction.get("output_video")]
    for step in reversed(interaction.get("steps") or []):
        if answers.found(step, "type") == "user_input":
            break
        blocks += reversed(answers.found(step, "content") or [])
    return [block for block in blocks if isinstance(block, Mapping)]


def _failed(error: Any, kind: ErrorKind) -> Failed:
    return Failed(_ERRORS.verdict(answers.found(error, "code"), answers.found(error, "message"), kind))


def build(account: Account, http: HttpDoor) -> GoogleGemini:
    """The adapter for one account."""
    return GoogleGemini(account, http)
