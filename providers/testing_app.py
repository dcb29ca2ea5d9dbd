"""The fake upstream itself: OpenAI's Videos API under /v1, with every fault that `FAULTS` names.

Beside it, for the tests: GET /__requests, GET /__stats, POST /__config, POST /__faults, POST /__reset.
Documented choices: character clips are uploaded with the create as parts `characters[][name]` and
`characters[][video]`; `client_reference` is echoed and searchable when `lookup` is on.
"""

import asyncio
import contextlib
import http.client
import json
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable
from fractions import Fraction
from typing import Any, Final
from urllib.parse import urlsplit

from providers import testing_media
from providers.testing_http import (
    Answer,
    Receive,
    Request,
    Scope,
    Send,
    as_error,
    as_json,
    read_request,
    send_answer,
)
from providers.testing_jobs import FakeState, Job, faults_in, new_id

HTML_502: Final = Answer(
    502,
    b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
    {"content-type": "text/html"},
)
_PICTURES: Final = {"thumbnail": ("WEBP", "image/webp"), "spritesheet": ("JPEG", "image/jpeg")}

Handler = Callable[[Request], Awaitable[Answer]]


class FakeApp:
    """The ASGI application."""

    def __init__(self) -> None:
        self.state = FakeState()
        self._drawing = asyncio.Semaphore(1)
        self._callbacks: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        try:
            request = await read_request(scope, receive)
        except ValueError as error:
            body = json.dumps({"error": {"message": str(error), "code": "bad_body"}}).encode()
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body", "body": body})
            return
        try:
            answer = await self._answer(request)
        except Exception:
            traceback.print_exc()
            answer = as_error(500, "fake_broken", "The fake upstream itself is broken.")
        await send_answer(answer, request, send)

    async def _answer(self, request: Request) -> Answer:
        if request.path.startswith("/__"):
            return self._control(request)
        self._record(request)
        if request.path.startswith("/foreign/"):
            return await self._foreign(request)
        key = self.state.config.api_key
        if key is not None and request.headers.get("authorization") != f"Bearer {key}":
            return as_error(401, "invalid_api_key", "Incorrect API key provided.")
        parts = request.path.removeprefix("/v1/").split("/")
        if parts[0] == "models":
            return as_json({"object": "list", "data": [{"id": "fake-1", "object": "model", "created": 0}]})
        if parts[0] != "videos":
            return as_error(404, "not_found", "No such path.")
        return await self._videos(request, parts[1:])

    async def _videos(self, request: Request, parts: list[str]) -> Answer:
        match request.method, parts:
            case "POST", []:
                return await self._create(request, "generate")
            case "POST", ["edits"]:
                return await self._create(request, "edit")
            case "POST", ["extensions"]:
                return await self._create(request, "extend")
            case "POST", [_, "remix"]:
                return await self._create(request, "remix", parts[0])
            case "GET", []:
                return self._list(request)
            case ("POST", ["characters"]) | ("GET", ["characters", _]):
                return self._character(request, parts)
            case ("GET", [_]) | ("GET", [_, "content"]) | ("DELETE", [_]):
                return await self._of_job(request, parts)
        return as_error(405, "method_not_allowed", "Not supported.")

    # create

    async def _create(self, request: Request, operation: str, source: str | None = None) -> Answer:
        self.state.calls["create"] += 1
        await self._sleep(self.state.config.submit_delay_ms)
        prompt, key = request.text("prompt"), request.headers.get("idempotency-key", "")
        known = self.state.known(key) if key else None
        if known is not None:
            return self._video(request, known)
        faults = faults_in(prompt)
        refused = self.state.strike("refuse", faults, prompt)
        if refused is not None:
            return self._refusal(refused)
        try:
            job = await self._job(request, operation, source)
        except (ValueError, LookupError) as error:
            return as_error(400, "invalid_value", str(error))
        known = self.state.known(key) if key else None
        if known is not None:  # its twin was faster
            return self._video(request, known)
        self.state.add(job)
        if job.callback_url:
            self._background(self._call_back(job))
        answer = self._video(request, job)
        await self._sleep(self.state.config.answer_delay_ms)
        return self._spoilt(self.state.strike("answer", faults, prompt), answer)

    def _refusal(self, fault: str) -> Answer:
        wait = f"{self.state.config.retry_after_seconds:g}"
        answers = {
            "rate_limited": as_error(429, "rate_limit_exceeded", "Too many requests.", retry_after=wait),
            "rate_limited_bare": as_error(429, "rate_limit_exceeded", "Too many requests."),
            "html_502": HTML_502,
            "server_error": as_error(500, "server_error", "The server had an error."),
            "drop_before": Answer(dropped=True),
            "auth": as_error(401, "invalid_api_key", "Incorrect API key provided."),
            "funds": as_error(402, "insufficient_quota", "You exceeded your current quota."),
            "invalid": as_error(400, "invalid_value", "Invalid value for 'prompt'."),
            "moderation_submit": as_error(400, "moderation_blocked", "Your request was blocked."),
        }
        return answers[fault]

    def _spoilt(self, fault: str | None, answer: Answer) -> Answer:
        match fault:
            case "ambiguous_drop":
                return Answer(dropped=True)
            case "ambiguous_504":
                return Answer(504, b"<html>Gateway Timeout</html>", {"content-type": "text/html"})
            case "truncated_json":
                return Answer(200, answer.body[: len(answer.body) // 2], answer.headers)
            case "no_id":
                return as_json({"object": "video", "status": "queued"})
        return answer

    async def _job(self, request: Request, operation: str, source: str | None) -> Job:
        fields = request.fields
        named = fields.get("video[id]") or (fields.get("video") or {}).get("id")
        size, length, source = await self._source(request, source or named)
        seconds = Fraction(request.text("seconds") or "4")
        if operation == "extend":
            seconds += length
        elif "seconds" not in fields and length:
            seconds = length
        now = time.time()
        faults = faults_in(request.text("prompt"))
        return Job(
            id=new_id("video"),
            operation=operation,
            model=request.text("model", "fake-1"),
            prompt=request.text("prompt"),
            size=request.text("size") or size or "720x1280",
            seconds=seconds,
            created=now,
            ready=now + self.state.run_time(faults),
            key=request.headers.get("idempotency-key", ""),
            source=source,
            reference=fields.get("client_reference"),
            callback_url=fields.get("callback_url"),
            faults=faults,
        )

    async def _source(self, request: Request, source: str | None) -> tuple[str, Fraction, str | None]:
        """Size, length and id of the source video, from its id or its bytes."""
        if source is not None:
            job = self.state.jobs.get(str(source))
            if job is None:
                raise LookupError(f"Video {source} not found.")
            return job.size, job.seconds, job.id
        if "video" in request.files:
            width, height, length = await self._draw(testing_media.facts, request.files["video"][0].data)
            return f"{width}x{height}", length, None
        return "", Fraction(0), None

    # read, delete

    async def _of_job(self, request: Request, parts: list[str]) -> Answer:
        job = self.state.jobs.get(parts[0])
        if job is None:
            return as_error(404, "video_not_found", f"Video {parts[0]} not found.")
        if request.method == "DELETE":
            self.state.calls["delete"] += 1
            self.state.remove(job)
            return as_json({"id": job.id, "object": "video.deleted", "deleted": True})
        return await (self._content(request, job) if len(parts) > 1 else self._poll(request, job))

    async def _poll(self, request: Request, job: Job) -> Answer:
        self.state.calls["poll"] += 1
        answer = self._video(request, job)
        match self.state.strike("poll", job.faults, job.id):
            case "unknown_state":
                return as_json({**json.loads(answer.body), "status": "hibernating"})
            case "truncated_poll":
                return Answer(200, answer.body[: len(answer.body) // 2], answer.headers)
            case "html_502_poll":
                return HTML_502
            case "rate_limited_poll":
                return self._refusal("rate_limited")
            case "drop_poll":
                return Answer(dropped=True)
            case "lost":
                self.state.remove(job)
                return as_error(404, "video_not_found", f"Video {job.id} not found.")
        return answer

    async def _content(self, request: Request, job: Job) -> Answer:
        self.state.calls["content"] += 1
        if job.status(time.time()) != "completed" or job.error(time.time()):
            return as_error(400, "video_not_ready", "Video is not ready yet.")
        variant = request.query.get("variant", "video")
        if variant in _PICTURES:
            kind, media_type = _PICTURES[variant]
            return Answer(200, testing_media.picture(kind), {"content-type": media_type})
        fault = self.state.strike("content", job.faults, job.id)
        foreign = f"http://localhost:{request.headers['host'].rpartition(':')[2]}/foreign/{job.id}"
        instead = {
            "completed_without_video": Answer(200, b"", {"content-type": "video/mp4"}),
            "content_html": Answer(200, HTML_502.body, HTML_502.headers),
            "content_502": HTML_502,
            "foreign_url": Answer(302, headers={"location": foreign}),
            "expired_foreign_url": Answer(302, headers={"location": f"{foreign}?expired=1"}),
            "private_redirect": Answer(302, headers={"location": "http://169.254.169.254/latest/meta-data/"}),
            "expired_url": as_error(403, "content_expired", "The download address has expired."),
        }
        return instead.get(str(fault)) or await self._file(job, fault)

    async def _file(self, job: Job, fault: str | None) -> Answer:
        width, height = (int(part) for part in job.size.split("x"))
        base = await self._draw(testing_media.mp4, width, height, job.seconds)
        answer = Answer(
            200,
            testing_media.own_bytes(base, job.id, self.state.config.content_bytes),
            {"content-type": "video/mp4"},
        )
        if fault == "slow_body":
            answer.pause = self.state.config.body_pause_ms / 1000
        if fault == "truncated_content":
            answer.cut = len(answer.body) // 2
        return answer

    async def _foreign(self, request: Request) -> Answer:
        job = self.state.jobs.get(request.path.rpartition("/")[2])
        if job is None or request.query.get("expired"):
            return Answer(
                403, b"<Error><Code>AccessDenied</Code></Error>", {"content-type": "application/xml"}
            )
        return await self._file(job, None)

    def _list(self, request: Request) -> Answer:
        jobs = sorted(self.state.jobs.values(), key=lambda job: job.created, reverse=True)
        if request.query.get("order") == "asc":
            jobs.reverse()
        ids = [job.id for job in jobs]
        start = ids.index(request.query["after"]) + 1 if request.query.get("after") in ids else 0
        limit = int(request.query.get("limit", "20"))
        page = [self.state.shown(job, "") for job in jobs[start : start + limit]]
        ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
        return as_json({"object": "list", "data": page, **ends, "has_more": start + limit < len(jobs)})

    def _character(self, request: Request, parts: list[str]) -> Answer:
        if request.method == "POST":
            if not request.text("name") or "video" not in request.files:
                return as_error(400, "missing", "name and video are required.")
            character = {"id": new_id("char"), "object": "character", "name": request.text("name")}
            self.state.characters[character["id"]] = {**character, "created_at": int(time.time())}
            return as_json(self.state.characters[character["id"]])
        found = self.state.characters.get(parts[-1])
        return as_json(found) if found else as_error(404, "not_found", "No such character.")

    def _video(self, request: Request, job: Job) -> Answer:
        port = request.headers["host"].rpartition(":")[2]
        answer = as_json(self.state.shown(job, f"http://localhost:{port}"))
        if self.state.config.poll_after_ms is not None:
            answer.headers["openai-poll-after-ms"] = str(self.state.config.poll_after_ms)
        return answer

    # for the tests

    def _control(self, request: Request) -> Answer:
        match request.path:
            case "/__requests":
                method = request.query.get("method")
                return as_json([r for r in self.state.requests if method in {None, r["method"]}])
            case "/__config":
                self.state.config = self.state.config.updated(request.fields)
            case "/__faults":
                self.state.order(request.fields["name"], int(request.fields.get("times", 1)))
            case "/__reset":
                self.state = FakeState()
        return as_json(self.state.stats())

    def _record(self, request: Request) -> None:
        self.state.requests.append(
            {
                "method": request.method,
                "path": request.path,
                "query": request.query,
                "headers": request.headers,
                "fields": request.fields,
                "files": {name: [part.summary() for part in parts] for name, parts in request.files.items()},
                "at": time.time(),
            },
        )

    async def _draw(self, make: Callable[..., Any], *args: Any) -> Any:
        async with self._drawing:
            return await asyncio.to_thread(make, *args)

    async def _sleep(self, between_ms: tuple[int, int]) -> None:
        await asyncio.sleep(secrets.SystemRandom().uniform(*between_ms) / 1000)

    def _background(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._callbacks.add(task)
        task.add_done_callback(self._callbacks.discard)

    async def _call_back(self, job: Job) -> None:
        await asyncio.sleep(max(0, job.ready - time.time()))
        for _ in range(2 if "duplicate_callback" in job.faults else 1):
            self.state.calls["callback"] += 1
            await asyncio.to_thread(_post, str(job.callback_url), {"id": job.id})


def _post(url: str, value: Any) -> None:
    parts = urlsplit(url)
    if parts.scheme != "http":
        return
    connection = http.client.HTTPConnection(parts.netloc, timeout=5)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
        connection.request("POST", path, json.dumps(value), {"Content-Type": "application/json"})
        connection.getresponse().read()
