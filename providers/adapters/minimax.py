"""MiniMax (Hailuo): two protocols, chosen by the model. V2 is that of MiniMax-H3, V1 that of all before.

V1 tells errors as business codes inside HTTP 200 and gives the address of a file by its id, V2 is plain HTTP.
From memory or third parties, so unverified: the codes 1013, 1039 and 2049, the 480P of H3-Max.
Not offered, as it is not documented well enough: the role base_video, and the upscaling of a draft.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers import answers, content_roles, media_forms, request_fields, results
from providers.answers import Response
from providers.contract import (
    Account,
    Completed,
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

PROVIDER: Final = "minimax"

_V2_MODELS: Final = re.compile(r"MiniMax-H\d")
_MAX_FILE: Final = 20 * 1024 * 1024
_MAX_TOGETHER: Final = (
    48 * 1024 * 1024
)  # our own limit: what is not sent by address is in the request's memory
_MOST: Final = {"image": 9, "video": 3, "audio": 3}
_MOST_SUBJECTS: Final = {"image": 1}
_V1_RESOLUTIONS: Final = {"512p": "512P", "720p": "720P", "768p": "768P", "1080p": "1080P"}
_V2_RESOLUTIONS: Final = {"480p": "480P", "768p": "768P", "2k": "2K", "1440p": "2K"}
_RATIOS: Final = ("16:9", "9:16", "1:1", "4:3", "3:4", "21:9")
_STATES: Final = StateTable(
    queued=("Preparing", "Queueing", "queued"),
    running=("Processing", "running"),
    completed=("Success", "succeeded"),
    failed={
        "Fail": ErrorKind.PROVIDER_ERROR,
        "failed": ErrorKind.PROVIDER_ERROR,
        "cancelled": ErrorKind.CANCELLED,
        "expired": ErrorKind.PROVIDER_ERROR,
    },
)
_FINE: Final = "0"
_REASONS: Final = ErrorTable(
    codes={
        "1004|2049|authorized_error": ErrorKind.PROVIDER_AUTH,
        "1008|insufficient_balance_error": ErrorKind.PROVIDER_FUNDS,
        "1026|1027": ErrorKind.MODERATION_BLOCKED,
        "1042|2013|bad_request_error": ErrorKind.INVALID_REQUEST,
    },
)
_ERRORS: Final = ErrorTable(
    code_at=("base_resp.status_code", "error.type"),
    message_at=("base_resp.status_msg", "error.message"),
    fine=frozenset({_FINE}),
    codes={
        **_REASONS.codes,
        "1002|1039|rate_limit_error": ErrorKind.RATE_LIMITED,
        "1000|1001|1013|1024|1033|server_error": ErrorKind.PROVIDER_UNAVAILABLE,
    },
    words={r"\((1026|1027)\)": ErrorKind.MODERATION_BLOCKED},  # V2 has the number in its text alone
)


class MiniMax:
    """One account; key and host belong to the same region."""

    poll_interval: ClassVar[float] = 10.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._http = http.account(account, errors=_refused)

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the task: exactly one request. Raises ProviderError."""
        request_fields.operation(request, Operation.GENERATE)
        version, fields = ("v2", _v2) if _V2_MODELS.match(request.model) else ("v1", _v1)
        body = {
            "model": request.model,
            "duration": request_fields.whole_seconds(request),
            **request_fields.parameters(request, {}),
            **await fields(request),
        }
        if request.callback_url:
            body["callback_url"] = request.callback_url
        body = request_fields.merged(body, request.provider_options)
        with answers.creating():
            answer = await self._http.request("POST", f"/{version}/video_generation", json=body)
        return Submitted({"version": version, "id": answers.required(answer.object(), "task_id")})

    async def poll(self, handle: Handle) -> Status:
        """Read the task in the protocol of its create."""
        task, code, message = await self._task(handle)
        match _STATES.read(answers.found(task, "status")):
            case ErrorKind() as kind:
                return Failed(_REASONS.verdict(code, message, kind))
            case "completed":
                if file_id := answers.found(task, "file_id"):
                    return Completed({"file_id": str(file_id)})
                return results.at_address(answers.found(task, "content", "url"))
            case state:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the outputs are enough
        """Start the download; V1 is asked for a new address each time, which works for about nine hours."""
        if "file_id" in outputs:
            path = f"/v1/files/retrieve?file_id={results.segment(outputs['file_id'])}"
            file = (await self._http.request("GET", path, timeout=30)).object()
            found = results.at_address(answers.found(file, "file", "download_url"))
            if isinstance(found, Failed):
                raise found.error
            outputs = found.outputs
        return await results.download(self._http, outputs)

    async def check(self) -> str:
        """List one task of V2."""
        await self._http.request("GET", "/v2/query/video_generation?page_num=1&page_size=1", timeout=30)
        return "the list of tasks can be read"

    async def _task(self, handle: Handle) -> tuple[Any, Any, Any]:
        """The task, and the code and the message of its failure."""
        id_ = results.segment(handle["id"])
        if handle["version"] == "v2":
            answer = await self._http.request("GET", f"/v2/query/video_generation/{id_}", timeout=30)
            task = answer.object().get("task")
            return task, answers.found(task, "error", "code"), answers.found(task, "error", "message")
        answer = await self._http.request("GET", f"/v1/query/video_generation?task_id={id_}", timeout=30)
        task = answer.object()
        code, message = (answers.found(task, "base_resp", name) for name in ("status_code", "status_msg"))
        return (task, None, None) if str(code) == _FINE else (task, code, message)


def _refused(response: Response) -> ProviderError | None:
    """The error of an answer; a V1 task that failed carries its reason where errors stand, and is none."""
    error = _ERRORS(response)
    verdict = (
        error is not None and response.status == 200 and answers.found(response.json(), "status") == "Fail"
    )
    return None if verdict else error


async def _v1(request: VideoRequest) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "prompt": request.prompt,
        "resolution": request_fields.tier(request, _V1_RESOLUTIONS),
    }
    files = content_roles.frames_or_references(request, _MOST_SUBJECTS)
    urls = await media_forms.addresses_or_data(files, _MAX_FILE, _MAX_TOGETHER)
    for item, url in zip(files, urls, strict=True):
        if item.role is MediaRole.REFERENCE:
            fields["subject_reference"] = [{"type": "character", "image": [url]}]
        else:
            fields[f"{item.role.value}_image"] = url
    return fields


async def _v2(request: VideoRequest) -> dict[str, Any]:
    content = await content_roles.content(request, _MOST, _MAX_FILE, _MAX_TOGETHER)
    fields = {"content": content, "resolution": request_fields.tier(request, _V2_RESOLUTIONS)}
    if not any(item.role is not MediaRole.REFERENCE for item in request.media):  # a frame has its own shape
        fields["ratio"] = request_fields.aspect_ratio(request, _RATIOS)
    return fields


def build(account: Account, http: HttpDoor) -> MiniMax:
    """The adapter for one account."""
    return MiniMax(account, http)
