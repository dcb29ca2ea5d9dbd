"""Tencent Cloud VOD's AIGC tasks: models of several vendors behind one schema. A model is ModelName/ModelVersion.

Schema and codes: the SDK of VOD 2018-07-17. The credential is "SECRET_ID:SECRET_KEY[:TOKEN]"; options of the account:
sub_app_id (needed by accounts opened since the end of 2023), region. A task is marked with our attempt (SessionId),
which Tencent takes once in three days, and is found again by it; that the list holds AIGC tasks is unverified.
Not offered: VCLM, TokenHub, the editing of videos.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, Final

from providers import answers, media_forms, request_fields, results
from providers.auth import tencent_tc3
from providers.contract import (
    Account,
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

PROVIDER: Final = "tencent"

_VERSION: Final = "2018-07-17"
_MAX_FILES: Final = 7 * 1000 * 1000  # of all together, before they are base64
_MAX_PAGES: Final = 100
_RESOLUTIONS: Final = ("540p", "720p", "768p", "1080p", "2k", "4k")
_RATIOS: Final = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")
_USAGES: Final = {
    MediaRole.FIRST_FRAME: "FirstFrame",
    MediaRole.LAST_FRAME: "LastFrame",
    MediaRole.REFERENCE: "Reference",
}
_FILES: Final = {MediaRole.FIRST_FRAME: 1, MediaRole.LAST_FRAME: 1, MediaRole.REFERENCE: 9}
_PARAMETERS: Final[Mapping[str, request_fields.Write]] = {
    "seed": "Seed",
    "negative_prompt": "NegativePrompt",
    "audio": lambda on: {"OutputConfig": {"AudioGeneration": "Enabled" if on else "Disabled"}},
}
_STATES: Final = StateTable(queued=("WAITING",), running=("PROCESSING",), completed=("FINISH",), failed={})
_COMMON: Final = {
    r"InvalidParameter\.VoilationContent|(FailedOperation\.)?(Content)?ModerationFailed": ErrorKind.MODERATION_BLOCKED,
    r"InvalidParameter\.MediaFormat|InvalidParameterValue\.(MediaUrl|ImageDecodeError)": ErrorKind.INPUT_MEDIA,
}
_INVALID: Final = r"(InvalidParameter(Value)?|MissingParameter|Un(known|supported).*)(\..*)?"
_ERRORS: Final = ErrorTable(
    code_at=("Response.Error.Code",),
    message_at=("Response.Error.Message",),
    codes={
        **_COMMON,
        r"InvalidParameterValue\.SessionId": ErrorKind.PROVIDER_ERROR,  # taken before: the lookup finds it
        r"InvalidParameterValue\.TaskId|ResourceNotFound": ErrorKind.JOB_LOST,
        r"(AuthFailure|UnauthorizedOperation|ResourceNotFound)(\..*)?": ErrorKind.PROVIDER_AUTH,
        r"FailedOperation\.(InvalidAccount|InvalidVodUser|NoPrivileges)": ErrorKind.PROVIDER_AUTH,
        r"RequestLimitExceeded\.JobNumExceed": ErrorKind.CONCURRENCY_LIMITED,
        r"RequestLimitExceeded(\..*)?": ErrorKind.RATE_LIMITED,
        r"InternalError(\..*)?|ResourceInsufficient": ErrorKind.PROVIDER_UNAVAILABLE,
        _INVALID: ErrorKind.INVALID_REQUEST,
    },
)
_REASONS: Final = ErrorTable(
    codes={
        **_COMMON,
        "RequestLimitExceeded|ResourceInsufficient|InternalError|FailedOperation": ErrorKind.PROVIDER_UNAVAILABLE,
        "OperationCanceled": ErrorKind.CANCELLED,
        _INVALID: ErrorKind.INVALID_REQUEST,
    }
)


class Tencent:
    """One application of one account."""

    poll_interval: ClassVar[float] = 5.0
    submit_safety: SubmitSafety = "lookup"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._http = http.account(account, authenticate=tencent_tc3(account, service="vod"), errors=_ERRORS)
        self._region = str(account.options.get("region", "ap-guangzhou"))
        sub_app_id = account.options.get("sub_app_id")
        self._application = {} if sub_app_id in {None, ""} else {"SubAppId": int(str(sub_app_id))}

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the task: exactly one request. Raises ProviderError."""
        request_fields.operation(request, Operation.GENERATE)
        name, _, version = request.model.partition("/")
        if not version:
            request_fields.refuse("model", f"'{request.model}' must be ModelName/ModelVersion")
        body: dict[str, Any] = {
            "ModelName": name,
            "ModelVersion": version,
            "Prompt": request.prompt,
            "SessionId": request.attempt_id,
            "OutputConfig": {"StorageMode": "Temporary", **_output(request, name)},
        }
        if files := await _files(request):
            body["FileInfos"] = files
        body = request_fields.merged(body, request_fields.parameters(request, _PARAMETERS))
        body = request_fields.merged(body, request.provider_options)
        return self._submitted(await self._call("CreateAigcVideoTask", body, timeout=60))

    async def poll(self, handle: Handle) -> Status:
        """Read the task. FINISH is not success: the task's own codes tell."""
        answer = await self._call("DescribeTaskDetail", handle)
        task = answer.get("AigcVideoTask") or {}
        state = _STATES.read(task.get("Status") or answer.get("Status"))
        if state != "completed":
            return Running(answers.percent(task.get("Progress")), state == "queued")
        if code := task.get("ErrCodeExt") or task.get("ErrCode"):
            return Failed(_REASONS.verdict(code, task.get("Message")))
        return results.at_address(answers.found(task, "Output", "FileInfos", 0, "FileUrl"))

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download; the address works for 7 days."""
        return await results.download(self._http, outputs)

    async def lookup(self, request: VideoRequest) -> Submitted | None:
        """The task of this attempt, among those of the account, the latest first."""
        async for task in self._tasks():
            if answers.found(task, "SessionId") == request.attempt_id:
                return self._submitted(task)
        return None

    async def check(self) -> str:
        """List a task, which costs nothing."""
        await self._call("DescribeTasks", {"Limit": 1})
        return "the key may list the tasks of the application"

    async def _tasks(self) -> AsyncIterator[Any]:
        query: dict[str, Any] = {"Limit": 100, "Sort": {"Field": "CreateTime", "Order": "Desc"}}
        for _ in range(_MAX_PAGES):
            answer = await self._call("DescribeTasks", query)
            for task in answer.get("TaskSet") or []:
                yield task
            if not answer.get("ScrollToken"):
                return
            query["ScrollToken"] = answer["ScrollToken"]
        raise ProviderError(
            ErrorKind.PROVIDER_ERROR, "the upstream lists too many tasks to find one among them"
        )

    async def _call(self, action: str, body: Mapping[str, Any], timeout: float = 30) -> dict[str, Any]:  # noqa: ASYNC109 - handed on
        headers = {"X-TC-Action": action, "X-TC-Version": _VERSION, "X-TC-Region": self._region}
        sent = {**self._application, **body}
        answer = await self._http.request("POST", "/", json=sent, headers=headers, timeout=timeout)
        found = answer.object().get("Response")
        return found if isinstance(found, dict) else {}

    def _submitted(self, answer: Any) -> Submitted:
        """The handle is the query that finds the task."""
        return Submitted({"TaskId": answers.required(answer, "TaskId"), **self._application})


def _output(request: VideoRequest, name: str) -> dict[str, Any]:
    """Length and shape; a first frame has its own."""
    resolution = request_fields.tier(request, _RESOLUTIONS)
    output = {
        "Duration": request_fields.seconds(request),
        "Resolution": resolution if name == "PixVerse" else resolution.upper(),
    }
    framed = any(item.role is MediaRole.FIRST_FRAME for item in request.media)
    if not framed and request.wire.get("aspect_ratio", True):
        output["AspectRatio"] = request_fields.aspect_ratio(request, _RATIOS)
    return output


async def _files(request: VideoRequest) -> list[dict[str, str]]:
    files = request_fields.media(request, _FILES)
    if files[MediaRole.LAST_FRAME] and not files[MediaRole.FIRST_FRAME]:
        request_fields.refuse("last_frame", f"{request.model} takes it only with a first frame")
    items = [item for role in _USAGES for item in files[role]]
    texts = await media_forms.addresses_or_data(items, _MAX_FILES, _MAX_FILES)
    return [
        {"Category": "Image", "Usage": _USAGES[item.role], **_form(text)}
        for item, text in zip(items, texts, strict=True)
    ]


def _form(text: str) -> dict[str, str]:
    if text.startswith("https://"):
        return {"Type": "Url", "Url": text}
    return {"Type": "Base64", "Base64": text.partition(",")[2]}  # without the prefix of a data URI


def build(account: Account, http: HttpDoor) -> Tencent:
    """The adapter for one account."""
    return Tencent(account, http)
