"""What every fake provider shares: the way of a create, a poll and a download, with every fault in it.

A provider's own fake declares its `routes`, its words for states and errors, and nothing else.
"""

import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from providers import testing_media
from providers.contract import ErrorKind
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import FakeState, Job, faults_in

if TYPE_CHECKING:
    from providers.testing_server import FakeServer

HTML_502: Final = Answer(
    502,
    b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
    {"content-type": "text/html"},
)
EXPIRED: Final = Answer(403, b"<Error><Code>AccessDenied</Code></Error>", {"content-type": "application/xml"})
PRIVATE_REDIRECT: Final = Answer(302, headers={"location": "http://169.254.169.254/latest/meta-data/"})


@dataclass(frozen=True)
class Asked:
    """What a create asks for: `size` is "WIDTHxHEIGHT", `seconds` the length of the file."""

    prompt: str
    size: str = "1280x720"
    seconds: str | float = "4"
    model: str = ""
    callback_url: str | None = None
    key: str = ""
    reference: str | None = None


class FakeProvider:
    """One provider's API. Subclasses declare; an instance serves the paths under its mount.

    States given to `shown`: queued, running, completed, completed_without_video, unknown_state, and the ends
    failed, moderation, out_of_memory, cancelled, expired, completed_with_error.
    """

    mount: ClassVar[str]
    """First part of its paths: the provider's name."""
    routes: ClassVar[Sequence[tuple[str, str, str]]]
    """(method, path with {name} for one segment or {name*} for any rest, name of the method that serves it)."""
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]]
    """Fault: (HTTP status, the provider's code, message), as `error` shapes them. "lost" is a job that is not there."""

    # for the conformance suite
    types: ClassVar[tuple[str, ...]] = ()
    """Upstream types that this fake stands for; none means its mount."""
    credential: ClassVar[str] = "sk-conformance-credential"
    credential_header: ClassVar[tuple[str, str]] = ("authorization", "Bearer ")
    """The header that proves the account, and what stands before the credential."""
    base_path: ClassVar[str] = ""
    """What an operator's base_url has after the host, behind the mount: "/v1"."""
    options: ClassVar[Mapping[str, Any]] = {}
    """Options of the account."""
    example: ClassVar[Mapping[str, Any]] = {}
    """Fields of a VideoRequest that one of its models takes: model, seconds, size."""
    cannot: ClassVar[Mapping[str, str]] = {}
    """Faults and abilities the provider's API cannot express, with the reason; the suite skips them."""
    kinds: ClassVar[Mapping[str, ErrorKind]] = {}
    """Faults that this provider's words turn into another class than the suite expects by itself."""
    inline: ClassVar[bool] = False
    """Whether the file lies inside the poll's answer: then the faults of the content strike there."""
    signs_callbacks: ClassVar[Literal["no", "head", "body"]] = "no"
    """What the proof that `callback` carries covers: then the adapter must check it."""
    honours_keys: ClassVar[bool] = False
    """Whether a create sent again with the same key makes no second job."""

    server: "FakeServer"

    @property
    def state(self) -> FakeState:
        """What the server remembers."""
        return self.server.state

    async def __call__(self, request: Request, path: str) -> Answer:
        """Serve one request; `path` is what follows the mount."""
        key = self.state.config.api_key
        if key is not None and not self.authorized(request, key):
            return self.error_of("auth")
        for method, pattern, name in self._patterns:
            found = pattern.fullmatch(path)
            if found and method == request.method:
                request.params = found.groupdict()
                answer: Answer = await getattr(self, name)(request)
                return answer
        return self.missing(request)

    # declared by the provider

    def asked(self, request: Request) -> Asked:
        """Read a create. KeyError or ValueError is answered as the fault "invalid"."""
        raise NotImplementedError

    async def created(self, request: Request, job: Job) -> Answer:
        """Answer a create that was taken."""
        raise NotImplementedError

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """Answer a poll."""
        raise NotImplementedError

    def error(self, status: int, code: Any, message: str) -> Answer:
        """Shape an error."""
        raise NotImplementedError

    def without_id(self) -> Answer:
        """Answer a create without saying which job it made."""
        return as_json({})

    def authorized(self, request: Request, key: str) -> bool:
        """Whether the request proves to come from the account with this credential."""
        header, prefix = self.credential_header
        return request.headers.get(header) == prefix + key

    def job_id(self) -> str:
        """Make an id."""
        return str(uuid.uuid4())

    def id_in(self, request: Request) -> str:
        """Which job a poll or a cancel speaks of."""
        return request.params["id"]

    def missing(self, request: Request) -> Answer:  # noqa: ARG002 - some providers answer by the request
        """Answer a poll or cancel of a job that is not there."""
        return self.error_of("lost")

    async def cancelled(self, request: Request, job: Job) -> Answer:  # noqa: ARG002 - as above
        """Answer a cancel."""
        return Answer(204)

    def callback(self, job: Job) -> tuple[Mapping[str, str], bytes]:
        """Headers and body that tell the job's callback address of its end."""
        return {}, json.dumps({"id": job.id}).encode()

    # shared

    async def create(self, request: Request) -> Answer:
        """Take a create, or play the fault its prompt names."""
        self.state.calls["create"] += 1
        await self.server.sleep(self.state.config.submit_delay_ms)
        try:
            asked = self.asked(request)
        except (ValueError, LookupError, TypeError) as error:
            return self.error_of("invalid", f"{type(error).__name__}: {error}")
        known = self.state.known(asked.key) if asked.key else None
        if known is not None:
            return await self.created(request, known)
        faults = faults_in(asked.prompt)
        refused = self.state.strike("refuse", faults, asked.prompt)
        if refused is not None:
            return self.refusal(refused)
        try:
            job = await self.job(request, asked)
        except (ValueError, LookupError) as error:
            return self.error_of("invalid", str(error))
        known = self.state.known(asked.key) if asked.key else None
        if known is not None:  # its twin was faster
            return await self.created(request, known)
        self.state.add(job)
        if job.callback_url:
            self.server.call_back(job)
        answer = await self.created(request, job)
        await self.server.sleep(self.state.config.answer_delay_ms)
        return self._spoilt(self.state.strike("answer", faults, asked.prompt), answer)

    async def job(self, request: Request, asked: Asked) -> Job:
        """The job that a create asks for."""
        now, faults = time.time(), faults_in(asked.prompt)
        return Job(
            id=self.job_id(),
            operation="generate",
            model=asked.model,
            prompt=asked.prompt,
            size=asked.size,
            seconds=Fraction(str(asked.seconds)),
            created=now,
            ready=now + self.state.run_time(faults),
            key=asked.key,
            reference=asked.reference,
            callback_url=asked.callback_url,
            faults=faults,
            mount=self.mount,
            path=request.path,
            fields=request.fields,
        )

    async def poll(self, request: Request) -> Answer:
        """Show a job, or play a fault."""
        self.state.calls["poll"] += 1
        job = self.state.jobs.get(self.id_in(request))
        if job is None or job.mount != self.mount:
            return self.missing(request)
        match self.state.strike("poll", job.faults, job.id):
            case "unknown_state":
                return await self.shown(request, job, "unknown_state")
            case "truncated_poll":
                answer = await self.shown(request, job, self.state_of(job))
                return Answer(200, answer.body[: len(answer.body) // 2], answer.headers)
            case "html_502_poll":
                return HTML_502
            case "rate_limited_poll":
                return self.refusal("rate_limited")
            case "drop_poll":
                return Answer(dropped=True)
            case "lost":
                self.state.remove(job)
                return self.missing(request)
        state = self.state_of(job)
        answer = await self.shown(request, job, state)
        return self._of_content(job, answer) if self.inline and state == "completed" else answer

    async def cancel(self, request: Request) -> Answer:
        """Stop a job."""
        self.state.calls["delete"] += 1
        job = self.state.jobs.get(self.id_in(request))
        if job is None or job.mount != self.mount:
            return self.missing(request)
        self.state.cancel(job)
        return await self.cancelled(request, job)

    def state_of(self, job: Job) -> str:
        """The state of a job, as given to `shown`."""
        state = job.state(time.time())
        empty = state == "completed" and "completed_without_video" in job.faults
        return "completed_without_video" if empty else state

    def refusal(self, fault: str) -> Answer:
        """Refuse a create as the fault says."""
        if fault == "html_502":
            return HTML_502
        if fault == "drop_before":
            return Answer(dropped=True)
        if fault in {"rate_limited", "rate_limited_bare", "business_error"}:
            answer = self.error_of("rate_limited")
            if fault == "rate_limited":
                answer.headers["retry-after"] = f"{self.state.config.retry_after_seconds:g}"
            return answer if fault != "business_error" else Answer(200, answer.body, answer.headers)
        return self.error_of(fault)

    def error_of(self, fault: str, message: str = "") -> Answer:
        """The error that the provider has for a fault. KeyError where `errors` does not say."""
        status, code, usual = self.errors[fault]
        return self.error(status, code, message or usual)

    async def foreign(self, job: Job) -> Answer:
        """Serve the file at its foreign address, or play a fault."""
        self.state.calls["content"] += 1
        return await self.content(job, self.state.strike("content", job.faults, job.id))

    async def content(self, job: Job, fault: str | None) -> Answer:
        """The file, or what a fault puts in its place."""
        instead = {
            "completed_without_video": Answer(200, b"", {"content-type": "video/mp4"}),
            "content_html": Answer(200, HTML_502.body, HTML_502.headers),
            "content_502": HTML_502,
            "expired_foreign_url": EXPIRED,
            "expired_url": EXPIRED,
            "private_redirect": PRIVATE_REDIRECT,
        }
        answer = instead.get(str(fault))
        if answer is None:
            answer = Answer(200, await self.file(job), {"content-type": "video/mp4"})
        return self.damaged(fault, answer)

    def damaged(self, fault: str | None, answer: Answer) -> Answer:
        """Send an answer slowly or cut it off, where the fault says so."""
        if fault == "slow_body":
            answer.pause = self.state.config.body_pause_ms / 1000
        if fault == "truncated_content":
            answer.cut = len(answer.body) // 2
        return answer

    async def file(self, job: Job) -> bytes:
        """A real MP4 of the job's size and length."""
        width, height = (int(part) for part in job.size.split("x"))
        base = await self.server.draw(testing_media.mp4, width, height, job.seconds)
        return testing_media.own_bytes(base, job.id, self.state.config.content_bytes)

    def _of_content(self, job: Job, answer: Answer) -> Answer:
        fault = self.state.strike("content", job.faults, job.id)
        if fault == "content_502":
            return HTML_502
        return (
            Answer(200, HTML_502.body, HTML_502.headers)
            if fault == "content_html"
            else self.damaged(fault, answer)
        )

    @cached_property
    def _patterns(self) -> list[tuple[str, re.Pattern[str], str]]:
        return [(method, _pattern(path), name) for method, path, name in self.routes]

    def _spoilt(self, fault: str | None, answer: Answer) -> Answer:
        match fault:
            case "ambiguous_drop":
                return Answer(dropped=True)
            case "ambiguous_504":
                return Answer(504, b"<html>Gateway Timeout</html>", {"content-type": "text/html"})
            case "truncated_json":
                return Answer(200, answer.body[: len(answer.body) // 2], answer.headers)
            case "no_id":
                return self.without_id()
        return answer


def _pattern(path: str) -> re.Pattern[str]:
    """A route's path as a pattern: {name} is one segment, {name*} any rest."""
    parts = re.split(r"(\{\w+\*?\})", path.removeprefix("/"))
    return re.compile("".join(_part(part) for part in parts))


def _part(part: str) -> str:
    if not part.startswith("{"):
        return re.escape(part)
    name = part.strip("{}")
    return f"(?P<{name.rstrip('*')}>.+)" if name.endswith("*") else f"(?P<{name}>[^/:]+)"
