"""fal's queue: every endpoint has its own fields, and the create's answer names every further address.

COMPLETED does not mean success: the result tells. Options of the account: jwks_url (the keys of its callbacks), those of `providers.huggingface`; that its router passes a
cancel on is unverified.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlsplit

from providers import answers, media_forms, request_fields, results
from providers.auth import jwks_ed25519, verify_fal
from providers.contract import (
    Account,
    CallbackRefused,
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
from providers.huggingface import HuggingFace
from providers.state_table import StateTable
from providers.wire_fields import WireFields

PROVIDER: Final = "fal"

_QUEUE: Final = "queue.fal.run"
_CHECKED: Final = "fal-ai/veo3.1"  # any app has a queue to ask
_NOBODYS: Final = "00000000-0000-4000-8000-000000000000"
_KEYS: Final = "https://rest.fal.ai/.well-known/jwks.json"
_AUTH: Final = {"auth": {"header": "Authorization", "prefix": "Key "}}
_MAX_FILE: Final = 20 * 1024 * 1024  # our own limit: the whole file is in the request's memory
_FIELDS: Final = WireFields(
    {
        "seconds": "duration",
        "resolution": "resolution",
        "aspect_ratio": "aspect_ratio",
        "audio": "generate_audio",
        "negative_prompt": "negative_prompt",
        "seed": "seed",
    }
)
_STATES: Final = StateTable(
    queued=("IN_QUEUE",), running=("IN_PROGRESS",), completed=("COMPLETED",), failed={}
)
_ERRORS: Final = ErrorTable(
    code_at=("detail.0.type", "error_type"),
    message_at=("detail.0.msg", "detail", "error"),
    codes={
        "content_policy_violation": ErrorKind.MODERATION_BLOCKED,
        "image_.*|file_.*|video_.*|audio_.*": ErrorKind.INPUT_MEDIA,
        "feature_not_supported": ErrorKind.INVALID_REQUEST,
        "no_media_generated|generation_timeout|downstream_service_.*": ErrorKind.PROVIDER_ERROR,
        "request_timeout|startup_timeout|runner_.*|internal_server_error": ErrorKind.PROVIDER_ERROR,
    },
    in_success=False,
    words={"exhausted balance|user is locked": ErrorKind.PROVIDER_FUNDS},
)
_ROUTED: Final = "?_subdomain=queue"
_TOO_LATE: Final = {400, 404}


class Fal:
    """One fal account."""

    poll_interval: ClassVar[float] = 3.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        authorized = replace(account, options={**_AUTH, **account.options})
        self._hub = HuggingFace(account, http, "fal-ai")
        self._http = http.account(
            authorized, authenticate=self._hub.authenticate, hosts=(_QUEUE,), errors=_ERRORS
        )
        self._keys = jwks_ed25519(http, account.options.get("jwks_url", _KEYS))

    async def submit(self, request: VideoRequest) -> Submitted:
        """Put the request into the queue: exactly one request. Raises ProviderError."""
        body = {
            "prompt": request.prompt,
            **_FIELDS.length(request),
            **_FIELDS.shape(request),
            **_FIELDS.parameters(request),
            **await _FIELDS.files(request, _file),
        }
        path = f"/{quote(await self._hub.model(request.model))}"
        if self._hub.used:
            path += _ROUTED
        elif request.callback_url:
            path += f"?fal_webhook={quote(request.callback_url, safe='')}"
        with answers.creating():
            answer = await self._http.request(
                "POST", path, json=request_fields.merged(body, request.provider_options)
            )
        created = answer.object()
        if self._hub.used:
            created |= _routed(answers.required(created, "response_url"))
        names = ("request_id", "status_url", "response_url", "cancel_url")
        return Submitted({name: answers.required(created, name) for name in names})

    async def poll(self, handle: Handle) -> Status:
        """Read the status and, once that is COMPLETED, the result."""
        status = (await self._http.request("GET", str(handle["status_url"]), timeout=30)).object()
        state = _STATES.read(status.get("status"))
        if state != "completed":
            return Running(queued=state == "queued")
        if status.get("error"):
            return Failed(_ERRORS.verdict(status.get("error_type"), status["error"]))
        try:
            result = (await self._http.request("GET", str(handle["response_url"]))).json()
        except ProviderError as error:
            if error.upstream_code is None:  # nothing that fal says of a request
                raise
            return Failed(error)
        return results.at_address(
            answers.found(result, "video", "url") or answers.found(result, "videos", 0, "url")
        )

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download."""
        return await results.download(self._http, outputs)

    async def cancel(self, handle: Handle) -> None:
        """Take the request out of the queue; a running one is signalled."""
        try:
            await self._http.request("PUT", str(handle["cancel_url"]), timeout=30)
        except ProviderError as error:
            if error.http_status not in _TOO_LATE:
                raise

    async def verify_callback(self, handle: Handle, headers: Mapping[str, str], body: bytes) -> None:
        """Check fal's signature, and that the report is about this request."""
        await verify_fal(self._keys, headers, body)
        if answers.found(answers.decoded(body), "request_id") != handle["request_id"]:
            raise CallbackRefused("the callback is about another request")

    async def check(self) -> str:
        """Read a request that nobody made."""
        path = f"/{_CHECKED}/requests/{_NOBODYS}/status"
        return await answers.nothing_found(self._http.request("GET", path, timeout=30))


def _routed(response_url: str) -> dict[str, str]:
    """The same addresses behind the router: the paths, below its own."""
    path = urlsplit(response_url).path
    names = {"status_url": "/status", "response_url": "", "cancel_url": "/cancel"}
    return {name: f"{path}{end}{_ROUTED}" for name, end in names.items()}


async def _file(item: MediaInput) -> str:
    return await media_forms.address_or_data(item, _MAX_FILE)


def build(account: Account, http: HttpDoor) -> Fal:
    """The adapter for one account."""
    return Fal(account, http)
