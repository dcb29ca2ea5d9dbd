"""AI/ML API: one schema for all models, and errors of two shapes."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.sizes import size_of
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_FIELDS: Final = frozenset(
    {
        "model", "prompt", "image_url", "last_image_url", "tail_image_url", "image_urls", "video_urls", "audio_urls",
        "aspect_ratio", "resolution", "duration", "generate_audio", "negative_prompt", "cfg_scale", "seed", "watermark",
    }
)  # fmt: skip
_STATES: Final = {
    "queued": "queued",
    "running": "generating",
    "failed": "error",
    "moderation": "error",
    "unknown_state": "hibernating",
}
_REASONS: Final = {
    "failed": {"name": "GenerationError", "message": "The generation failed."},
    "moderation": {"name": "ContentModerationError", "message": "The content was flagged by moderation."},
}


class Fake(FakeProvider):
    """Generations, named in the query when they are read."""

    mount = "aimlapi"
    routes = (
        ("POST", "/v2/video/generations", "create"),
        ("GET", "/v2/video/generations", "poll"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, "TooManyRequests", "Too many requests."),
        "server_error": (500, "InternalError", "Internal server error."),
        "auth": (401, "Unauthorized", "Invalid API key."),
        "invalid": (400, "BadRequest", "Invalid payload provided."),
        "moderation_submit": (400, "BadRequest", "The prompt was flagged by moderation."),
        "retired": (404, "NotFound", "Model not found."),
        "lost": (404, "NotFound", "Generation not found."),
    }
    example: ClassVar[Mapping[str, Any]] = {
        "model": "bytedance/seedance-2-5",
        "size": "1280x720",
        "seconds": 5,
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "concurrency": "its sheet knows only the rate limit",
        "funds": "its sheet names no answer for it",
        "out_of_memory": "it has no word for it",
        "cancelled": "it has no such state",
        "expired": "it has no such state",
        "completed_with_error": "completed carries no error",
    }

    def asked(self, request: Request) -> Asked:
        """Read a create; the fields lie flat beside the model."""
        body = request.fields
        if unknown := body.keys() - _FIELDS - {"holographic"}:
            raise ValueError(f"unknown: {sorted(unknown)}")
        if type(body["duration"]) is not int:
            raise TypeError("duration")
        return Asked(
            prompt=body["prompt"],
            size=size_of(body["resolution"], body["aspect_ratio"]),
            seconds=body["duration"],
            model=body["model"],
        )

    def id_in(self, request: Request) -> str:
        """The query names the generation."""
        return request.query["generation_id"]

    def job_id(self) -> str:
        """An id with the model in it."""
        return f"{super().job_id()}:seedance+2-5"

    async def created(self, request: Request, job: Job) -> Answer:
        """The id."""
        return as_json({"id": job.id, "status": "queued", "meta": {"usage": {"credits_used": 150_000}}})

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The generation."""
        shown: dict[str, Any] = {
            "id": job.id,
            "status": _STATES.get(state, "completed"),
            "error": _REASONS.get(state),
        }
        if shown["status"] == "completed":
            video = {"url": f"{request.foreign}/{job.id}", "duration": 5} if state == "completed" else {}
            shown |= {"video": video, "meta": {"usage": {"credits_used": 150_000}}}
        return as_json(shown)

    def error(self, status: int, code: Any, message: str) -> Answer:
        """One of its two shapes, by the status."""
        if status in {401, 429}:
            return as_json({"error": {"name": code, "message": message}}, status)
        return as_json({"statusCode": status, "message": message, "path": "/v2/video/generations"}, status)
