"""OpenAI's Videos API under /v1, with every fault that `FAULTS` names.

Documented choices: character clips are uploaded with the create as parts `characters[][name]` and
`characters[][video]`; `client_reference` is echoed and searchable when `lookup` is on.
"""

import time
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar, Final

from providers import testing_media
from providers.testing_http import Answer, Request, as_error, as_json
from providers.testing_jobs import Job, new_id
from providers.testing_provider import PRIVATE_REDIRECT, Asked, FakeProvider

_PICTURES: Final = {"thumbnail": ("WEBP", "image/webp"), "spritesheet": ("JPEG", "image/jpeg")}
_EXPIRED: Final = as_error(403, "content_expired", "The download address has expired.")


class OpenAIFake(FakeProvider):
    """OpenAI's Videos API."""

    mount = "v1"
    honours_keys = True
    types = ("openai_compatible", "local")
    routes = (
        ("GET", "/models", "models"),
        ("POST", "/videos", "create"),
        ("GET", "/videos", "list"),
        ("POST", "/videos/edits", "create"),
        ("POST", "/videos/extensions", "create"),
        ("POST", "/videos/characters", "make_character"),
        ("GET", "/videos/characters/{id}", "character"),
        ("POST", "/videos/{source}/remix", "create"),
        ("GET", "/videos/{id}", "poll"),
        ("DELETE", "/videos/{id}", "delete"),
        ("GET", "/videos/{id}/content", "own_content"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, "rate_limit_exceeded", "Too many requests."),
        "server_error": (500, "server_error", "The server had an error."),
        "auth": (401, "invalid_api_key", "Incorrect API key provided."),
        "funds": (402, "insufficient_quota", "You exceeded your current quota."),
        "invalid": (400, "invalid_value", "Invalid value for 'prompt'."),
        "moderation_submit": (400, "moderation_blocked", "Your request was blocked."),
        "concurrency": (429, "concurrency_limit_exceeded", "Too many videos at a time."),
        "retired": (404, "model_not_found", "The model does not exist."),
        "lost": (404, "video_not_found", "No such video."),
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "unknown_parameter": "servers differ in what they take, so everything is handed on",
    }

    def asked(self, request: Request) -> Asked:
        """Read the fields, which lie flat in the body."""
        return Asked(
            prompt=request.text("prompt"),
            size=request.text("size"),
            seconds=request.text("seconds") or "4",
            model=request.text("model", "fake-1"),
            callback_url=request.fields.get("callback_url"),
            key=request.headers.get("idempotency-key", ""),
            reference=request.fields.get("client_reference"),
        )

    async def job(self, request: Request, asked: Asked) -> Job:
        """A job with the size and the length of what it is made from."""
        job = await super().job(request, asked)
        job.operation = _operation(request)
        named = request.params.get("source") or request.fields.get("video[id]")
        named = named or (request.fields.get("video") or {}).get("id")
        size, length, job.source = await self._source(request, named)
        job.size = asked.size or size or "720x1280"
        if job.operation == "extend":
            job.seconds += length
        elif "seconds" not in request.fields and length:
            job.seconds = length
        return job

    async def _source(self, request: Request, source: str | None) -> tuple[str, Fraction, str | None]:
        """Size, length and id of the source video, from its id or its bytes."""
        if source is not None:
            job = self.state.jobs.get(str(source))
            if job is None:
                raise LookupError(f"Video {source} not found.")
            return job.size, job.seconds, job.id
        if "video" in request.files:
            width, height, length = await self.server.draw(
                testing_media.facts, request.files["video"][0].data
            )
            return f"{width}x{height}", length, None
        return "", Fraction(0), None

    def job_id(self) -> str:
        """An id like OpenAI's."""
        return new_id("video")

    async def created(self, request: Request, job: Job) -> Answer:
        """The video object."""
        return await self.shown(request, job, "")

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The video object, with OpenAI's header for the next poll."""
        video = self.state.shown(job, request.foreign)
        if state == "unknown_state":
            video["status"] = "hibernating"
        answer = as_json(video)
        if self.state.config.poll_after_ms is not None:
            answer.headers["openai-poll-after-ms"] = str(self.state.config.poll_after_ms)
        return answer

    def error(self, status: int, code: Any, message: str) -> Answer:
        """OpenAI's envelope."""
        return as_error(status, code, message)

    def without_id(self) -> Answer:
        """A video object that lacks it."""
        return as_json({"object": "video", "status": "queued"})

    async def models(self, request: Request) -> Answer:  # noqa: ARG002 - as every route
        """One model."""
        return as_json({"object": "list", "data": [{"id": "fake-1", "object": "model", "created": 0}]})

    async def delete(self, request: Request) -> Answer:
        """Delete a job, which stops it."""
        job = self.state.jobs.get(request.params["id"])
        if job is None:
            return self.missing(request)
        self.state.calls["delete"] += 1
        self.state.remove(job)
        return as_json({"id": job.id, "object": "video.deleted", "deleted": True})

    async def own_content(self, request: Request) -> Answer:
        """The file, or a redirect to its foreign address."""
        job = self.state.jobs.get(request.params["id"])
        if job is None:
            return self.missing(request)
        self.state.calls["content"] += 1
        if job.status(time.time()) != "completed" or job.error(time.time()):
            return as_error(400, "video_not_ready", "Video is not ready yet.")
        variant = request.query.get("variant", "video")
        if variant in _PICTURES:
            kind, media_type = _PICTURES[variant]
            return Answer(200, testing_media.picture(kind), {"content-type": media_type})
        fault = self.state.strike("content", job.faults, job.id)
        instead = {
            "foreign_url": Answer(302, headers={"location": f"{request.foreign}/{job.id}"}),
            "expired_foreign_url": Answer(302, headers={"location": f"{request.foreign}/{job.id}?expired=1"}),
            "private_redirect": PRIVATE_REDIRECT,
            "expired_url": _EXPIRED,
        }
        return instead.get(str(fault)) or await self.content(job, fault)

    async def foreign(self, job: Job) -> Answer:
        """The file: the fault was played where its address was asked for."""
        return await self.content(job, None)

    async def list(self, request: Request) -> Answer:
        """A page of jobs."""
        jobs = [job for job in self.state.jobs.values() if job.mount == self.mount]
        jobs.sort(key=lambda job: job.created, reverse=request.query.get("order") != "asc")
        ids = [job.id for job in jobs]
        start = ids.index(request.query["after"]) + 1 if request.query.get("after") in ids else 0
        limit = int(request.query.get("limit", "20"))
        page = [self.state.shown(job, "") for job in jobs[start : start + limit]]
        ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
        return as_json({"object": "list", "data": page, **ends, "has_more": start + limit < len(jobs)})

    async def make_character(self, request: Request) -> Answer:
        """Keep a character."""
        if not request.text("name") or "video" not in request.files:
            return as_error(400, "missing", "name and video are required.")
        character = {"id": new_id("char"), "object": "character", "name": request.text("name")}
        self.state.characters[character["id"]] = {**character, "created_at": int(time.time())}
        return as_json(self.state.characters[character["id"]])

    async def character(self, request: Request) -> Answer:
        """Show a character."""
        found = self.state.characters.get(request.params["id"])
        return as_json(found) if found else as_error(404, "not_found", "No such character.")


def _operation(request: Request) -> str:
    end = request.path.rpartition("/")[2]
    return {"edits": "edit", "extensions": "extend", "remix": "remix"}.get(end, "generate")
