"""Replicate: predictions of a model ("owner/name") or of one version of it ("owner/name:sha").

Options of the account: webhook_secret (whsec_...; without it the account's own is read), those of
`providers.huggingface`. Its router is documented only to wait for a prediction; reading one there is unverified.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, Final
from urllib.parse import quote

from providers import answers, media_forms, request_fields, results
from providers.auth import verify_standard_webhook
from providers.contract import (
    Account,
    CallbackRefused,
    Completed,
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

PROVIDER: Final = "replicate"

_MAX_DATA_URI: Final = 256 * 1024 * 3 // 4  # of text; larger files are uploaded
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
    queued=("starting",),
    running=("processing",),
    completed=("succeeded",),
    failed={
        "failed": ErrorKind.PROVIDER_ERROR,
        "canceled": ErrorKind.CANCELLED,
        "aborted": ErrorKind.CANCELLED,
    },
)
_ERRORS: Final = ErrorTable(
    code_at=(),
    message_at=("detail", "title"),
    words={
        r"flagged as sensitive|\(E005\)": ErrorKind.MODERATION_BLOCKED,
        "out of memory": ErrorKind.OUT_OF_MEMORY,
    },
    wait=r"resets in ~?(\d+)s",
)
_UNFINISHED: Final = {"starting", "processing"}
_WAIT: Final = {"Prefer": "wait"}  # through the router, for up to a minute
_PERCENT: Final = re.compile(r"(\d{1,3})%\|")


class Replicate:
    """One Replicate account."""

    poll_interval: ClassVar[float] = 2.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._hub = HuggingFace(account, http, "replicate")
        self._http = http.account(account, authenticate=self._hub.authenticate, errors=_ERRORS)
        self._secret = str(account.options.get("webhook_secret", ""))

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the prediction: exactly one such request. Raises ProviderError."""
        wanted = {
            "prompt": request.prompt,
            **_FIELDS.length(request),
            **_FIELDS.shape(request),
            **_FIELDS.parameters(request),
            **await _FIELDS.files(request, self._file),
        }
        body: dict[str, Any] = {"input": request_fields.merged(wanted, request.provider_options)}
        callback, model = request.callback_url, await self._hub.model(request.model)
        if callback and callback.startswith("https://") and not self._hub.used:  # it takes no other
            body |= {"webhook": callback, "webhook_events_filter": ["completed"]}
        path = f"/models/{quote(model)}/predictions"
        if ":" in model:
            path, body["version"] = "/predictions", model
        waiting = _WAIT if self._hub.used else None
        with answers.creating():
            answer = await self._http.request(
                "POST", path, json=body, headers=waiting, timeout=90 if waiting else 60
            )
        created = answer.object()
        handle: dict[str, Any] = {"id": answers.required(created, "id")}
        if self._hub.used and created.get("status") not in _UNFINISHED:
            handle["ended"] = {name: created.get(name) for name in ("status", "error", "output", "metrics")}
        return Submitted(handle)

    async def poll(self, handle: Handle) -> Status:
        """Read the prediction."""
        prediction = handle.get("ended") or await self._read(handle)
        match _STATES.read(prediction.get("status")):
            case ErrorKind() as kind:
                return Failed(_ERRORS.verdict(None, prediction.get("error"), kind))
            case "completed":
                output = prediction.get("output")
                ended = results.at_address(answers.found(output, 0) if isinstance(output, list) else output)
                if isinstance(ended, Completed):
                    return Completed(ended.outputs, gpu_seconds=_run_time(prediction))
                return ended
            case state:
                return Running(_progress(prediction.get("logs")), state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download; the file is gone after an hour."""
        return await results.download(self._http, outputs)

    async def cancel(self, handle: Handle) -> None:
        """Stop the prediction."""
        with answers.gone_is_fine():
            await self._http.request("POST", f"{_path(handle)}/cancel", timeout=30)

    async def verify_callback(self, handle: Handle, headers: Mapping[str, str], body: bytes) -> None:
        """Check the account's signature, and that the report is about this prediction."""
        if not self._secret:
            found = (await self._http.request("GET", "/webhooks/default/secret", timeout=30)).object()
            self._secret = str(found.get("key", ""))
        verify_standard_webhook(self._secret, headers, body)
        if answers.found(answers.decoded(body), "id") != handle["id"]:
            raise CallbackRefused("the callback is about another prediction")

    async def check(self) -> str:
        """List the latest predictions, which costs nothing."""
        if self._hub.used:
            return await self._hub.check()
        await self._http.request("GET", "/predictions", timeout=30)
        return "the token may list predictions"

    async def _read(self, handle: Handle) -> dict[str, Any]:
        return (await self._http.request("GET", _path(handle), timeout=30)).object()

    async def _file(self, item: MediaInput) -> str:
        if item.size <= _MAX_DATA_URI or (item.url or "").startswith("https://"):
            return await media_forms.address_or_data(item, _MAX_DATA_URI)
        if self._hub.used:
            return media_forms.address(item)
        with answers.before_create():
            answer = await self._http.request("POST", "/files", form=[("content", item)])
            address = answers.found(answer.object(), "urls", "get")
        if not isinstance(address, str):
            raise ProviderError(
                ErrorKind.PROVIDER_ERROR, "the upstream's answer to the upload has no urls.get"
            )
        return address


def _run_time(prediction: Mapping[str, Any]) -> Decimal | None:
    return answers.gpu_seconds(
        {"usage": {"gpu_seconds": answers.found(prediction, "metrics", "predict_time")}}
    )


def _progress(logs: Any) -> int | None:
    steps = _PERCENT.findall(logs) if isinstance(logs, str) else []
    return answers.percent(int(steps[-1])) if steps else None


def _path(handle: Handle) -> str:
    return f"/predictions/{results.segment(handle['id'])}"


def build(account: Account, http: HttpDoor) -> Replicate:
    """The adapter for one account."""
    return Replicate(account, http)
