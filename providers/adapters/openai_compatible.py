"""OpenAI's Videos API as an upstream: other gateways, model servers and, as dialect "local", our own worker.

Options of the account: dialect (see `providers.openai_dialects`), submit_safety, format ("multipart", "json"), poll_via
("id", "list"), fps (frames per second where the client names none, for servers that count frames), client_reference
(send our attempt id so that `lookup` finds it), callback_field (its name, if any).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final, get_args
from urllib.parse import quote

from providers import answers
from providers.contract import (
    Account,
    Content,
    ErrorKind,
    Handle,
    MediaRole,
    ModelState,
    Operation,
    ProviderError,
    Status,
    SubmitSafety,
    Submitted,
    VideoRequest,
)
from providers.http import HttpDoor
from providers.openai_dialects import dialect_of

PROVIDER: Final = "openai_compatible"

_MODEL_STATES: Final[Mapping[str, ModelState]] = {state: state for state in get_args(ModelState)}
_LISTED_PAGES: Final = 20
_SOURCES: Final = frozenset({MediaRole.SOURCE, MediaRole.EXTEND_FROM})

Video = Mapping[str, Any]


class VideoServer:
    """One account at a server that speaks OpenAI's Videos API and cannot stop a job."""

    poll_interval: ClassVar[float] = 2.0
    default_safety: ClassVar[SubmitSafety] = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        self._dialect = dialect_of(account)
        self._options: Mapping[str, Any] = {
            "auth": self._dialect.auth,
            "format": self._dialect.format,
            "poll_via": self._dialect.poll_via,
            **account.options,
        }
        self._http = http.account(replace(account, options=self._options), errors=self._dialect.errors)
        self.submit_safety: SubmitSafety = account.options.get("submit_safety", self.default_safety)
        self._references = self.submit_safety == "lookup" or bool(account.options.get("client_reference"))

    async def submit(self, request: VideoRequest) -> Submitted:
        """Create the job: exactly one request. Raises ProviderError."""
        fields = self._fields(request)
        path = self._path(request)
        headers = {"Idempotency-Key": request.idempotency_key}
        as_json = path.endswith("/remix") or self._options["format"] == "json"
        plain = as_json and not request.media
        body: dict[str, Any] = (
            {"json": fields} if plain else {"form": self._dialect.form(fields, request.media)}
        )
        timeout = self._dialect.create_seconds
        try:
            answer = await self._http.request("POST", path, headers=headers, timeout=timeout, **body)
        except ProviderError as error:
            if error.kind is ErrorKind.JOB_LOST:  # a create has no job to lose
                error.kind = ErrorKind.PROVIDER_ERROR if request.source is None else ErrorKind.INPUT_MEDIA
            raise
        return Submitted({"id": answers.required(answer.object(), "id")}, answers.poll_after(answer.headers))

    async def lookup(self, request: VideoRequest) -> Submitted | None:
        """Look for our attempt id among the upstream's newest jobs. Not sure to be absent: ProviderError."""

        def ours(video: Video) -> bool:
            known = {video.get("client_reference"), (video.get("metadata") or {}).get("client_reference")}
            return request.attempt_id in known

        video = await self._listed(ours)
        return None if video is None else Submitted({"id": str(video["id"])})

    async def poll(self, handle: Handle) -> Status:
        """Read the job."""
        if self._options["poll_via"] == "list":
            listed = await self._listed(lambda video: video.get("id") == handle["id"])
            if listed is None:
                raise ProviderError(ErrorKind.JOB_LOST, "the upstream no longer lists the job")
            return self._dialect.status(listed)
        answer = await self._http.request("GET", _video_path(handle), timeout=30)
        return self._dialect.status(answer.object(), answers.poll_after(answer.headers))

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

    async def _listed(self, fits: Callable[[Video], bool]) -> Video | None:
        """The newest job that fits, None if there surely is none. Raises ProviderError."""
        after = ""
        for _ in range(_LISTED_PAGES):
            page = (
                await self._http.request("GET", f"/videos?limit=100&order=desc{after}", timeout=30)
            ).object()
            for video in page.get("data") or []:
                if fits(video):
                    return dict(video)
            if not page.get("has_more"):
                return None
            after = f"&after={quote(str(page.get('last_id')), safe='')}"
        raise ProviderError(ErrorKind.PROVIDER_UNAVAILABLE, "the upstream lists too many newer jobs")

    def _path(self, request: VideoRequest) -> str:
        if request.operation is Operation.GENERATE:
            return self._dialect.create_path
        if request.operation is Operation.REMIX and request.source is not None:
            return f"{_video_path(request.source)}/remix"
        if request.source is None and not any(media.role in _SOURCES for media in request.media):
            raise ProviderError(ErrorKind.INPUT_MEDIA, "the source video is missing")
        return "/videos/extensions" if request.operation is Operation.EXTEND else "/videos/edits"

    def _fields(self, request: VideoRequest) -> dict[str, Any]:
        fields = self._dialect.fields(request, self._options.get("fps"))
        if request.source is not None and request.operation is not Operation.REMIX:
            fields["video"] = {"id": request.source["id"]}
        if self._references:
            fields["client_reference"] = request.attempt_id
        if request.callback_url and self._options.get("callback_field"):
            fields[self._options["callback_field"]] = request.callback_url
        return fields


class OpenAICompatible(VideoServer):
    """A server that stops a job when it is deleted."""

    async def cancel(self, handle: Handle) -> None:
        """Delete the job, which stops it where it runs."""
        with answers.gone_is_fine():
            await self._http.request("DELETE", _video_path(handle), timeout=30)


class LocalWorker(OpenAICompatible):
    """Our own worker: a create is keyed by the attempt id, so sending it again is safe."""

    poll_interval: ClassVar[float] = 0.25
    default_safety: ClassVar[SubmitSafety] = "key"

    async def models(self) -> Mapping[str, ModelState]:
        """Each model that the worker serves, and whether its weights are there."""
        listed = (await self._http.request("GET", "/models", timeout=5)).object().get("data")
        rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
        return {str(row.get("id")): _MODEL_STATES.get(str(row.get("state")), "present") for row in rows}

    async def work(self) -> Mapping[str, Any]:
        """What the worker runs on and does now."""
        return (await self._http.request("GET", "/worker", timeout=3)).object()

    def _fields(self, request: VideoRequest) -> dict[str, Any]:
        return {**super()._fields(request), "attempt_id": request.attempt_id}


def build(account: Account, http: HttpDoor) -> VideoServer:
    """The adapter in the account's dialect."""
    if account.options.get("dialect") == "local":
        return LocalWorker(account, http)
    return (OpenAICompatible if dialect_of(account).deletes else VideoServer)(account, http)


def _video_path(handle: Handle) -> str:
    return f"/videos/{quote(str(handle['id']), safe='')}"
