"""The fake upstreams' server: finds the provider of a request, remembers requests and jobs, keeps the faults.

Every provider lies under its own mount: /v1/... is OpenAI's, /<provider>/... another's. Beside them, for the
tests: GET /__requests, GET /__stats, GET /__callback, POST /__config, POST /__faults, POST /__reset.
"""

import asyncio
import contextlib
import http.client
import json
import secrets
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

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
from providers.testing_jobs import FakeState, Job
from providers.testing_provider import FakeProvider

FOREIGN: Final = "foreign"


class FakeServer:
    """The ASGI application."""

    def __init__(self, providers: Iterable[FakeProvider]) -> None:
        self.state = FakeState()
        self.providers = {provider.mount: provider for provider in providers}
        for provider in self.providers.values():
            provider.server = self
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
        mount, _, rest = request.path.removeprefix("/").partition("/")
        if mount == FOREIGN:
            return await self._foreign(request)
        provider = self.providers.get(mount)
        return (
            as_error(404, "not_found", "No such path.") if provider is None else await provider(request, rest)
        )

    async def _foreign(self, request: Request) -> Answer:
        job = self.state.jobs.get(request.path.rpartition("/")[2])
        if job is None or request.query.get("expired"):
            return Answer(
                403, b"<Error><Code>AccessDenied</Code></Error>", {"content-type": "application/xml"}
            )
        return await self.providers[job.mount].foreign(job)

    # what providers share

    async def draw(self, make: Callable[..., Any], *args: Any) -> Any:
        """Make a video or picture, or read one, off the event loop and one at a time."""
        async with self._drawing:
            return await asyncio.to_thread(make, *args)

    async def sleep(self, between_ms: tuple[int, int]) -> None:
        """Wait for a time drawn from a pair of milliseconds."""
        await asyncio.sleep(secrets.SystemRandom().uniform(*between_ms) / 1000)

    def call_back(self, job: Job) -> None:
        """Tell the job's callback address when the job has ended."""
        task = asyncio.create_task(self._call_back(job))
        self._callbacks.add(task)
        task.add_done_callback(self._callbacks.discard)

    async def _call_back(self, job: Job) -> None:
        await asyncio.sleep(max(0, job.ready - time.time()))
        for _ in range(2 if "duplicate_callback" in job.faults else 1):
            self.state.calls["callback"] += 1
            headers, body = self.providers[job.mount].callback(job)
            await asyncio.to_thread(_post, str(job.callback_url), headers, body)

    # for the tests

    def _control(self, request: Request) -> Answer:
        match request.path:
            case "/__requests":
                method = request.query.get("method")
                return as_json([r for r in self.state.requests if method in {None, r["method"]}])
            case "/__callback":
                job = list(self.state.jobs.values())[-1]
                headers, body = self.providers[job.mount].callback(job)
                return as_json({"headers": headers, "body": body.decode()})
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


def _post(url: str, headers: Mapping[str, str], body: bytes) -> None:
    parts = urlsplit(url)
    if parts.scheme != "http":
        return
    connection = http.client.HTTPConnection(parts.netloc, timeout=5)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
        connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
        connection.getresponse().read()
