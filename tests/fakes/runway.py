"""Runway's tasks."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

VERSION: Final = "2024-11-06"
_STATES: Final[Mapping[str, Mapping[str, Any]]] = {
    "queued": {"status": "THROTTLED"},
    "running": {"status": "RUNNING"},
    "completed": {"status": "SUCCEEDED"},
    "completed_without_video": {"status": "SUCCEEDED", "output": []},
    "cancelled": {"status": "CANCELLED"},
    "failed": {
        "status": "FAILED",
        "failure": "Something broke.",
        "failureCode": "INTERNAL.BAD_OUTPUT.CODE01",
    },
    "moderation": {"status": "FAILED", "failure": "Not allowed.", "failureCode": "SAFETY.OUTPUT.VIDEO"},
    "unknown_state": {"status": "HIBERNATING"},
}


class Fake(FakeProvider):
    """Runway's tasks, with the version header it insists on."""

    mount = "runway"
    routes = (
        ("POST", "/v1/text_to_video", "create"),
        ("POST", "/v1/image_to_video", "create"),
        ("POST", "/v1/video_to_video", "create"),
        ("GET", "/v1/tasks/{id}", "poll"),
        ("DELETE", "/v1/tasks/{id}", "cancel"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, None, "You have reached your daily task limit."),
        "server_error": (500, None, "Internal error."),
        "auth": (401, None, "Invalid API key."),
        "invalid": (400, None, "Validation of body failed."),
        "retired": (404, None, "Not found."),
        "lost": (404, None, "Not found."),
    }
    example: ClassVar[Mapping[str, Any]] = {"model": "gen4.5", "size": "1280x720"}
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "funds": "its sheet names no answer for it",
        "moderation_submit": "it moderates after the create, as a failed task",
        "concurrency": "what is over the limit waits as THROTTLED",
        "out_of_memory": "it has no word for it",
        "expired": "it has no such state",
        "completed_with_error": "SUCCEEDED carries no error",
    }

    def asked(self, request: Request) -> Asked:
        """Read a create."""
        body = request.fields
        if request.headers.get("x-runway-version") != VERSION:
            raise ValueError("X-Runway-Version is missing")
        if request.path.endswith("text_to_video") and not isinstance(body["duration"], int):
            raise TypeError("duration must be an integer")
        return Asked(
            prompt=body["promptText"],
            size=body.get("ratio", "1280:720").replace(":", "x"),
            seconds=int(body.get("duration", 5)),
            model=body["model"],
        )

    async def created(self, request: Request, job: Job) -> Answer:
        """An id and an estimate."""
        return as_json({"id": job.id, "estimatedCost": {"credits": 48}})

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """A task."""
        task = {"id": job.id, "createdAt": "2026-11-22T00:00:00.000Z", **_STATES[state]}
        if state == "running":
            task["progress"] = 0.25
        if state == "completed":
            task |= {"output": [f"{request.foreign}/{job.id}"], "cost": {"credits": 48}}
        return as_json(task)

    def error(self, status: int, code: Any, message: str) -> Answer:
        """A text, and for some errors where to read more."""
        return as_json({"error": message, "docUrl": "https://docs.dev.runwayml.com"}, status)
