"""PiAPI's tasks: a model and a task type, an output of another shape per model, states in any case."""

import json
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.sizes import size_of
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_LENGTHS: Final = range(4, 31)
_DOLLAR: Final = 10_000_000
_STATES: Final = {
    "queued": "Staged",
    "running": "processing",
    "failed": "Failed",
    "moderation": "failed",
    "cancelled": "failed",
    "unknown_state": "hibernating",
}
_REASONS: Final = {
    "failed": "the generation broke",
    "moderation": "content moderation: the output was withheld",
    "cancelled": "task cancelled",
}


class Fake(FakeProvider):
    """Tasks; one that waits can be deleted."""

    mount = "piapi"
    credential_header = ("x-api-key", "")
    signs_callbacks = "head"
    routes = (
        ("POST", "/api/v1/task", "create"),
        ("GET", "/api/v1/task/{id}", "poll"),
        ("DELETE", "/api/v1/task/{id}", "cancel"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, 429, "too many requests"),
        "server_error": (500, 500, "internal error"),
        "auth": (401, 401, "invalid api key"),
        "funds": (402, 402, "insufficient credits"),
        "invalid": (400, 400, "invalid request"),
        "moderation_submit": (400, 400, "content moderation: the prompt was refused"),
        "lost": (404, 404, "task not found"),
    }
    example: ClassVar[Mapping[str, Any]] = {
        "model": "seedance/seedance-2.5",
        "size": "1280x720",
        "seconds": 5,
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "concurrency": "what is over the account's limit waits as staged",
        "retired": "its sheet names no answer for it",
        "out_of_memory": "it has no word for it",
        "cancelled": "its sheet does not say how a cancelled task reads",
        "expired": "it has no such state",
        "completed_with_error": "completed carries no error",
    }

    def asked(self, request: Request) -> Asked:
        """Read a create."""
        body = request.fields
        if unknown := body.keys() - {"model", "task_type", "input", "config"}:
            raise ValueError(f"unknown: {sorted(unknown)}")
        wanted, config = body["input"], body["config"]
        if config["service_mode"] not in {"public", "private", ""}:
            raise ValueError("service_mode")
        if body["model"] == "seedance" and wanted["duration"] not in _LENGTHS:
            raise ValueError("duration")
        hook = config.get("webhook_config", {"endpoint": None, "secret": None})
        return Asked(
            prompt=wanted["prompt"],
            size=size_of(wanted["resolution"], wanted["aspect_ratio"]),
            seconds=wanted["duration"],
            model=f"{body['model']}/{body['task_type']}",
            callback_url=hook["endpoint"],
        )

    async def created(self, request: Request, job: Job) -> Answer:
        """The task."""
        return self._answer(self._task(job, "pending", {"type": "point", "frozen": 17_500_000}))

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The task with what it took."""
        usage = {"type": "point", "frozen": 0, "consume": round(1.75 * _DOLLAR)}
        task = self._task(job, _STATES.get(state, "Completed"), usage)
        if state in _REASONS:
            task["error"] = {
                "code": 10000,
                "raw_message": _REASONS[state],
                "message": "failed",
                "detail": None,
            }
        if state == "completed":
            task["output"] = {"video": f"{request.foreign}/{job.id}"}
        return self._answer(task)

    async def cancelled(self, request: Request, job: Job) -> Answer:
        """The task."""
        return await self.shown(request, job, "cancelled")

    def callback(self, job: Job) -> tuple[Mapping[str, str], bytes]:
        """The task, with the secret in clear."""
        body = {"timestamp": int(time.time()), "data": self._task(job, "completed", {})}
        secret = job.fields["config"]["webhook_config"]["secret"]
        return {"x-webhook-secret": secret}, json.dumps(body).encode()

    def error(self, status: int, code: Any, message: str) -> Answer:
        """The envelope, and inside it an error of its own."""
        error = {"code": 10001, "raw_message": message, "message": "failed", "detail": None}
        return as_json({"code": code, "data": {"error": error}, "message": "failed"}, status)

    def without_id(self) -> Answer:
        """A good answer without data."""
        return self._answer(None)

    def _answer(self, data: Any) -> Answer:
        return as_json({"code": 200, "data": data, "message": "success"})

    def _task(self, job: Job, status: str, usage: Mapping[str, Any]) -> dict[str, Any]:
        model, _, task_type = job.model.rpartition("/")
        return {
            "task_id": job.id,
            "model": model,
            "task_type": task_type,
            "status": status,
            "input": job.fields["input"],
            "output": None,
            "meta": {"created_at": "", "started_at": "", "ended_at": "", "usage": usage},
            "detail": None,
            "logs": [],
            "error": {"code": 0, "raw_message": "", "message": "", "detail": None},
        }
