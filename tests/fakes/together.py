"""Together's video jobs."""

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
    "unknown_state": "hibernating",
}
_ERRORS: Final = {
    "failed": ("internal_error", "The model failed to generate the video."),
    "moderation": ("content_policy_violation", "The prompt was blocked by content moderation."),
    "out_of_memory": ("internal_error", "CUDA out of memory"),
    "completed_with_error": ("internal_error", "The video could not be stored."),
}
_NUMBERS: Final = ("width", "height", "fps", "seed")
_FIELDS: Final = {
    "model", "prompt", "negative_prompt", "seconds", "fps", "width", "height", "resolution", "ratio", "seed", "steps",
    "guidance_scale", "generate_audio", "output_format", "output_quality", "media", "holographic",
}  # fmt: skip


class Fake(FakeProvider):
    """Together's /v2/videos."""

    mount = "together"
    routes = (
        ("POST", "/v2/videos", "create"),
        ("GET", "/v2/videos/{id}", "poll"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, "rate_limit", "You have reached the rate limit specific to this model."),
        "server_error": (500, "server_error", "Internal server error"),
        "auth": (401, "invalid_api_key", "Invalid API key provided."),
        "funds": (402, "insufficient_funds", "Credit limit exceeded."),
        "invalid": (400, "invalid_request", "Input validation error"),
        "retired": (404, "model_not_available", "Unable to access model."),
        "lost": (404, "not_found", "The video was not found."),
        "moderation_submit": (422, "content_policy_violation", "The prompt was blocked."),
    }
    example: ClassVar[Mapping[str, Any]] = {
        "model": "google/veo-3.1",
        "resolution": "720p",
        "aspect_ratio": "16:9",
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "concurrency": "it documents no cap on running jobs",
        "cancelled": "it has no such state",
        "expired": "it has no such state",
    }

    def asked(self, request: Request) -> Asked:
        """Read a create; the length is a text."""
        body = request.fields
        if unknown := body.keys() - _FIELDS:
            raise ValueError(f"unknown fields: {sorted(unknown)}")
        if not isinstance(body["seconds"], str):
            raise TypeError("seconds must be a string")
        if any(not isinstance(body.get(name, 0), int) for name in _NUMBERS):
            raise TypeError(f"{', '.join(_NUMBERS)} must be integers")
        _check_media(body.get("media", {}))
        words = "resolution" in body
        size = size_of(body["resolution"], body["ratio"]) if words else f"{body['width']}x{body['height']}"
        return Asked(prompt=body["prompt"], size=size, seconds=body["seconds"], model=body["model"])

    async def created(self, request: Request, job: Job) -> Answer:
        """The job, without any output."""
        return as_json(self._job(job, "queued"))

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The job; a finished one with its cost."""
        shown = self._job(job, "failed" if state in _ERRORS else _STATES[state])
        if state in _ERRORS:
            code, message = _ERRORS[state]
            shown["error"] = {"code": code, "message": message}
        if state == "completed":
            shown |= {
                "completed_at": time.time(),
                "outputs": {"cost": 1.6, "video_url": f"{request.foreign}/{job.id}"},
            }
        return as_json(shown)

    def error(self, status: int, code: Any, message: str) -> Answer:
        """An error as OpenAI shapes it."""
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        return as_json({"error": error}, status)

    def _job(self, job: Job, status: str) -> dict[str, Any]:
        return {
            "id": job.id,
            "object": "video",
            "model": job.model,
            "status": status,
            "created_at": job.created,
            "size": job.size,
            "seconds": f"{float(job.seconds):g}",
            "outputs": None,
        }


def _check_media(media: Mapping[str, Any]) -> None:
    for frame in media.get("frame_images", ()):
        if frame["frame"] not in {"first", "last"}:
            raise ValueError("media.frame_images: frame must be first or last")
        if len(frame["input_image"]) > 60 * 1024:
            raise ValueError("media.frame_images: input_image is too long")
    for name in ("frame_videos", "reference_videos"):
        if not all(item["video"].startswith("http") for item in media.get(name, ())):
            raise ValueError(f"media.{name}: each needs the address of a video")
