"""SiliconFlow's video jobs: a status that is asked for by POST, and no codes to speak of."""

import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_SIZES: Final = {"1280x720", "720x1280", "960x960"}
_STATES: Final = {
    "queued": "InQueue",
    "running": "InProgress",
    "completed": "Succeed",
    "completed_without_video": "Succeed",
    "failed": "Failed",
    "moderation": "Failed",
    "unknown_state": "Hibernating",
}
_REASONS: Final = {"failed": "inference failed", "moderation": "The prompt contains sensitive words"}
_SILENT: Final = "its sheet names no answer for it"


class Fake(FakeProvider):
    """Wan 2.2 at SiliconFlow; every video has about 5 seconds."""

    mount = "siliconflow"
    base_path = "/v1"
    routes = (
        ("POST", "/v1/video/submit", "create"),
        ("POST", "/v1/video/status", "poll"),
        ("GET", "/v1/models", "models"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, None, "Request was rejected due to rate limiting."),
        "server_error": (503, 50505, "Model service overloaded. Please try again later."),
        "auth": (401, None, "Invalid token"),
        "invalid": (400, 20015, "A parameter is invalid."),
        "lost": (404, None, "404 page not found"),
    }
    example: ClassVar[Mapping[str, Any]] = {
        "model": "Wan-AI/Wan2.2-T2V-A14B",
        "size": "1280x720",
        "seconds": 5,
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "concurrency": _SILENT,
        "funds": _SILENT,
        "retired": _SILENT,
        "moderation_submit": "it moderates after the create",
        "cancelled": "it has no such state",
        "expired": "it has no such state",
        "out_of_memory": "it has no word for it",
        "completed_with_error": "Succeed carries no error",
    }

    def asked(self, request: Request) -> Asked:
        """Read a create; image models need an image."""
        body = request.fields
        if body["image_size"] not in _SIZES:
            raise ValueError("image_size is none of the three")
        if ("I2V" in body["model"]) != ("image" in body):
            raise ValueError("image")
        if not body.get("image", "https://").startswith(("https://", "data:image/")):
            raise ValueError("image must be an address or a data URI")
        return Asked(prompt=body["prompt"], size=body["image_size"], seconds=5, model=body["model"])

    def id_in(self, request: Request) -> str:
        """The job that a poll names in its body."""
        return str(request.fields["requestId"])

    async def created(self, request: Request, job: Job) -> Answer:
        """The id of the request."""
        return as_json({"requestId": job.id})

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The status, with the place in the queue and the videos."""
        videos = [{"url": f"{request.foreign}/{job.id}"}] if state == "completed" else []
        results = {"videos": videos, "timings": {"inference": time.time() - job.created}, "seed": 1}
        position = 3 if state == "queued" else 0
        status = {"status": _STATES[state], "reason": _REASONS.get(state, ""), "position": position}
        return as_json({**status, "results": results})

    def error(self, status: int, code: Any, message: str) -> Answer:
        """An object, or no more than a text."""
        if status in {401, 404}:
            return as_json(message, status)
        return as_json({"message": message, "data": None} | ({} if code is None else {"code": code}), status)

    async def models(self, request: Request) -> Answer:
        """The models."""
        return as_json({"object": "list", "data": [{"id": self.example["model"]}]})
