"""OpenRouter: one schema for the video models of many providers; a finished job names what it cost.

Options of the account: webhook_secret (the workspace's signing secret; without it callbacks are refused).
Unverified: how callbacks are signed, that references do not count beside frames, and the words of a moderated job,
which are those of the provider behind it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers import answers, content_roles, media_forms, request_fields, results
from providers.auth import verify_openrouter
from providers.contract import (
    Account,
    CallbackRefused,
    Content,
    ErrorKind,
    Failed,
    Handle,
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

PROVIDER: Final = "openrouter"

_MAX_FILE: Final = 20 * 1024 * 1024  # our own limits: the files are in the request's memory
_MAX_TOGETHER: Final = 40 * 1024 * 1024
_MANY: Final = dict.fromkeys(("image", "video", "audio"), 1000)  # it names no limit; the model's row does
_CONTINUES: Final = {Operation.EDIT, Operation.EXTEND}
_RESOLUTIONS: Final = {"2k": "2K", "4k": "4K"}
_PARAMETERS: Final = {"seed": "seed", "audio": "generate_audio"}
_STATES: Final = StateTable(
    queued=("pending",),
    running=("in_progress",),
    completed=("completed",),
    failed={
        "failed": ErrorKind.PROVIDER_ERROR,
        "cancelled": ErrorKind.CANCELLED,
        "expired": ErrorKind.PROVIDER_ERROR,
    },
)
_ERRORS: Final = ErrorTable(
    code_at=(),
    message_at=("error.message",),
    in_success=False,
    words={
        "moderation|content policy|flagged|safety": ErrorKind.MODERATION_BLOCKED,
        "out of memory": ErrorKind.OUT_OF_MEMORY,
    },
)
_GONE: Final = {404, 410}


class OpenRouter:
    """One OpenRouter account."""

    poll_interval: ClassVar[float] = 10.0  # every 10 to 30 s, says OpenRouter
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._http = http.account(account, errors=_ERRORS)
        self._secret = str(account.options.get("webhook_secret", ""))

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the job: exactly one request. Raises ProviderError."""
        request_fields.operation(request, Operation.GENERATE, *_CONTINUES)
        body = {
            "model": request.model,
            "prompt": request.prompt,
            "duration": request_fields.whole_seconds(request),
            **_shape(request),
            **request_fields.parameters(request, _PARAMETERS),
            **await _files(request),
            **_continued(request),
        }
        if request.callback_url and request.callback_url.startswith("https://"):  # it takes no other
            body["callback_url"] = request.callback_url
        with answers.creating():
            answer = await self._http.request(
                "POST", "/videos", json=request_fields.merged(body, request.provider_options)
            )
        return Submitted({"id": answers.required(answer.object(), "id")})

    async def poll(self, handle: Handle) -> Status:
        """Read the job."""
        job = (await self._http.request("GET", _path(handle), timeout=30)).object()
        match _STATES.read(job.get("status")):
            case ErrorKind() as kind:
                return Failed(_ERRORS.verdict(None, job.get("error"), kind))
            case "completed":
                signed = answers.found(job, "urls", 0)  # the other one needs the key
                cost = answers.cost_in("USD", answers.found(job, "usage", "cost"))
                return results.at_address(signed or answers.found(job, "unsigned_urls", 0), cost)
            case state:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download."""
        try:
            return await results.download(self._http, outputs)
        except ProviderError as error:
            if error.http_status in _GONE:
                error.kind = ErrorKind.CONTENT_EXPIRED
            raise

    async def verify_callback(self, handle: Handle, headers: Mapping[str, str], body: bytes) -> None:
        """Check the workspace's signature, and that the report is about this job."""
        verify_openrouter(self._secret, headers, body)
        if answers.found(answers.decoded(body), "data", "id") != handle["id"]:
            raise CallbackRefused("the callback is about another job")

    async def check(self) -> str:
        """Read what the key may do, which costs nothing."""
        await self._http.request("GET", "/key", timeout=30)
        return "the key is valid"


def _shape(request: VideoRequest) -> dict[str, str]:
    resolution = request.resolution and _RESOLUTIONS.get(request.resolution, request.resolution)
    words = {"resolution": resolution, "aspect_ratio": request.aspect_ratio}
    return {name: word for name, word in words.items() if word} or {"size": request.size}


async def _files(request: VideoRequest) -> dict[str, Any]:
    # With a frame it passes references over without a word: both together are refused.
    files = content_roles.frames_or_references(request, _MANY)
    urls = await media_forms.addresses_or_data(files, _MAX_FILE, _MAX_TOGETHER)
    fields: dict[str, Any] = {}
    for item, url in zip(files, urls, strict=True):
        kind = f"{content_roles.kind_of(item)}_url"
        part = {"type": kind, kind: {"url": url}}
        if item.role is MediaRole.REFERENCE:
            fields.setdefault("input_references", []).append(part)
        else:
            fields.setdefault("frame_images", []).append({**part, "frame_type": item.role.value})
    return fields


def _continued(request: VideoRequest) -> dict[str, str]:
    if request.operation not in _CONTINUES:
        return {}
    if request.source is None:
        request_fields.refuse("source", f"{request.model} works only on a video that it made itself")
    return {"previous_job_id": str(request.source["id"])}


def _path(handle: Handle) -> str:
    return f"/videos/{results.segment(handle['id'])}"


def build(account: Account, http: HttpDoor) -> OpenRouter:
    """The adapter for one account."""
    return OpenRouter(account, http)
