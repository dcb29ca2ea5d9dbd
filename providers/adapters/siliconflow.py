"""SiliconFlow: Wan 2.2. Every video has about five seconds; a result may be fetched for ten minutes.

That a later poll names a new address, and the words by which its moderation is known, are unverified.
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

PROVIDER: Final = "siliconflow"

_SECONDS: Final = 5
_MAX_IMAGE: Final = 20 * 1024 * 1024  # our own limit: the whole file is in the request's memory
_PARAMETERS: Final = {"seed": "seed", "negative_prompt": "negative_prompt"}
_STATES: Final = StateTable(
    queued=("InQueue",),
    running=("InProgress",),
    completed=("Succeed",),
    failed={"Failed": ErrorKind.PROVIDER_ERROR},
)
_ERRORS: Final = ErrorTable(
    code_at=("code",),
    message_at=("message",),
    in_success=False,
    words={
        "sensitive|moderation|policy|violat|inappropriate|nsfw|敏感|违规|审核": ErrorKind.MODERATION_BLOCKED
    },
)


class SiliconFlow:
    """One account, of the global site or the Chinese one."""

    poll_interval: ClassVar[float] = 5.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._http = http.account(account, errors=_ERRORS)

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the video: exactly one request. Raises ProviderError."""
        request_fields.operation(request, Operation.GENERATE)
        if request.seconds != _SECONDS:
            request_fields.refuse("seconds", f"{request.model} makes videos of {_SECONDS} seconds")
        images = request_fields.media(request, {MediaRole.FIRST_FRAME: 1})[MediaRole.FIRST_FRAME]
        body = {
            "model": request.model,
            "prompt": request.prompt,
            "image_size": request.size,
            **request_fields.parameters(request, _PARAMETERS),
        }
        if images:
            body["image"] = await media_forms.address_or_data(images[0], _MAX_IMAGE)
        body = request_fields.merged(body, request.provider_options)
        with answers.creating():
            answer = await self._http.request("POST", "/video/submit", json=body)
        return Submitted({"id": answers.required(answer.object(), "requestId")})

    async def poll(self, handle: Handle) -> Status:
        """Read the job, by POST."""
        query = {"requestId": handle["id"]}
        job = (await self._http.request("POST", "/video/status", json=query, timeout=30)).object()
        match _STATES.read(job.get("status")):
            case ErrorKind() as kind:
                return Failed(_ERRORS.verdict(None, job.get("reason"), kind))
            case "completed":
                return results.at_address(answers.found(job, "results", "videos", 0, "url"))
            case state:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download."""
        return await results.download(self._http, outputs)

    async def check(self) -> str:
        """List the models, which costs nothing."""
        await self._http.request("GET", "/models", timeout=30)
        return "the key may list the models"


def build(account: Account, http: HttpDoor) -> SiliconFlow:
    """The adapter for one account."""
    return SiliconFlow(account, http)
