"""kie.ai's market: one endpoint for all models, whose fields differ (the catalogue row's `wire` names them).

A file goes by its address. Options of the account: webhook_secret (the key that signs callbacks; without it none is
asked for). Unverified: which words tell what moderation refused. Its older endpoints per family are not served.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers import answers, media_forms, request_fields, results
from providers.answers import Response
from providers.auth import verify_kie
from providers.contract import (
    Account,
    Content,
    ErrorKind,
    Failed,
    Handle,
    MediaInput,
    Operation,
    ProviderError,
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

PROVIDER: Final = "kie"

_FIELDS: Final = WireFields(
    {
        "seconds": "duration",
        "resolution": "resolution",
        "aspect_ratio": "aspect_ratio",
        "negative_prompt": "negative_prompt",
        "seed": "seed",
    }
)
_INSISTS_ON: Final[Mapping[str, Mapping[str, Any]]] = {
    "kling-3.0/video": {"sound": False, "multi_shots": False},
}
_STATES: Final = StateTable(
    queued=("waiting", "queuing"),
    running=("generating",),
    completed=("success",),
    failed={"fail": ErrorKind.PROVIDER_ERROR},
)
_WORDS: Final[Rows] = {
    "content policy|moderation|sensitive|violat|nsfw": ErrorKind.MODERATION_BLOCKED,
}
_ERRORS: Final = ErrorTable(
    code_at=("code",),
    message_at=("msg", "message"),
    codes={
        "401": ErrorKind.PROVIDER_AUTH,
        "402": ErrorKind.PROVIDER_FUNDS,
        "404": ErrorKind.JOB_LOST,
        "429": ErrorKind.RATE_LIMITED,
        "408|455|500|505": ErrorKind.PROVIDER_UNAVAILABLE,  # late, in maintenance, broken, switched off
        "501": ErrorKind.PROVIDER_ERROR,
    },
    words=_WORDS,
    fine=frozenset({"200"}),
)
_FAILURES: Final = ErrorTable(words=_WORDS)
_NOT_TAKEN: Final = frozenset({"455", "505"})


class Kie:
    """One kie.ai account."""

    poll_interval: ClassVar[float] = 5.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._http = http.account(account, errors=_refusal)
        self._secret = str(account.options.get("webhook_secret", ""))

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the task: exactly one request. Raises ProviderError."""
        request_fields.operation(request, Operation.GENERATE)
        wanted = {
            "prompt": request.prompt,
            **_INSISTS_ON.get(request.model, {}),
            **_FIELDS.length(request),
            **_FIELDS.shape(request),
            **_FIELDS.parameters(request),
            **await _FIELDS.files(request, _address),
        }
        body = {"model": request.model, "input": request_fields.merged(wanted, request.provider_options)}
        if request.callback_url and self._secret:
            body["callBackUrl"] = request.callback_url
        with answers.creating():
            answer = await self._http.request("POST", "/api/v1/jobs/createTask", json=body)
        return Submitted({"id": answers.required(answer.object(), "data", "taskId")})

    async def poll(self, handle: Handle) -> Status:
        """Read the task's record."""
        path = f"/api/v1/jobs/recordInfo?taskId={results.segment(handle['id'])}"
        record = answers.found((await self._http.request("GET", path, timeout=30)).object(), "data")
        match _STATES.read(answers.found(record, "state")):
            case ErrorKind() as kind:
                return Failed(_FAILURES.verdict(record.get("failCode"), record.get("failMsg"), kind))
            case "completed":
                return results.at_address(_first_url(record.get("resultJson")))
            case state:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download; the address works for about a day."""
        return await results.download(self._http, outputs)

    async def verify_callback(self, handle: Handle, headers: Mapping[str, str], body: bytes) -> None:  # noqa: ARG002 - it is not signed
        """Check the signature over the task's id and the time."""
        verify_kie(self._secret, str(handle["id"]), headers)


def _refusal(response: Response) -> ProviderError | None:
    """The error of an answer. 422 stands for what is invalid and for what is not allowed: the words tell."""
    error = _ERRORS(response)
    if error is not None and error.upstream_code in _NOT_TAKEN:
        error.ambiguous = False
    if error is not None and error.upstream_code == "422" and error.kind is not ErrorKind.MODERATION_BLOCKED:
        error.kind, error.ambiguous = ErrorKind.INVALID_REQUEST, False
    return error


def _first_url(result: Any) -> Any:
    """The address inside `resultJson`, which is a text."""
    try:
        return answers.found(json.loads(result), "resultUrls", 0)
    except (TypeError, ValueError):
        return None


async def _address(item: MediaInput) -> str:
    return media_forms.address(item)


def build(account: Account, http: HttpDoor) -> Kie:
    """The adapter for one account."""
    return Kie(account, http)
