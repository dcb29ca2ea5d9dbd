"""Where servers depart from OpenAI's Videos API: a table of dialects, a request and a job in the words of one.

`local` is our own worker, `azure` Azure OpenAI, `comet` CometAPI's unified videos. Of `fastvideo` little is known; all
of it is unverified, as is `azure`, which has no live model any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from providers import answers, request_fields
from providers.answers import Errors, refused
from providers.contract import (
    Account,
    Completed,
    ErrorKind,
    Failed,
    MediaInput,
    MediaRole,
    Operation,
    ProviderError,
    Running,
    Status,
    VideoRequest,
)
from providers.error_table import ErrorTable
from providers.multipart import FormField, bracketed
from providers.state_table import StateTable

_PARTS: Final[Mapping[MediaRole, str]] = {
    MediaRole.FIRST_FRAME: "input_reference",
    MediaRole.LAST_FRAME: "last_frame",
    MediaRole.REFERENCE: "reference_images[]",
    MediaRole.CHARACTER: "characters[][video]",
    MediaRole.SOURCE: "video",
    MediaRole.EXTEND_FROM: "video",
}
_PICTURE: Final[Mapping[MediaRole, str]] = {MediaRole.FIRST_FRAME: "input_reference"}
_GENERATE: Final = (Operation.GENERATE,)
_NOT_SENT: Final = frozenset({"n"})  # the gateway makes n requests of it
_STATES: Final = StateTable(
    queued=("queued", "pending"),
    running=("in_progress", "processing", "running", "preprocessing"),
    completed=("completed", "succeeded"),
    failed={
        **dict.fromkeys(("failed", "error", "expired"), ErrorKind.PROVIDER_ERROR),
        **dict.fromkeys(("cancelled", "canceled"), ErrorKind.CANCELLED),
    },
)
_AZURE_ERRORS: Final = ErrorTable(
    code_at=("error.innererror.code", "error.code"),
    codes={"ResponsibleAIPolicyViolation": ErrorKind.MODERATION_BLOCKED},
    in_success=False,
)


@dataclass(frozen=True)
class Dialect:
    """One family of servers. The defaults are OpenAI's own API, from which its relatives take and to which they add.

    `format` is the body of a create without files (one with files is a form). `parameters` are our names to its fields;
    None hands on whatever the model takes. `frames`: the number of frames is said where the frame rate is known.
    `parts` are the files it takes. `create_seconds` bounds the create, which some answer only with the finished video.
    `poll_via`: one video is read by its id, or found in the list. `deletes`: a DELETE stops a job.
    """

    format: Literal["multipart", "json"] = "multipart"
    seconds: Literal["text", "number"] = "text"
    parameters: Mapping[str, str] | None = None
    frames: bool = False
    parts: Mapping[MediaRole, str] = field(default_factory=lambda: _PARTS)
    operations: tuple[Operation, ...] = tuple(Operation)
    create_path: str = "/videos"
    create_seconds: float = 60.0
    poll_via: Literal["id", "list"] = "id"
    deletes: bool = True
    states: StateTable = _STATES
    errors: Errors = refused
    auth: str | Mapping[str, str] = "bearer"

    def fields(self, request: VideoRequest, fps: Any = None) -> dict[str, Any]:
        """The request as flat fields; `fps` where the client names none. INVALID_REQUEST names what it cannot say."""
        request_fields.operation(request, *self.operations)
        fields: dict[str, Any] = {
            "model": request.model,
            "prompt": request.prompt,
            "seconds": self._seconds(request),
            "size": request.size,
            **self._parameters(request),
        }
        if self.frames and fps is not None:
            fields.setdefault("fps", fps)
        fields = request_fields.merged(fields, request.provider_options)
        if self.frames and isinstance(fields.get("fps"), int | float):
            fields.setdefault("num_frames", round(float(request.seconds) * fields["fps"]))
        return fields

    def form(self, fields: Mapping[str, Any], media: tuple[MediaInput, ...]) -> list[FormField]:
        """Fields and files as a form."""
        form: list[FormField] = [part for name, value in fields.items() for part in bracketed(name, value)]
        for item in media:
            if item.role is MediaRole.CHARACTER:
                form.append(("characters[][name]", item.name))
            form.append((self.parts[item.role], item))
        return form

    def status(self, video: Mapping[str, Any], poll_after: float | None = None) -> Status:
        """What a video object says of its job; `poll_after` in seconds. ProviderError UNKNOWN_STATE."""
        match self.states.read(video.get("status")):
            case ErrorKind() as kind:
                return Failed(_verdict(video, kind))
            case "completed":
                if video.get("error"):
                    return Failed(_verdict(video, ErrorKind.PROVIDER_ERROR))
                return Completed(_outputs(video), answers.reported_cost(video), answers.gpu_seconds(video))
            case state:
                return Running(answers.percent(video.get("progress")), state == "queued", poll_after)

    def _seconds(self, request: VideoRequest) -> str | int:
        if self.seconds == "number":
            return request_fields.whole_seconds(request)
        return format(request.seconds.normalize(), "f")

    def _parameters(self, request: VideoRequest) -> dict[str, Any]:
        for item in request.media:
            if item.role not in self.parts:
                request_fields.refuse(item.role.value, f"{request.model} takes no such file")
        if self.parameters is not None:
            return request_fields.parameters(request, self.parameters)
        return {name: value for name, value in request.parameters.items() if name not in _NOT_SENT}


def _outputs(video: Mapping[str, Any]) -> dict[str, Any]:
    """The address of the file where the upstream names one; else its content path is enough."""
    named = (video.get(name) for name in ("url", "video_url"))
    url = next(
        (url for url in named if isinstance(url, str) and url.startswith(("http://", "https://"))), None
    )
    return {} if url is None else {"url": url}


def _verdict(video: Mapping[str, Any], usual: ErrorKind) -> ProviderError:
    message, code = answers.described(video.get("error"))
    reason = video.get("failure_reason")
    code = code or (reason if isinstance(reason, str) else None)
    kind = answers.kind_of(code) or usual
    state = str(video.get("status")).lower()
    return ProviderError(
        kind, answers.clean(message) or f"the upstream reports: {state}", upstream_code=code or state
    )


DIALECTS: Final[Mapping[str, Dialect]] = {
    "openai": Dialect(),
    "local": Dialect(),
    "azure": Dialect(
        parameters={},
        parts=_PICTURE,
        operations=(Operation.GENERATE, Operation.REMIX),
        errors=_AZURE_ERRORS,
        auth={"header": "api-key"},
    ),
    "comet": Dialect(parameters={}, parts=_PICTURE, operations=_GENERATE, deletes=False),
    "fastvideo": Dialect(
        format="json",
        parameters={},
        parts={},
        operations=_GENERATE,
        create_path="/videos/generations",
        create_seconds=900.0,
        deletes=False,
    ),
    "sglang": Dialect(
        format="json",
        seconds="number",
        parameters={"seed": "seed", "negative_prompt": "negative_prompt", "fps": "fps"},
        frames=True,
        parts=_PICTURE,
        operations=_GENERATE,
        poll_via="list",
        deletes=False,
    ),
    "vllm_omni": Dialect(
        parameters={
            "seed": "seed",
            "negative_prompt": "negative_prompt",
            "fps": "fps",
            "audio": "generate_sound",
        },
        frames=True,
        parts=_PICTURE,
        operations=_GENERATE,
    ),
}


def dialect_of(account: Account) -> Dialect:
    """The dialect that the account's options name, OpenAI's without one. ValueError for an unknown name."""
    name = account.options.get("dialect", "openai")
    if name not in DIALECTS:
        known = ", ".join(sorted(DIALECTS))
        raise ValueError(f"upstream '{account.name}': options.dialect is '{name}'; it can be {known}")
    return DIALECTS[name]
