"""Lightricks' LTX API, version 2: a job per endpoint, read under the endpoint that made it."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_ENDPOINTS: Final = ("text-to-video", "image-to-video", "retake", "extend")
_MADE: Final = frozenset(
    {"prompt", "model", "duration", "resolution", "fps", "generate_audio", "camera_motion"}
)
_FIELDS: Final = {
    "text-to-video": _MADE,
    "image-to-video": _MADE | {"image_uri", "last_frame_uri"},
    "retake": frozenset({"prompt", "model", "video_uri", "start_time", "duration", "mode", "resolution"}),
    "extend": frozenset({"prompt", "model", "video_uri", "duration", "mode", "context"}),
}
_MODES: Final = {
    "retake": {"replace_audio_and_video", "replace_audio", "replace_video"},
    "extend": {"start", "end"},
}
_MAX_PROMPT: Final = 10_000
_LARGEST: Final = {"image": 7_000_000, "video": 15_000_000}
_RATES: Final = frozenset({24, 25, 48, 50})
_STATES: Final = {
    "queued": "pending",
    "running": "processing",
    "moderation": "failed",
    "unknown_state": "hibernating",
}
_FAILURES: Final = {
    "failed": {"type": "api_error", "message": "The generation failed."},
    "moderation": {"type": "content_filtered_error", "message": "Rejected by safety filters."},
}


class Fake(FakeProvider):
    """Jobs of four endpoints."""

    mount = "ltx"
    routes = tuple(
        route
        for name in _ENDPOINTS
        for route in (("POST", f"/v2/{name}", "create"), ("GET", f"/v2/{name}/{{id}}", "poll"))
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, "rate_limit_error", "Too many requests."),
        "concurrency": (429, "concurrency_limit_error", "Too many jobs at a time."),
        "server_error": (500, "api_error", "An unexpected error occurred."),
        "auth": (401, "authentication_error", "Invalid API key."),
        "funds": (402, "insufficient_funds_error", "Insufficient funds."),
        "invalid": (400, "invalid_request_error", "The request is invalid."),
        "moderation_submit": (422, "content_filtered_error", "Rejected by safety filters."),
        "retired": (404, "not_found_error", "Not found."),
        "lost": (404, "not_found_error", "Not found."),
    }
    example: ClassVar[Mapping[str, Any]] = {"model": "ltx-2-5-fast", "size": "1280x720", "seconds": 6}
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "out_of_memory": "it has no word for it",
        "cancelled": "it has no such state",
        "expired": "it has no such state",
        "completed_with_error": "completed carries no error",
    }

    def asked(self, request: Request) -> Asked:
        """Read a create."""
        body, endpoint = request.fields, request.path.rpartition("/")[2]
        known = _FIELDS[endpoint] | {"holographic"}  # what it makes of an unknown field is not documented
        if not set(body) <= known or len(body["prompt"]) > _MAX_PROMPT:
            raise ValueError(f"{endpoint}: {sorted(set(body) - known)}")
        seconds, size = body["duration"], "1280x720"
        if endpoint in _MODES:
            _check(body["video_uri"], "video")
            if body.get("mode", next(iter(_MODES[endpoint]))) not in _MODES[endpoint]:
                raise ValueError("mode")
            if endpoint == "retake" and not isinstance(body["start_time"], int | float):
                raise TypeError("start_time")
        else:
            size = body["resolution"]
            if not re.fullmatch(r"\d+x\d+", size):
                raise ValueError("resolution")
            if type(seconds) is not int or body.get("fps", 24) not in _RATES:
                raise ValueError("duration or fps")
        if endpoint == "image-to-video":
            _check(body["image_uri"], "image")
            _check(body.get("last_frame_uri", "https://"), "image")
        return Asked(prompt=body["prompt"], size=size, seconds=seconds, model=body["model"])

    async def created(self, request: Request, job: Job) -> Answer:
        """202 and the id."""
        return as_json({"id": job.id, "created_at": "2026-11-22T00:00:00.000Z"}, 202)

    async def poll(self, request: Request) -> Answer:
        """A job is found only under the endpoint that made it."""
        job = self.state.jobs.get(self.id_in(request))
        if job is not None and not request.path.startswith(f"{job.path}/"):
            return self.missing(request)
        return await super().poll(request)

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The job."""
        status = "completed" if state.startswith("completed") else _STATES.get(state, state)
        shown: dict[str, Any] = {"id": job.id, "status": status, "created_at": "2026-11-22T00:00:00.000Z"}
        if state in _FAILURES:
            shown["error"] = _FAILURES[state]
        if status == "completed":
            shown["result"] = {"video_url": f"{request.foreign}/{job.id}"} if state == "completed" else {}
        return as_json(shown)

    def error(self, status: int, code: Any, message: str) -> Answer:
        """Its envelope."""
        return as_json({"type": "error", "error": {"type": code, "message": message}}, status)


def _check(uri: str, kind: str) -> None:
    """An address over https, a data URI that is not too long, or an upload."""
    data = uri.startswith(f"data:{kind}/") and len(uri) <= _LARGEST[kind]
    if not (data or uri.startswith(("https://", "ltx://"))):
        raise ValueError(f"{kind}_uri")
