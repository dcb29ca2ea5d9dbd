"""Higgsfield: a queue in front of many makers' models, each with its own arguments; what it moderates is refunded.

Its callbacks are not signed. Files without a public address are uploaded to it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final
from urllib.parse import quote

from providers import answers, request_fields, results, uploads
from providers.contract import (
    Account,
    Content,
    ErrorKind,
    Failed,
    Handle,
    MediaInput,
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
from providers.wire_fields import WireFields

PROVIDER: Final = "higgsfield"

_AUTH: Final = {"auth": {"header": "Authorization", "prefix": "Key "}}
_MAX_FILE: Final = 50 * 1024 * 1024  # our own limit: the whole file is in memory
_FIELDS: Final = WireFields(
    {
        "seconds": "duration",
        "resolution": "resolution",
        "aspect_ratio": "aspect_ratio",
        "seed": "seed",
        "first_frame": "image_url",
    }
)
_STATES: Final = StateTable(
    queued=("queued",),
    running=("in_progress",),
    completed=("completed",),
    failed={
        "failed": ErrorKind.PROVIDER_ERROR,
        "nsfw": ErrorKind.MODERATION_BLOCKED,
        "canceled": ErrorKind.CANCELLED,
    },
)
_ERRORS: Final = ErrorTable(
    code_at=(),
    message_at=("detail.0.msg", "detail", "message", "error"),
    words={
        "maximum number of concurrent requests": ErrorKind.CONCURRENCY_LIMITED,
        "credit": ErrorKind.PROVIDER_FUNDS,
    },
)
_TOO_LATE: Final = {400, 404}


class Higgsfield:
    """One Higgsfield account."""

    poll_interval: ClassVar[float] = 3.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        authorized = replace(account, options={**_AUTH, **account.options})
        self._door = http
        self._http = http.account(authorized, errors=_ERRORS)

    async def submit(self, request: VideoRequest) -> Submitted:
        """Put the request into the queue: exactly one request. Raises ProviderError."""
        if not (request.resolution or request.aspect_ratio or "size" in request.wire):
            request_fields.refuse(
                "size", "Higgsfield takes resolutions and aspect ratios: name them in the model's row"
            )
        body = {
            "prompt": request.prompt,
            **_FIELDS.length(request),
            **_FIELDS.shape(request),
            **_FIELDS.parameters(request),
            **await _FIELDS.files(request, self._file),
        }
        path = f"/{quote(request.model)}"
        if request.callback_url:
            path += f"?hf_webhook={quote(request.callback_url, safe='')}"
        with answers.creating():
            answer = await self._http.request(
                "POST", path, json=request_fields.merged(body, request.provider_options)
            )
        return Submitted({"id": answers.required(answer.object(), "request_id")})

    async def poll(self, handle: Handle) -> Status:
        """Read the request."""
        found = (await self._http.request("GET", _path(handle, "status"), timeout=30)).object()
        state = _STATES.read(found.get("status"))
        match state:
            case ErrorKind():
                return Failed(_ERRORS.verdict(found["status"], found.get("detail"), state))
            case "completed":
                return results.at_address(answers.found(found, "video", "url"))
            case _:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download; the file is kept for seven days at least."""
        return await results.download(self._http, outputs)

    async def cancel(self, handle: Handle) -> None:
        """Take the request out of the queue; one that has begun goes on."""
        try:
            await self._http.request("POST", _path(handle, "cancel"), timeout=30)
        except ProviderError as error:
            if error.http_status not in _TOO_LATE:
                raise

    async def _file(self, item: MediaInput) -> str:
        if item.url is not None:
            return item.url
        with answers.before_create():
            answer = await self._http.request(
                "POST", "/files/generate-upload-url", json={"content_type": item.media_type}
            )
            ticket = answer.object()
        public, upload = ticket.get("public_url"), ticket.get("upload_url")
        if not isinstance(public, str) or not isinstance(upload, str):
            raise ProviderError(
                ErrorKind.PROVIDER_ERROR,
                "the upstream's answer to the upload has no public_url and upload_url",
            )
        headers = ticket.get("upload_headers") or {"Content-Type": item.media_type}
        await uploads.put(self._door, upload, item, headers, _MAX_FILE)
        return public


def _path(handle: Handle, what: str) -> str:
    return f"/requests/{results.segment(handle['id'])}/{what}"


def build(account: Account, http: HttpDoor) -> Higgsfield:
    """The adapter for one account."""
    return Higgsfield(account, http)
