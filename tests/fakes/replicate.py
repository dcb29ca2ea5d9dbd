"""Replicate's predictions."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.sizes import size_of
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

SECRET: Final = "whsec_" + base64.b64encode(b"conformance webhook secret").decode()
_STATES: Final = {
    "queued": "starting",
    "running": "processing",
    "completed": "succeeded",
    "completed_without_video": "succeeded",
    "cancelled": "canceled",
    "failed": "failed",
    "moderation": "failed",
    "out_of_memory": "failed",
    "unknown_state": "hibernating",
}
_REASONS: Final = {
    "failed": "Prediction interrupted; please retry (code: PA)",
    "moderation": "The input or output was flagged as sensitive. (E005)",
    "out_of_memory": "CUDA out of memory",
}


class Fake(FakeProvider):
    """Replicate's predictions, and its files."""

    mount = "replicate"
    base_path = "/v1"
    routes = (
        ("POST", "/v1/models/{owner}/{name}/predictions", "create"),
        ("POST", "/v1/predictions", "create"),
        ("GET", "/v1/predictions/{id}", "poll"),
        ("POST", "/v1/predictions/{id}/cancel", "cancel"),
        ("POST", "/v1/files", "upload"),
        ("GET", "/v1/webhooks/default/secret", "secret"),
        ("GET", "/v1/predictions", "list"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, "Too many requests", "Request was throttled. Your rate limit resets in ~30s."),
        "server_error": (500, "Internal server error", "Something went wrong."),
        "auth": (401, "Unauthenticated", "You did not pass a valid authentication token"),
        "funds": (402, "Insufficient credit", "You have insufficient credit to run this model."),
        "invalid": (422, "Invalid input", "- input.duration: must be one of 4, 6, 8"),
        "retired": (404, "Not found", "The requested resource could not be found."),
        "lost": (404, "Not found", "The requested resource could not be found."),
    }
    example: ClassVar[Mapping[str, Any]] = {"model": "google/veo-3.1", "size": "1280x720"}
    cannot: ClassVar[Mapping[str, str]] = {
        "rate_limited_bare": "its message says how long to wait",
        "business_error": "it tells errors by the HTTP status",
        "concurrency": "it has no cap on running predictions",
        "moderation_submit": "it moderates after the create",
        "expired": "it has no such state",
        "completed_with_error": "succeeded carries no error",
    }
    signs_callbacks = "body"

    def asked(self, request: Request) -> Asked:
        """Read a create of a Veo model."""
        wanted = request.fields["input"]
        if not isinstance(wanted["duration"], int):
            raise TypeError("input.duration must be an integer")
        return Asked(
            prompt=wanted["prompt"],
            size=size_of(wanted["resolution"], wanted["aspect_ratio"]),
            seconds=wanted["duration"],
            callback_url=request.fields.get("webhook"),
        )

    async def created(self, request: Request, job: Job) -> Answer:
        """The prediction."""
        return as_json(self._prediction(request, job, "starting"), 201)

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The prediction."""
        prediction = self._prediction(request, job, _STATES[state]) | {"error": _REASONS.get(state)}
        if state == "running":
            prediction["logs"] = " 10%|#         | 1/10\n 40%|####      | 4/10\n"
        if state == "completed":
            prediction |= {"output": f"{request.foreign}/{job.id}", "metrics": {"predict_time": 12.5}}
        return as_json(prediction)

    async def cancelled(self, request: Request, job: Job) -> Answer:
        """The prediction."""
        return await self.shown(request, job, "cancelled")

    def error(self, status: int, code: Any, message: str) -> Answer:
        """A problem as in RFC 7807."""
        return as_json({"title": code, "detail": message, "status": status}, status)

    async def upload(self, request: Request) -> Answer:
        """Keep a file."""
        (part,) = request.files["content"]
        digest = part.summary()["sha256"]
        file = {
            "id": digest[:26],
            "name": part.filename,
            "content_type": part.content_type,
            "size": len(part.data),
            "etag": digest,
            "checksums": {"sha256": digest},
            "metadata": {},
            "created_at": "2026-11-22T00:00:00.000Z",
            "expires_at": "2026-11-23T00:00:00.000Z",
            "urls": {"get": f"{request.origin}/replicate/v1/files/{digest}"},
        }
        return as_json(file, 201)

    async def secret(self, request: Request) -> Answer:
        """The secret that signs the callbacks."""
        return as_json({"key": SECRET})

    async def list(self, request: Request) -> Answer:
        """The latest predictions."""
        jobs = [job for job in self.state.jobs.values() if job.mount == self.mount]
        return as_json(
            {"next": None, "results": [self._prediction(request, job, "starting") for job in jobs]}
        )

    def callback(self, job: Job) -> tuple[Mapping[str, str], bytes]:
        """A signed prediction."""
        body = json.dumps({"id": job.id, "status": "succeeded"}).encode()
        stamp = str(int(time.time()))
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        content = f"{job.id}.{stamp}.".encode() + body
        signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        return {
            "webhook-id": job.id,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{signature}",
        }, body

    def _prediction(self, request: Request, job: Job, status: str) -> dict[str, Any]:
        own = f"{request.origin}/replicate/v1/predictions/{job.id}"
        owner, _, name = job.path.partition("/models/")[2].removesuffix("/predictions").partition("/")
        return {
            "id": job.id,
            "model": f"{owner}/{name}",
            "version": job.fields.get("version", "hidden"),
            "input": job.fields["input"],
            "output": None,
            "error": None,
            "logs": "",
            "status": status,
            "created_at": "2026-11-22T00:00:00.000Z",
            "data_removed": False,
            "urls": {"get": own, "cancel": f"{own}/cancel"},
        }
