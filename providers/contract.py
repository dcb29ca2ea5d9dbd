"""What every provider adapter is and exchanges with the gateway: pure types, no I/O.

An adapter turns a `VideoRequest` into one upstream create, then answers `poll` until the upstream is done.
Optional abilities are declared by presence: an adapter that can cancel has `cancel` (see `Cancels`), one that
can find its own submission again has `lookup` (see `LooksUp`).
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

Handle = Mapping[str, Any]
"""Opaque JSON that finds the submission again at its upstream; stored with the attempt."""

SubmitSafety = Literal["key", "lookup", "none"]
"""What an ambiguous submit allows: send again with the same key, look it up first, or nothing."""


class Operation(StrEnum):
    """What a video is made from."""

    GENERATE = "generate"
    REMIX = "remix"
    EDIT = "edit"
    EXTEND = "extend"


class MediaRole(StrEnum):
    """What an input file is for."""

    FIRST_FRAME = "first_frame"
    LAST_FRAME = "last_frame"
    REFERENCE = "reference"
    CHARACTER = "character"
    SOURCE = "source"
    EXTEND_FROM = "extend_from"


@dataclass(frozen=True, slots=True)
class MediaInput:
    """One input file: sniffed media type, length in bytes, and a way to stream it (any number of times).

    `url` is a public address of the same bytes that ends, None where this server has no public URL.
    """

    role: MediaRole
    media_type: str
    size: int
    open: Callable[[], AsyncIterator[bytes]]
    name: str = ""
    url: str | None = None


@dataclass(frozen=True, slots=True)
class VideoRequest:
    """One submission, fully explicit: nothing is left for the upstream to guess.

    `seconds` is the billed length, for an extension the seconds added. `size` is "WIDTHxHEIGHT" in pixels.
    `idempotency_key` is stable over every resend of the same attempt. `parameters` holds the extension fields
    the client gave explicitly (seed, negative_prompt, fps, audio, ...), already checked against the model.
    `source` is the upstream handle of the source video where the model `needs_handle`. `resolution` and
    `aspect_ratio` say the size in the words of the model's catalogue row, None where it has none; `wire` is that
    row's spelling of fields: our word to the upstream's, False for one it does not have.
    """

    attempt_id: str
    idempotency_key: str
    operation: Operation
    model: str
    prompt: str
    seconds: Decimal
    size: str
    media: tuple[MediaInput, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    provider_options: Mapping[str, Any] = field(default_factory=dict)
    source: Handle | None = None
    callback_url: str | None = None
    resolution: str | None = None
    aspect_ratio: str | None = None
    wire: Mapping[str, str | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReportedCost:
    """What the upstream says it charged: `micros` in micro-USD, plus its own words for the record.

    An upstream that counts in another currency gives `amount` and `currency` ("CNY", or "credit" for its own
    credits) and no `micros`: the gateway converts.
    """

    micros: int | None
    raw: str = ""
    amount: Decimal | None = None
    currency: Literal["USD", "CNY", "credit"] = "USD"


@dataclass(frozen=True, slots=True)
class Submitted:
    """The upstream took the job. `poll_after` in seconds, None for the adapter's default rhythm."""

    handle: Handle
    poll_after: float | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """Not done yet. `progress` is 0..100 where the upstream tells, None where it does not."""

    progress: int | None = None
    queued: bool = False
    poll_after: float | None = None


@dataclass(frozen=True, slots=True)
class Completed:
    """Done; `open_content` may now be called with the same handle and these `outputs`.

    `gpu_seconds`: how long the device was busy with it, where the upstream tells.
    """

    outputs: Mapping[str, Any] = field(default_factory=dict)
    cost: ReportedCost | None = None
    gpu_seconds: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The upstream's own explicit verdict that there will be no video."""

    error: "ProviderError"


Status = Running | Completed | Failed


class ErrorKind(StrEnum):
    """Why an upstream call failed: decides resend, fail-over and what the client is told."""

    INVALID_REQUEST = "invalid_request"
    INPUT_MEDIA = "input_media"
    MODERATION_BLOCKED = "moderation_blocked"
    PROVIDER_AUTH = "provider_auth"
    PROVIDER_FUNDS = "provider_funds"
    RATE_LIMITED = "rate_limited"
    CONCURRENCY_LIMITED = "concurrency_limited"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    PROVIDER_ERROR = "provider_error"
    JOB_LOST = "job_lost"
    CONTENT_EXPIRED = "content_expired"
    CANCELLED = "cancelled"
    OUT_OF_MEMORY = "out_of_memory"
    MODEL_RETIRED = "model_retired"
    UNKNOWN_STATE = "unknown_state"


RETRYABLE = frozenset(
    {ErrorKind.RATE_LIMITED, ErrorKind.CONCURRENCY_LIMITED, ErrorKind.PROVIDER_UNAVAILABLE},
)
"""The same call to the same upstream may succeed later."""


class ProviderError(Exception):
    """Any failed upstream call.

    `ambiguous` says that the upstream may have acted although no clean answer came (read timeout, reset after
    the body was sent, 5xx, unreadable 2xx). Only a create cares. `retry_after` in seconds.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        ambiguous: bool = False,
        retry_after: float | None = None,
        http_status: int | None = None,
        upstream_code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.ambiguous = ambiguous
        self.retry_after = retry_after
        self.http_status = http_status
        self.upstream_code = upstream_code


@dataclass(frozen=True, slots=True)
class Content:
    """A video file on its way from the upstream: `length` in bytes where announced."""

    media_type: str
    length: int | None
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Account:
    """A configured upstream as its adapter sees it.

    `base_url` is trusted for exactly its scheme, host and port; `options` are the adapter's own settings
    (dialect, region). `credential` never leaves for another host: `providers.http` sees to that. `address`: the IP
    address to connect to instead of asking for that of the host; requests and TLS name the host all the same. `traced`:
    its requests carry our trace context.
    """

    name: str
    base_url: str
    credential: str = field(default="", repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    address: str | None = None
    traced: bool = False


class Adapter(Protocol):
    """The code for one provider, bound to one account. All times are seconds."""

    submit_safety: SubmitSafety
    poll_interval: ClassVar[float]

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the job upstream: exactly one create request. Raises ProviderError."""
        ...

    async def poll(self, handle: Handle) -> Status:
        """Read the job. Raises ProviderError for a failed read; an unknown state raises UNKNOWN_STATE."""
        ...

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:
        """Start the download of the result. CONTENT_EXPIRED means: poll again for a fresh address."""
        ...


@runtime_checkable
class Cancels(Protocol):
    """An adapter whose upstream can stop a running job."""

    async def cancel(self, handle: Handle) -> None:
        """Ask the upstream to stop; a job that is already gone is no error. Raises ProviderError."""
        ...


@runtime_checkable
class LooksUp(Protocol):
    """An adapter that can find a submission by our attempt id when the answer was lost."""

    async def lookup(self, request: VideoRequest) -> Submitted | None:
        """The submission if the upstream has it, None if it surely does not. Raises ProviderError."""
        ...


class CallbackRefused(Exception):
    """A callback does not come from the upstream. The message says why, without secrets."""


@runtime_checkable
class VerifiesCallbacks(Protocol):
    """An adapter whose upstream proves its callbacks."""

    async def verify_callback(self, handle: Handle, headers: Mapping[str, str], body: bytes) -> None:
        """Check a callback about this job, headers in lower case. Raises CallbackRefused, or ProviderError."""
        ...


ModelState = Literal["loaded", "present", "missing"]
"""Of a model's weights at a worker: in memory, on its disk, not there."""


@runtime_checkable
class ListsModels(Protocol):
    """An adapter whose server tells which models it can run now."""

    async def models(self) -> Mapping[str, ModelState]:
        """The state of each model by the server's name for it. Raises ProviderError."""
        ...


@runtime_checkable
class TellsWork(Protocol):
    """An adapter whose server tells what it runs on and what it does now."""

    async def work(self) -> Mapping[str, Any]:
        """The worker's own words: `status`, `measured`, `loaded`, `waiting`, `running`. Raises ProviderError."""
        ...


@runtime_checkable
class Probes(Protocol):
    """An adapter that can ask its upstream something that costs nothing."""

    async def check(self) -> str:
        """Prove that address and credential work; answers in a few words what was seen. Raises ProviderError."""
        ...
