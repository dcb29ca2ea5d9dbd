"""PiAPI: a model of ours is "model/task_type"; what lies in `input` differs from model to model (`wire` names it).

A file goes by its address. A task can only be cancelled while it waits. Options of the account: service_mode ("public",
"private"). Unverified: that 10,000,000 of `consume` are one dollar, that its codes read like HTTP's, and the words that
moderation uses.
"""

import hashlib
import hmac
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, Final

from providers import answers, media_forms, request_fields, results
from providers.auth import verify_shared_secret
from providers.contract import (
    Account,
    CallbackRefused,
    Content,
    ErrorKind,
    Failed,
    Handle,
    MediaInput,
    Operation,
    ProviderError,
    ReportedCost,
    Running,
    Status,
    SubmitSafety,
    Submitted,
    VideoRequest,
)
from providers.error_table import ErrorTable, Rows
from providers.http import HttpDoor
from providers.state_table import StateTable
from providers.wire_fields import WireFields

PROVIDER: Final = "piapi"

_AUTH: Final = {"header": "x-api-key"}
_FIELDS: Final = WireFields(
    {"seconds": "duration", "resolution": "resolution", "aspect_ratio": "aspect_ratio"}
)
_STATES: Final = StateTable(
    queued=("pending", "staged"),  # staged waits for one of the account's slots
    running=("processing",),
    completed=("completed",),
    failed={"failed": ErrorKind.PROVIDER_ERROR},
)
_OUTPUTS: Final[tuple[tuple[str | int, ...], ...]] = (
    ("works", 0, "video", "resource_without_watermark"),
    ("video_url",),
    ("video",),
)
_WORDS: Final[Rows] = {"moderation|content policy|sensitive|nsfw": ErrorKind.MODERATION_BLOCKED}
_ERRORS: Final = ErrorTable(
    code_at=("code",),
    message_at=("data.error.raw_message", "data.error.message", "message"),
    codes={
        "401|403": ErrorKind.PROVIDER_AUTH,
        "402": ErrorKind.PROVIDER_FUNDS,
        "404": ErrorKind.JOB_LOST,
        "429": ErrorKind.RATE_LIMITED,
        r"5\d\d": ErrorKind.PROVIDER_UNAVAILABLE,
    },
    words=_WORDS,
    fine=frozenset({"200"}),
)
_FAILURES: Final = ErrorTable(words=_WORDS)
_DOLLAR: Final = 10_000_000
_TOO_LATE: Final = frozenset({ErrorKind.JOB_LOST, ErrorKind.INVALID_REQUEST})


class Piapi:
    """One PiAPI account."""

    poll_interval: ClassVar[float] = 5.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        keyed = Account(
            account.name, account.base_url, account.credential, {"auth": _AUTH, **account.options}
        )
        self._http = http.account(keyed, errors=_ERRORS)
        self._mode = account.options.get("service_mode", "public")
        self._key = account.credential.encode()

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the task: exactly one request. Raises ProviderError."""
        request_fields.operation(request, Operation.GENERATE)
        model, _, task_type = request.model.rpartition("/")
        if not model:
            request_fields.refuse("model", f"'{request.model}' is not written model/task_type")
        wanted = {
            "prompt": request.prompt,
            **_FIELDS.length(request),
            **_FIELDS.shape(request),
            **_FIELDS.parameters(request),
            **await _FIELDS.files(request, _address),
        }
        config: dict[str, Any] = {"service_mode": self._mode}
        if request.callback_url:
            secret = self._secret(request.attempt_id)
            config["webhook_config"] = {"endpoint": request.callback_url, "secret": secret}
        wanted = request_fields.merged(wanted, request.provider_options)
        body = {"model": model, "task_type": task_type, "input": wanted, "config": config}
        with answers.creating():
            answer = await self._http.request("POST", "/api/v1/task", json=body)
        return Submitted(
            {"id": answers.required(answer.object(), "data", "task_id"), "attempt": request.attempt_id}
        )

    async def poll(self, handle: Handle) -> Status:
        """Read the task."""
        answer = await self._http.request("GET", _path(handle), timeout=30)
        task = answers.found(answer.object(), "data")
        match _STATES.read(answers.found(task, "status")):
            case ErrorKind() as kind:
                error = task.get("error")
                why = answers.found(error, "raw_message") or answers.found(error, "message")
                return Failed(_FAILURES.verdict(answers.found(error, "code"), why, kind))
            case "completed":
                found = (answers.found(task, "output", *place) for place in _OUTPUTS)
                url = next((each for each in found if isinstance(each, str) and each), None)
                return results.at_address(url, _cost(task))
            case state:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download."""
        return await results.download(self._http, outputs)

    async def cancel(self, handle: Handle) -> None:
        """Take the task out of the queue; one that runs already goes on."""
        try:
            await self._http.request("DELETE", _path(handle), timeout=30)
        except ProviderError as error:
            if error.kind not in _TOO_LATE:
                raise

    async def verify_callback(self, handle: Handle, headers: Mapping[str, str], body: bytes) -> None:
        """Check the secret of this attempt, and that the report is about this task."""
        verify_shared_secret(self._secret(str(handle["attempt"])), headers, "x-webhook-secret")
        if answers.found(answers.decoded(body), "data", "task_id") != handle["id"]:
            raise CallbackRefused("the callback is about another task")

    def _secret(self, attempt_id: str) -> str:
        """A secret per attempt that only this account's holder can make: nothing has to be kept."""
        return hmac.new(self._key, f"webhook {attempt_id}".encode(), hashlib.sha256).hexdigest()


def _cost(task: Any) -> ReportedCost | None:
    """What the task took, in dollars."""
    consumed = answers.found(task, "meta", "usage", "consume")
    return (
        answers.cost_in("USD", Decimal(str(consumed)) / _DOLLAR) if type(consumed) in {int, float} else None
    )


async def _address(item: MediaInput) -> str:
    return media_forms.address(item)


def _path(handle: Handle) -> str:
    return f"/api/v1/task/{results.segment(handle['id'])}"


def build(account: Account, http: HttpDoor) -> Piapi:
    """The adapter for one account."""
    return Piapi(account, http)
