"""Alibaba Model Studio (DashScope): tasks of Wan, HappyHorse and resold models, in two spellings of their inputs.

Wan up to 2.6 names each file by a field of its own, everything later lists them in `media`. Options of the account:
workspace. Unverified, as third parties tell it: the inputs of HappyHorse (its watermark is on where none is asked
for), an edit without a length, IPInfringementSuspect. A continued clip is not offered: what its length counts is not
documented.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers import answers, content_roles, media_forms, request_fields, results, sizes
from providers.contract import (
    Account,
    Content,
    ErrorKind,
    Failed,
    Handle,
    MediaInput,
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

PROVIDER: Final = "dashscope"

_MAX_FILE: Final = 20 * 1024 * 1024 * 3 // 4  # the limits count the encoded text
_MAX_TOGETHER: Final = 62 * 1024 * 1024 * 3 // 4  # 64 MiB with all the rest of the request
_OLD: Final = re.compile(r"wan2\.[0-6]-|wanx")
_FROM_TEXT_OR_REFERENCES: Final = re.compile(r"-[tr]2v")
_MOST: Final = {"image": 10, "video": 5, "audio": 5}
_EDIT_FILES: Final = {MediaRole.SOURCE: 1, MediaRole.REFERENCE: 5}
_RESOLUTIONS: Final = {"480p": "480P", "720p": "720P", "1080p": "1080P"}
_RATIOS: Final = ("16:9", "9:16", "1:1", "4:3", "3:4")
_PARAMETERS: Final = {"seed": "seed", "audio": "audio", "negative_prompt": "negative_prompt"}
_STATES: Final = StateTable(
    queued=("PENDING",),
    running=("RUNNING", "SUSPENDED"),
    completed=("SUCCEEDED",),
    failed={
        "FAILED": ErrorKind.PROVIDER_ERROR,
        "CANCELED": ErrorKind.CANCELLED,
        "UNKNOWN": ErrorKind.JOB_LOST,
    },
)
_ERRORS: Final = ErrorTable(
    code_at=("code",),
    message_at=("message",),
    codes={
        r"DataInspectionFailed(\..*)?|.*\.InappropriateContent|IPInfringementSuspect": ErrorKind.MODERATION_BLOCKED,
        r"Throttling(\..*)?": ErrorKind.RATE_LIMITED,
        "InvalidApiKey": ErrorKind.PROVIDER_AUTH,
        "Arrearage": ErrorKind.PROVIDER_FUNDS,
        r"Model\.AccessDenied": ErrorKind.MODEL_RETIRED,
        r"InvalidURL(\..*)?": ErrorKind.INPUT_MEDIA,
        r"InvalidParameter(\..*)?": ErrorKind.INVALID_REQUEST,
    },
)


class DashScope:
    """One account in one region; key, base_url and models belong to the same one."""

    poll_interval: ClassVar[float] = 5.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._http = http.account(account, errors=_ERRORS)
        workspace = account.options.get("workspace")
        self._workspace = {"X-DashScope-WorkSpace": workspace} if workspace else {}

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the task: exactly one request. Raises ProviderError."""
        request_fields.operation(request, Operation.GENERATE, Operation.EDIT)
        parameters = request_fields.parameters(request, _PARAMETERS)
        words = {name: parameters.pop(name) for name in ("negative_prompt",) if name in parameters}
        body: dict[str, Any] = {
            "model": request.model,
            "input": {"prompt": request.prompt, **words, **await _files(request)},
            "parameters": {**_shape(request), **parameters},
        }
        body = request_fields.merged(body, request.provider_options)
        kind = "image2video" if "kf2v" in request.model else "video-generation"
        headers = {"X-DashScope-Async": "enable", **self._workspace}
        with answers.creating():
            answer = await self._http.request(
                "POST", f"/services/aigc/{kind}/video-synthesis", json=body, headers=headers
            )
        return Submitted({"id": answers.required(answer.object(), "output", "task_id")})

    async def poll(self, handle: Handle) -> Status:
        """Read the task; a failed one says why in HTTP 200, and so does one that is not there."""
        task = await self._task(handle)
        match _STATES.read(answers.found(task, "task_status")):
            case ErrorKind.JOB_LOST:
                raise ProviderError(ErrorKind.JOB_LOST, "the upstream does not know the task, or no longer")
            case ErrorKind() as kind:
                return Failed(
                    _ERRORS.verdict(answers.found(task, "code"), answers.found(task, "message"), kind)
                )
            case "completed":
                return results.at_address(answers.found(task, "video_url"))
            case state:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download; the address works for a day."""
        return await results.download(self._http, outputs)

    async def cancel(self, handle: Handle) -> None:
        """Stop a task that is still waiting. A running one is refused, and goes on."""
        try:
            await self._http.request("POST", f"{_path(handle)}/cancel", headers=self._workspace, timeout=30)
        except ProviderError as error:
            ended = error.upstream_code == "UnsupportedOperation" and isinstance(
                _STATES.read(answers.found(await self._task(handle), "task_status")), ErrorKind
            )
            if not ended and error.kind is not ErrorKind.JOB_LOST:
                raise

    async def check(self) -> str:
        """List one task."""
        await self._http.request("GET", "/tasks?page_no=1&page_size=1", headers=self._workspace, timeout=30)
        return "the list of tasks can be read"

    async def _task(self, handle: Handle) -> Any:
        answer = await self._http.request("GET", _path(handle), headers=self._workspace, timeout=30)
        return answer.object().get("output")


def _shape(request: VideoRequest) -> dict[str, Any]:
    """Size and length in the words of the model, without a watermark where the model is Alibaba's own."""
    fields: dict[str, Any] = {} if "/" in request.model else {"watermark": False}
    if request.operation is Operation.EDIT:  # as long as its source, in the smallest resolution that holds it
        return fields | {"resolution": "720P" if min(sizes.pixels(request.size)) <= 720 else "1080P"}
    fields["duration"] = request_fields.whole_seconds(request)
    in_pixels = _OLD.match(request.model) and _FROM_TEXT_OR_REFERENCES.search(request.model)
    if in_pixels or request.wire.get("size"):
        return fields | {"size": sizes.joined(request.size, "*")}
    fields["resolution"] = request_fields.tier(request, _RESOLUTIONS)
    if "-i2v" not in request.model and "kf2v" not in request.model and request.wire.get("aspect_ratio", True):
        fields["ratio"] = request_fields.aspect_ratio(request, _RATIOS)
    return fields


async def _files(request: VideoRequest) -> dict[str, Any]:
    if request.operation is Operation.EDIT:
        files = request_fields.media(request, _EDIT_FILES)
        if not files[MediaRole.SOURCE]:
            raise ProviderError(ErrorKind.INPUT_MEDIA, "the source video is missing")
        ordered = [*files[MediaRole.SOURCE], *files[MediaRole.REFERENCE]]
    else:
        ordered = content_roles.frames_or_references(request, _MOST)
    urls = await media_forms.addresses_or_data(ordered, _MAX_FILE, _MAX_TOGETHER)
    named = list(zip(ordered, urls, strict=True))
    if _OLD.match(request.model):
        return _fields_of_their_own(request.model, named)
    return {"media": [{"type": _type(item), "url": url} for item, url in named]} if named else {}


def _type(item: MediaInput) -> str:
    return "video" if item.role is MediaRole.SOURCE else content_roles.role_of(item)


def _fields_of_their_own(model: str, named: list[tuple[MediaInput, str]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for item, url in named:
        if item.role is MediaRole.REFERENCE:
            fields.setdefault("reference_urls", []).append(url)
        elif "kf2v" in model:
            fields[f"{item.role.value}_url"] = url
        elif item.role is MediaRole.FIRST_FRAME:
            fields["img_url"] = url
        else:
            request_fields.refuse(item.role.value, f"{model} takes no such file")
    return fields


def _path(handle: Handle) -> str:
    return f"/tasks/{results.segment(handle['id'])}"


def build(account: Account, http: HttpDoor) -> DashScope:
    """The adapter for one account."""
    return DashScope(account, http)
