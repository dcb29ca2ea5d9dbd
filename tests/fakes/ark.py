"""Volcengine Ark's generation tasks; BytePlus ModelArk speaks the same."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.sizes import size_of
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_TASKS: Final = "/api/v3/contents/generations/tasks"
_RESOLUTIONS: Final = {"480p", "720p", "1080p", "4k"}
_RATIOS: Final = {"21:9", "16:9", "4:3", "1:1", "3:4", "9:16", "adaptive"}
_FRAMES: Final = {"first_frame", "last_frame"}
_ROLES: Final[Mapping[str, set[str | None]]] = {
    "text": {None},
    "image_url": {*_FRAMES, "reference_image", None},
    "video_url": {"reference_video"},
    "audio_url": {"reference_audio"},
}
_MOST: Final = {"reference_image": 9, "reference_video": 3, "reference_audio": 3, "first_frame": 1, "last_frame": 1}  # fmt: skip
_STATES: Final = {
    "completed": "succeeded",
    "completed_without_video": "succeeded",
    "moderation": "failed",
    "unknown_state": "hibernating",
}
_REASONS: Final = {
    "failed": {"code": "InternalServiceError", "message": "The service failed."},
    "moderation": {"code": "OutputVideoSensitiveContentDetected", "message": "The output may be sensitive."},
}


class Fake(FakeProvider):
    """Ark's tasks. A failed one is told in HTTP 200; only a queued one can be stopped."""

    mount = "ark"
    base_path = "/api/v3"
    routes = (
        ("POST", _TASKS, "create"),
        ("GET", _TASKS, "listed"),
        ("GET", f"{_TASKS}/{{id}}", "poll"),
        ("DELETE", f"{_TASKS}/{{id}}", "delete"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, "RateLimitExceeded.EndpointRPMExceeded", "Too many requests per minute."),
        "concurrency": (429, "QuotaExceeded", "Too many tasks are queued."),
        "server_error": (500, "InternalServiceError", "The service encountered an internal error."),
        "auth": (401, "AuthenticationError", "The API key is missing or invalid."),
        "funds": (403, "AccountOverdueError", "The account has an overdue balance."),
        "invalid": (400, "InvalidParameter", "A parameter is not valid."),
        "moderation_submit": (400, "InputTextSensitiveContentDetected", "The input text may be sensitive."),
        "retired": (404, "InvalidEndpointOrModel.NotFound", "The model does not exist."),
        "lost": (404, "NotFound", "The task does not exist."),
        "running": (409, "InvalidAction.RunningTaskDeletion", "The task is running."),
    }
    example: ClassVar[Mapping[str, Any]] = {
        "model": "doubao-seedance-2-0-260128",
        "size": "1280x720",
        "seconds": 5,
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status; in HTTP 200 an error is that of the task",
        "out_of_memory": "it has no word for it",
        "completed_with_error": "succeeded carries no error",
    }

    def asked(self, request: Request) -> Asked:
        """Read a create. A field that is null was not given: the vendor's SDK writes them all."""
        body = {name: value for name, value in request.fields.items() if value is not None}
        for name in ("duration", "seed"):
            if name in body and type(body[name]) is not int:
                raise TypeError(f"{name} must be an integer")
        resolution, ratio = body.get("resolution", "720p"), body.get("ratio", "adaptive")
        if resolution not in _RESOLUTIONS or ratio not in _RATIOS:
            raise ValueError("resolution or ratio is not valid")
        shape = "16:9" if ratio == "adaptive" else ratio
        return Asked(
            prompt=_prompt(body["content"]),
            size=size_of(resolution, shape),
            seconds=body.get("duration", 5),
            model=body["model"],
            callback_url=body.get("callback_url"),
        )

    async def created(self, request: Request, job: Job) -> Answer:
        """An id."""
        return as_json({"id": job.id})

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """A task."""
        return as_json(self._task(request, job, state))

    def _task(self, request: Request, job: Job, state: str) -> dict[str, Any]:
        """With a null for what it does not have."""
        fields = job.fields
        task: dict[str, Any] = {
            "id": job.id,
            "model": job.model,
            "status": _STATES.get(state, state),
            "error": _REASONS.get(state),
            "content": None,
            "usage": None,
            "seed": 7,
            "resolution": fields.get("resolution"),
            "ratio": fields.get("ratio"),
            "duration": int(job.seconds),
            "framespersecond": 24,
            "created_at": int(job.created),
            "updated_at": int(job.created),
        }
        if state == "completed":
            width, height = (int(side) for side in job.size.split("x"))
            tokens = width * height * (24 * int(job.seconds) + 1) // 1024
            task["content"] = {"video_url": f"{request.foreign}/{job.id}"}
            task["usage"] = {"completion_tokens": tokens, "total_tokens": tokens}
        return task

    async def listed(self, request: Request) -> Answer:
        """The newest tasks."""
        if int(request.query["page_num"]) < 1 or int(request.query["page_size"]) < 1:
            return self.error_of("invalid")
        jobs = [job for job in self.state.jobs.values() if job.mount == self.mount]
        items = [self._task(request, job, self.state_of(job)) for job in jobs]
        return as_json({"items": items, "total": len(items)})

    async def delete(self, request: Request) -> Answer:
        """Stop a queued task; a running one goes on, the record of an ended one is erased."""
        self.state.calls["delete"] += 1
        job = self.state.jobs.get(request.params["id"])
        if job is None:
            return self.missing(request)
        state = self.state_of(job)
        if state == "running":
            return self.error_of("running")
        if state == "queued":
            self.state.cancel(job)
        else:
            self.state.remove(job)
        return as_json({})

    def error(self, status: int, code: Any, message: str) -> Answer:
        """An error object."""
        return as_json({"error": {"code": code, "message": message, "param": "", "type": ""}}, status)


def _prompt(content: list[dict[str, Any]]) -> str:
    """The text of a create, after a check of everything beside it."""
    counts: Counter[str | None] = Counter()
    for item in content:
        kind = item["type"]
        role = item.get("role")
        if role not in _ROLES[kind] or (kind != "text" and not item[kind]["url"]):
            raise ValueError(f"content of the type {kind} cannot have the role {role}")
        counts[role] += 1
    if any(counts[role] > most for role, most in _MOST.items()):
        raise ValueError("too many inputs")
    if counts.keys() & _FRAMES and counts.keys() & {"reference_image", "reference_video", "reference_audio"}:
        raise ValueError("frames and references cannot be mixed")
    return "".join(item["text"] for item in content if item["type"] == "text")
