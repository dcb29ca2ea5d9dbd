"""OpenRouter's video jobs."""

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.sizes import size_of
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job, new_id
from providers.testing_provider import Asked, FakeProvider

SECRET: Final = "conformance-signing-secret"
_STATES: Final = {
    "queued": "pending",
    "running": "in_progress",
    "completed_without_video": "completed",
    "moderation": "failed",
    "out_of_memory": "failed",
    "completed_with_error": "failed",
    "unknown_state": "hibernating",
}
_REASONS: Final = {
    "failed": "The provider could not generate the video",
    "moderation": "The request was rejected by the provider's content policy",
    "out_of_memory": "CUDA out of memory",
}
_RESOLUTIONS: Final = {"360p", "480p", "720p", "768p", "1080p", "1K", "2K", "4K"}
_RATIOS: Final = {"16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9", "9:21"}
_FRAME_FIELDS: Final = {"type", "image_url", "frame_type"}


class Fake(FakeProvider):
    """OpenRouter's /videos: relative polling addresses, a signed address and one that needs the key."""

    mount = "openrouter"
    base_path = "/api/v1"
    routes = (
        ("POST", "/api/v1/videos", "create"),
        ("GET", "/api/v1/videos/{id}", "poll"),
        ("GET", "/api/v1/videos/{id}/content", "stored"),
        ("GET", "/api/v1/key", "key"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, 429, "Rate limit exceeded"),
        "server_error": (500, 500, "Internal Server Error"),
        "auth": (401, 401, "User not found."),
        "funds": (402, 402, "Insufficient credits. Add more using https://openrouter.ai/credits"),
        "invalid": (400, 400, "Invalid request parameters"),
        "retired": (404, 404, "Model not found"),
        "lost": (404, 404, "Job not found"),
        "moderation_submit": (403, 403, "The input was flagged by moderation"),
    }
    options: ClassVar[Mapping[str, Any]] = {"webhook_secret": SECRET}
    example: ClassVar[Mapping[str, Any]] = {
        "model": "google/veo-3.1-fast",
        "resolution": "720p",
        "aspect_ratio": "16:9",
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "concurrency": "it documents no cap on running jobs",
        "completed_with_error": "completed carries no error",
    }
    signs_callbacks = "body"

    def job_id(self) -> str:
        """Make an id in the form of its generations."""
        return new_id("gen-vid-1790000000").replace("_", "-")

    def asked(self, request: Request) -> Asked:
        """Read a create, as strictly as the schema is."""
        body = request.fields
        if not isinstance(body["duration"], int):
            raise TypeError("duration must be an integer")
        if not str(body.get("callback_url", "https://")).startswith("https://"):
            raise ValueError("callback_url must be HTTPS")
        _check_parts(body)
        if "size" in body:
            size = body["size"]
        elif body["resolution"] in _RESOLUTIONS and body["aspect_ratio"] in _RATIOS:
            size = size_of(body["resolution"].lower(), body["aspect_ratio"])
        else:
            raise ValueError("unsupported resolution or aspect ratio")
        return Asked(
            prompt=body["prompt"],
            size=size,
            seconds=body["duration"],
            model=body["model"],
            callback_url=body.get("callback_url"),
        )

    async def created(self, request: Request, job: Job) -> Answer:
        """The id, and where to poll without a host."""
        return as_json({"id": job.id, "polling_url": f"/api/v1/videos/{job.id}", "status": "pending"}, 202)

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The job; both addresses of a finished one, unless the prompt wants no stored copy."""
        shown: dict[str, Any] = {
            "id": job.id,
            "polling_url": f"/api/v1/videos/{job.id}",
            "status": _STATES.get(state, state),
        }
        if state in _REASONS:
            shown["error"] = _REASONS[state]
        if state == "completed":
            own = f"{request.origin}/openrouter/api/v1/videos/{job.id}/content?index=0"
            shown |= {"unsigned_urls": [own], "usage": {"cost": 0.605, "is_byok": False}}
            if "no copy" not in job.prompt:
                shown |= {"urls": [f"{request.foreign}/{job.id}"], "expires_at": int(time.time()) + 3600}
        return as_json(shown)

    async def stored(self, request: Request) -> Answer:
        """The file, for the holder of the key."""
        job = self.state.jobs.get(request.params["id"])
        return self.error_of("lost") if job is None else await self.foreign(job)

    async def key(self, request: Request) -> Answer:
        """What the key may do."""
        return as_json({"data": {"label": "sk-or-v1-...", "limit": None, "usage": 12.5}})

    def error(self, status: int, code: Any, message: str) -> Answer:
        """An error with the HTTP status as its code."""
        return as_json({"error": {"code": code, "message": message, "metadata": None}}, status)

    def callback(self, job: Job) -> tuple[Mapping[str, str], bytes]:
        """A signed event."""
        event = {
            "type": "video.generation.completed",
            "created_at": "2026-11-22T10:00:00Z",
            "data": {"id": job.id, "status": "completed"},
        }
        body, stamp = json.dumps(event).encode(), str(int(time.time()))
        digest = hmac.new(SECRET.encode(), f"{stamp},".encode() + body, hashlib.sha256).hexdigest()
        return {"x-openrouter-signature": f"t={stamp},v1={digest}"}, body


def _check_parts(body: Mapping[str, Any]) -> None:
    for frame in body.get("frame_images", ()):
        if set(frame) != _FRAME_FIELDS or frame["frame_type"] not in {"first_frame", "last_frame"}:
            raise ValueError("frame_images: each needs type, image_url and frame_type")
    for part in body.get("input_references", ()):
        if not isinstance(part[part["type"]]["url"], str):
            raise TypeError("input_references: each needs an address")
