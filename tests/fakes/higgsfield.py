"""Higgsfield's requests: a queue like fal's, with moderation as a state of its own."""

import json
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.sizes import size_of
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_STATES: Final = {
    "queued": "queued",
    "running": "in_progress",
    "completed": "completed",
    "completed_without_video": "completed",
    "failed": "failed",
    "moderation": "nsfw",
    "cancelled": "canceled",
    "unknown_state": "hibernating",
}


class Fake(FakeProvider):
    """Higgsfield's API."""

    mount = "higgsfield"
    routes = (
        ("GET", "/requests/{id}/status", "poll"),
        ("POST", "/requests/{id}/cancel", "cancel"),
        ("POST", "/files/generate-upload-url", "upload"),
        ("PUT", "/uploads/{name}", "put"),
        ("POST", "/{model*}", "create"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "server_error": (500, None, "Internal Server Error"),
        "auth": (401, None, "Invalid credentials"),
        "funds": (403, None, "Not enough credits"),
        "invalid": (422, None, "Field required"),
        "retired": (404, None, "Model not found"),
        "lost": (404, None, "Request not found"),
        "concurrency": (400, None, "Maximum number of concurrent requests (4) has been reached"),
        "rate_limited": (429, None, "Too many requests"),
        "started": (400, None, "The request cannot be canceled"),
    }
    credential = "conformance-key-id:conformance-key-secret"
    credential_header = ("authorization", "Key ")
    example: ClassVar[Mapping[str, Any]] = {
        "model": "kling-video/v2.1/pro/text-to-video",
        "resolution": "720p",
        "aspect_ratio": "16:9",
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "moderation_submit": "it moderates after the create",
        "expired": "it has no such state",
        "out_of_memory": "it has no word for it",
        "completed_with_error": "completed carries no error",
    }

    def authorized(self, request: Request, key: str) -> bool:
        """Check the key; an upload is signed by its address."""
        return request.method == "PUT" or super().authorized(request, key)

    async def upload(self, request: Request) -> Answer:
        """Name an address to put a file to, and the one that it will have."""
        name = request.fields["content_type"].replace("/", ".")
        return as_json(
            {
                "public_url": f"https://cdn.example/{name}",
                "upload_url": f"{request.foreign.removesuffix('foreign')}higgsfield/uploads/{name}",
                "upload_headers": {"Content-Type": request.fields["content_type"], "x-amz-tagging": "input"},
            }
        )

    async def put(self, request: Request) -> Answer:
        """Keep a file, if it comes with the headers that are signed."""
        signed = request.headers.get("x-amz-tagging") == "input" and "authorization" not in request.headers
        return Answer(200 if signed and request.body else 403)

    def asked(self, request: Request) -> Asked:
        """Read a create of a model with these arguments."""
        body = request.fields
        if not isinstance(body["duration"], int):
            raise TypeError("duration must be an integer")
        if not body.get("image_url", "http").startswith("http"):
            raise ValueError("image_url must be an address")
        return Asked(
            prompt=body["prompt"],
            size=size_of(body["resolution"], body["aspect_ratio"]),
            seconds=body["duration"],
            model=request.params["model"],
            callback_url=request.query.get("hf_webhook"),
        )

    async def created(self, request: Request, job: Job) -> Answer:
        """The id and the addresses."""
        return as_json(self._request(request, job, "queued"))

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The request; a finished one with its video."""
        shown = self._request(request, job, _STATES[state])
        if state == "completed":
            shown["video"] = {"url": f"{request.foreign}/{job.id}"}
        return as_json(shown)

    async def cancel(self, request: Request) -> Answer:
        """Take a request out of the queue; one that has begun cannot be stopped."""
        job = self.state.jobs.get(request.params["id"])
        if job is not None and job.state(time.time()) != "queued":
            return self.error_of("started")
        return await super().cancel(request)

    async def cancelled(self, request: Request, job: Job) -> Answer:
        """Nothing but the status."""
        return Answer(202)

    def error(self, status: int, code: Any, message: str) -> Answer:
        """A text, or a list for what does not validate."""
        detail = [{"loc": ["body"], "msg": message, "type": "missing"}] if status == 422 else message
        return as_json({"detail": detail}, status)

    def callback(self, job: Job) -> tuple[Mapping[str, str], bytes]:
        """The status, unsigned."""
        return {}, json.dumps({"request_id": job.id, "status": "completed"}).encode()

    def _request(self, request: Request, job: Job, status: str) -> dict[str, Any]:
        base = f"{request.origin}/higgsfield/requests/{job.id}"
        return {
            "status": status,
            "request_id": job.id,
            "status_url": f"{base}/status",
            "cancel_url": f"{base}/cancel",
        }
