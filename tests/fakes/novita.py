"""Novita's asynchronous tasks: an address per model, bodies by the model, reasons for errors."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_SIZE: Final = re.compile(r"\d{3,4}\*\d{3,4}")
_INPUT: Final = {"prompt", "negative_prompt", "img_url", "audio_url"}
_STATES: Final = {
    "queued": "TASK_STATUS_QUEUED",
    "running": "TASK_STATUS_PROCESSING",
    "completed": "TASK_STATUS_SUCCEED",
    "completed_without_video": "TASK_STATUS_SUCCEED",
    "failed": "TASK_STATUS_FAILED",
    "moderation": "TASK_STATUS_FAILED",
    "unknown_state": "TASK_STATUS_HIBERNATING",
}
_REASONS: Final = {"failed": "the worker failed", "moderation": "ILLEGAL_PROMPT: the content is not allowed"}


class Fake(FakeProvider):
    """Wan models with input and parameters, the others with flat bodies."""

    mount = "novita"
    routes = (("GET", "/v3/async/task-result", "poll"), ("POST", "/v3/async/{slug}", "create"))
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, "RATE_LIMIT_EXCEEDED", "The rate limit is exceeded."),
        "server_error": (500, "CREATE_TASK_FAILED", "The task could not be created."),
        "auth": (403, "INVALID_API_KEY", "The API key is invalid."),
        "funds": (400, "BILLING_BALANCE_NOT_ENOUGH", "The balance is not enough."),
        "invalid": (400, "INVALID_REQUEST_BODY", "The body is invalid."),
        "moderation_submit": (400, "ILLEGAL_PROMPT", "The prompt is illegal."),
        "retired": (404, "", "Not found."),
        "lost": (404, "TASK_NOT_FOUND", "The task does not exist."),
    }
    example: ClassVar[Mapping[str, Any]] = {
        "model": "wan-2.2-t2v",
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "size": "1280x720",
        "seconds": 5,
        "wire": {"size": "1280*720"},
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "concurrency": "its sheet names no answer for it",
        "cancelled": "it has no such state",
        "expired": "it has no such state",
        "out_of_memory": "it has no word for it",
        "completed_with_error": "a task that succeeded carries no error",
    }

    def asked(self, request: Request) -> Asked:
        """Read a create."""
        slug, body = request.params["slug"], request.fields
        if slug.startswith("wan"):
            inputs, body = body["input"], body["parameters"]
            if not set(inputs) <= _INPUT or _INPUT & set(body):
                raise ValueError("input and parameters are mixed up")
            if not inputs.get("img_url", "https://").startswith("https://"):
                raise ValueError("img_url must be a public address")
            prompt = inputs["prompt"]
        else:
            prompt = body["prompt"]
        if type(body["duration"]) is not int:
            raise TypeError("duration must be a number")
        size = body.get("size", "1280*720")
        if not _SIZE.fullmatch(size):
            raise ValueError("size must be like 1280*720")
        return Asked(prompt=prompt, size=size.replace("*", "x"), seconds=body["duration"], model=slug)

    def id_in(self, request: Request) -> str:
        """The task that a poll names in its query."""
        return request.query["task_id"]

    async def created(self, request: Request, job: Job) -> Answer:
        """The id of the task."""
        return as_json({"task_id": job.id})

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The task and what it made."""
        task = {
            "task_id": job.id,
            "task_type": job.model.upper(),
            "status": _STATES[state],
            "reason": _REASONS.get(state, ""),
            "eta": 12 if state == "running" else 0,
            "progress_percent": 40 if state == "running" else 0,
        }
        video = {"video_url": f"{request.foreign}/{job.id}", "video_url_ttl": "3600", "video_type": "mp4"}
        videos = [video] if state == "completed" else []
        return as_json({"task": task, "images": [], "videos": videos, "audios": [], "extra": {}})

    def error(self, status: int, code: Any, message: str) -> Answer:
        """The HTTP status again, a reason and a message."""
        return as_json({"code": status, "reason": code, "message": message, "metadata": {}}, status)
