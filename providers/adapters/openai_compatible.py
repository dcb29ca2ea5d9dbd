"""OpenAI's Videos API as an upstream: other gateways, model servers and, as dialect "local", our own worker.

Options of the account: dialect ("openai", "local"), submit_safety, format ("multipart", "json"),
client_reference (send our attempt id so that `lookup` finds it), callback_field (its name, if any).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final
from urllib.parse import quote

from providers import answers
from providers.contract import (
    Account,
    Completed,
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
from providers.http import HttpDoor
from providers.multipart import FormField, bracketed

PROVIDER: Final = "openai_compatible"

_QUEUED: Final = frozenset({"queued", "pending"})
_RUNNING: Final = frozenset({"in_progress", "processing", "running"})
_FAILED: Final = frozenset({"failed", "cancelled", "canceled", "expired"})
_PARTS: Final = {
    MediaRole.FIRST_FRAME: "input_reference",
    MediaRole.LAST_FRAME: "last_frame",
    MediaRole.REFERENCE: "reference_images[]",
    MediaRole.CHARACTER: "characters[][video]",
    MediaRole.SOURCE: "video",
    MediaRole.EXTEND_FROM: "video",
}
_LOOKUP_PAGES: Final = 20
_NOT_SENT: Final = frozenset({"n"})  # the gateway makes n requests of it


class OpenAICompatible:
    """One account at a server that speaks OpenAI's Videos API."""

    poll_interval: ClassVar[float] = 2.0
    default_safety: ClassVar[SubmitSafety] = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._http = http.account(account)
        self._options = account.options
        self.submit_safety: SubmitSafety = account.options.get("submit_safety", self.default_safety)
        self._references = self.submit_safety == "lookup" or bool(account.options.get("client_reference"))

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the job: exactly one request. Raises ProviderError."""
        path = self._path(request)
        fields = self._fields(request)
        headers = {"Idempotency-Key": request.idempotency_key}
        as_json = path.endswith("/remix") or self._options.get("format") == "json"
        plain = as_json and not request.media
        body: dict[str, Any] = {"json": fields} if plain else {"form": _form(fields, request.media)}
        try:
            answer = await self._http.request("POST", path, headers=headers, **body)
        except ProviderError as error:
            if error.kind is ErrorKind.JOB_LOST:  # a create has no job to lose
                error.kind = ErrorKind.PROVIDER_ERROR if request.source is None else ErrorKind.INPUT_MEDIA
            raise
        return Submitted({"id": _id(answer)}, answers.poll_after(answer.headers))

    async def lookup(self, request: VideoRequest) -> Submitted | None:
        """Look for our attempt id among the upstream's newest jobs. Not sure to be absent: ProviderError."""
        after = ""
        for _ in range(_LOOKUP_PAGES):
            page = (await self._http.request("GET", f"/videos?limit=100&order=desc{after}")).object()
            for video in page.get("data") or []:
                known = {video.get("client_reference"), (video.get("metadata") or {}).get("client_reference")}
                if request.attempt_id in known:
                    return Submitted({"id": str(video["id"])})
            if not page.get("has_more"):
                return None
            after = f"&after={quote(str(page.get('last_id')), safe='')}"
        raise ProviderError(ErrorKind.PROVIDER_UNAVAILABLE, "the upstream lists too many newer jobs")

    async def poll(self, handle: Handle) -> Status:
        """Read the job."""
        answer = await self._http.request("GET", _video_path(handle), timeout=30)
        video = answer.object()
        state = str(video.get("status")).lower()
        if state in _QUEUED or state in _RUNNING:
            return Running(
                answers.percent(video.get("progress")), state in _QUEUED, answers.poll_after(answer.headers)
            )
        if state in _FAILED or (state == "completed" and video.get("error")):
            return Failed(_verdict(video, state))
        if state == "completed":
            url = video.get("url")
            outputs = {"url": url} if isinstance(url, str) and url.startswith(("http://", "https://")) else {}
            return Completed(outputs, answers.reported_cost(video), answers.gpu_seconds(video))
        raise ProviderError(
            ErrorKind.UNKNOWN_STATE, f"the upstream reports the unknown state '{answers.clean(state)}'"
        )

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:
        """Start the download: from the address the upstream named, else from its content path."""
        where = outputs.get("url") or f"{_video_path(handle)}/content"
        try:
            content = await self._http.stream("GET", where)
        except ProviderError as error:
            expired = "expired" in f"{error.upstream_code} {error.message}".lower()
            if error.http_status == 410 or (error.http_status in {403, 404} and expired):
                error.kind = ErrorKind.CONTENT_EXPIRED
            raise
        return await answers.video_only(content)

    async def cancel(self, handle: Handle) -> None:
        """Delete the job, which stops it where it runs."""
        try:
            await self._http.request("DELETE", _video_path(handle), timeout=30)
        except ProviderError as error:
            if error.kind is not ErrorKind.JOB_LOST:
                raise

    def _path(self, request: VideoRequest) -> str:
        if request.operation is Operation.GENERATE:
            return "/videos"
        if request.operation is Operation.REMIX and request.source is not None:
            return f"{_video_path(request.source)}/remix"
        sources = {MediaRole.SOURCE, MediaRole.EXTEND_FROM}
        if request.source is None and not any(media.role in sources for media in request.media):
            raise ProviderError(ErrorKind.INPUT_MEDIA, "the source video is missing")
        return "/videos/extensions" if request.operation is Operation.EXTEND else "/videos/edits"

    def _fields(self, request: VideoRequest) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "model": request.model,
            "prompt": request.prompt,
            "seconds": format(request.seconds.normalize(), "f"),
            "size": request.size,
            **{name: value for name, value in request.parameters.items() if name not in _NOT_SENT},
            **request.provider_options,
        }
        if request.source is not None and request.operation is not Operation.REMIX:
            fields["video"] = {"id": request.source["id"]}
        if self._references:
            fields["client_reference"] = request.attempt_id
        if request.callback_url and self._options.get("callback_field"):
            fields[self._options["callback_field"]] = request.callback_url
        return fields


class LocalWorker(OpenAICompatible):
    """Our own worker: a create is keyed by the attempt id, so sending it again is safe."""

    poll_interval: ClassVar[float] = 0.25
    default_safety: ClassVar[SubmitSafety] = "key"

    def _fields(self, request: VideoRequest) -> dict[str, Any]:
        return {**super()._fields(request), "attempt_id": request.attempt_id}


def build(account: Account, http: HttpDoor) -> OpenAICompatible:
    """The adapter in the account's dialect."""
    return (LocalWorker if account.options.get("dialect") == "local" else OpenAICompatible)(account, http)


def _form(fields: Mapping[str, Any], media: tuple[MediaInput, ...]) -> list[FormField]:
    form: list[FormField] = [part for name, value in fields.items() for part in bracketed(name, value)]
    for item in media:
        if item.role is MediaRole.CHARACTER:
            form.append(("characters[][name]", item.name))
        form.append((_PARTS[item.role], item))
    return form


def _video_path(handle: Handle) -> str:
    return f"/videos/{quote(str(handle['id']), safe='')}"


def _id(answer: answers.Response) -> str:
    value = answer.object().get("id")
    if isinstance(value, str) and value:
        return value
    raise ProviderError(
        ErrorKind.PROVIDER_ERROR, "the upstream's answer to the create has no id", ambiguous=True
    )


def _verdict(video: Mapping[str, Any], state: str) -> ProviderError:
    message, code = answers.described(video.get("error"))
    kind = answers.kind_of(code) or answers.kind_of(state) or ErrorKind.PROVIDER_ERROR
    return ProviderError(
        kind, answers.clean(message) or f"the upstream reports: {state}", upstream_code=code or state
    )
