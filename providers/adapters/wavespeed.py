"""WaveSpeed: every model has its own fields; an envelope's code tells of the call, the prediction's code of the job.

Options of the account: webhook_secret (whsec_...; without it the account's own is read), those of
`providers.huggingface`.
Unverified: how callbacks are signed, and the field of the answer that holds the secret.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final
from urllib.parse import quote

from providers import answers, media_forms, request_fields, results
from providers.auth import verify_wavespeed
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

PROVIDER: Final = "wavespeed"

_MAX_DATA_URI: Final = 20 * 1024 * 1024  # our own limit: the whole file is in the request's memory
_FIELDS: Final = WireFields(
    {
        "seconds": "duration",
        "size": "size",
        "resolution": "resolution",
        "aspect_ratio": "aspect_ratio",
        "negative_prompt": "negative_prompt",
        "seed": "seed",
        "first_frame": "image",
    },
    separator="*",
)
_STATES: Final = StateTable(
    queued=("created",),
    running=("processing",),
    completed=("completed",),
    failed={
        "failed": ErrorKind.PROVIDER_ERROR,
        "timeout": ErrorKind.PROVIDER_ERROR,
        "deleted": ErrorKind.PROVIDER_ERROR,
        "cancelled": ErrorKind.CANCELLED,
    },
)
_ERRORS: Final = ErrorTable(
    code_at=("code",),
    message_at=("message",),
    fine=frozenset({"200"}),
    codes={
        "400|422|1400|1401": ErrorKind.INVALID_REQUEST,
        "401|403": ErrorKind.PROVIDER_AUTH,
        "402": ErrorKind.PROVIDER_FUNDS,
        "404": ErrorKind.JOB_LOST,
        "429": ErrorKind.RATE_LIMITED,
        r"5\d\d": ErrorKind.PROVIDER_UNAVAILABLE,
        "1200": ErrorKind.MODERATION_BLOCKED,
        "1402": ErrorKind.INPUT_MEDIA,
    },
    words={"out of memory": ErrorKind.OUT_OF_MEMORY},
)


class WaveSpeed:
    """One WaveSpeed account."""

    poll_interval: ClassVar[float] = 2.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._hub = HuggingFace(account, http, "wavespeed")
        self._http = http.account(account, authenticate=self._hub.authenticate, errors=_ERRORS)
        self._secret = str(account.options.get("webhook_secret", ""))

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the prediction: exactly one such request. Raises ProviderError."""
        body = {
            "prompt": request.prompt,
            **_FIELDS.length(request),
            **_FIELDS.shape(request),
            **_FIELDS.parameters(request),
            **await _FIELDS.files(request, self._file),
        }
        path, callback = f"/api/v3/{quote(await self._hub.model(request.model))}", request.callback_url
        if callback and callback.startswith("https://") and not self._hub.used:  # it takes no other
            path += f"?webhook={quote(callback, safe='')}"
        with answers.creating():
            answer = await self._http.request(
                "POST", path, json=request_fields.merged(body, request.provider_options)
            )
        return Submitted({"id": answers.required(answer.object(), "data", "id")})

    async def poll(self, handle: Handle) -> Status:
        """Read the prediction."""
        path = f"/api/v3/predictions/{results.segment(handle['id'])}/result"
        prediction = answers.found((await self._http.request("GET", path, timeout=30)).object(), "data")
        match _STATES.read(answers.found(prediction, "status")):
            case ErrorKind() as kind:
                code, message = (answers.found(prediction, name) for name in ("code", "error"))
                return Failed(_ERRORS.verdict(code or None, message, kind))
            case "completed":
                return results.at_address(answers.found(prediction, "outputs", 0))
            case state:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download."""
        return await results.download(self._http, outputs)

    async def verify_callback(self, handle: Handle, headers: Mapping[str, str], body: bytes) -> None:
        """Check the account's signature, and that the report is about this prediction."""
        if not self._secret:
            found = (await self._http.request("GET", "/api/v3/webhook/secret", timeout=30)).object()
            self._secret = str(answers.found(found, "data", "secret") or "")
        verify_wavespeed(self._secret, headers, body)
        if answers.found(answers.decoded(body), "id") != handle["id"]:
            raise CallbackRefused("the callback is about another prediction")

    async def check(self) -> str:
        """Read the balance, which costs nothing."""
        if self._hub.used:
            return await self._hub.check()
        found = (await self._http.request("GET", "/api/v3/balance", timeout=30)).object()
        left = answers.found(found, "data", "balance")
        return "the key is valid" if left is None else f"the balance is {left}"

    async def _file(self, item: MediaInput) -> str:
        if self._hub.used or (item.url or "").startswith("https://"):
            return await media_forms.address_or_data(item, _MAX_DATA_URI)
        with answers.before_create():
            answer = await self._http.request("POST", "/api/v3/media/upload/binary", form=[("file", item)])
            address = answers.found(answer.object(), "data", "download_url")
        if not isinstance(address, str):
            raise ProviderError(
                ErrorKind.PROVIDER_ERROR, "the upstream's answer to the upload has no data.download_url"
            )
        return address


def build(account: Account, http: HttpDoor) -> WaveSpeed:
    """The adapter for one account."""
    return WaveSpeed(account, http)
