"""Alibaba Model Studio (DashScope): tasks of many models, whose inputs are spelled in an old and a new way."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.sizes import size_of
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_CREATES: Final = (
    "/api/v1/services/aigc/video-generation/video-synthesis",
    "/api/v1/services/aigc/image2video/video-synthesis",
)
_OLD: Final = re.compile(r"wan2\.[0-6]-|wanx")
_RESOLUTIONS: Final = {"480P", "720P", "1080P"}
_MEDIA: Final = {
    "first_frame", "last_frame", "driving_audio", "first_clip", "reference_image", "reference_video",
    "reference_audio", "video", "file", "link",
}  # fmt: skip
_STATES: Final = {
    "queued": "PENDING",
    "running": "RUNNING",
    "completed": "SUCCEEDED",
    "completed_without_video": "SUCCEEDED",
    "failed": "FAILED",
    "moderation": "FAILED",
    "cancelled": "CANCELED",
    "unknown_state": "HIBERNATING",
}
_REASONS: Final = {
    "failed": {"code": "InternalError", "message": "Algo process error."},
    "moderation": {
        "code": "DataInspectionFailed",
        "message": "Output data may contain inappropriate content.",
    },
}


class Fake(FakeProvider):
    """DashScope's tasks. One that failed says why in HTTP 200, and one that is not there is UNKNOWN."""

    mount = "dashscope"
    base_path = "/api/v1"
    routes = (
        *(("POST", path, "create") for path in _CREATES),
        ("GET", "/api/v1/tasks", "listed"),
        ("GET", "/api/v1/tasks/{id}", "poll"),
        ("POST", "/api/v1/tasks/{id}/cancel", "cancel"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, "Throttling.RateQuota", "Requests rate limit exceeded."),
        "server_error": (500, "InternalError", "An internal error has occurred."),
        "auth": (401, "InvalidApiKey", "Invalid API-key provided."),
        "funds": (400, "Arrearage", "Access denied, the account is in arrears."),
        "invalid": (400, "InvalidParameter", "A parameter is not valid."),
        "moderation_submit": (400, "DataInspectionFailed", "Input data may contain inappropriate content."),
        "retired": (403, "Model.AccessDenied", "Model access denied."),
        "synchronous": (403, "AccessDenied", "The API does not support synchronous calls."),
        "too_late": (400, "UnsupportedOperation", "The task is not in PENDING."),
    }
    example: ClassVar[Mapping[str, Any]] = {"model": "wan2.7-t2v", "size": "1280x720", "seconds": 5}
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "concurrency": "Throttling is all it says of limits",
        "out_of_memory": "it has no word for it",
        "expired": "a task that expired is UNKNOWN, like one that never was",
        "completed_with_error": "SUCCEEDED carries no error",
    }

    async def create(self, request: Request) -> Answer:
        """Refuse what is not asynchronous."""
        if request.headers.get("x-dashscope-async") != "enable":
            return self.error_of("synchronous")
        return await super().create(request)

    def asked(self, request: Request) -> Asked:
        """Read a create in the spelling of its model."""
        body = request.fields
        model, given, parameters = body["model"], body["input"], body["parameters"]
        if ("kf2v" in model) != request.path.endswith("image2video/video-synthesis"):
            raise ValueError(f"{model} has another path")
        if "duration" in parameters and type(parameters["duration"]) is not int:
            raise TypeError("duration must be an integer")
        old = bool(_OLD.match(model))
        if ("media" in given) and old:
            raise ValueError(f"{model} takes no media")
        if given.keys() & {"img_url", "reference_urls", "first_frame_url", "last_frame_url"} and not old:
            raise ValueError(f"{model} takes media")
        if any(item["type"] not in _MEDIA or not item["url"] for item in given.get("media", ())):
            raise ValueError("a medium of an unknown type or without an address")
        by_size = old and re.search("-[tr]2v", model)
        return Asked(
            prompt=given["prompt"],
            size=parameters["size"].replace("*", "x") if by_size else _size(parameters),
            seconds=parameters.get("duration", 5),
            model=model,
        )

    async def created(self, request: Request, job: Job) -> Answer:
        """A waiting task."""
        return as_json({"output": {"task_id": job.id, "task_status": "PENDING"}, "request_id": "r1"})

    def without_id(self) -> Answer:
        """A task without an id."""
        return as_json({"output": {"task_status": "PENDING"}, "request_id": "r1"})

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """A task."""
        output = {"task_id": job.id, "task_status": _STATES[state], **_REASONS.get(state, {})}
        answer: dict[str, Any] = {"request_id": "r1", "output": output}
        if state == "completed":
            output |= {"video_url": f"{request.foreign}/{job.id}", "orig_prompt": job.prompt}
            answer["usage"] = {"duration": int(job.seconds), "video_count": 1, "SR": 720}
        return as_json(answer)

    def missing(self, request: Request) -> Answer:
        """UNKNOWN, in HTTP 200; only a cancel is refused."""
        if request.method == "POST":
            return self.error_of("too_late")
        return as_json({"request_id": "r1", "output": {"task_id": "gone", "task_status": "UNKNOWN"}})

    async def listed(self, request: Request) -> Answer:
        """The newest tasks."""
        return as_json({"request_id": "r1", "data": [], "total": 0, "page_no": request.query["page_no"]})

    async def cancel(self, request: Request) -> Answer:
        """Stop a waiting task, no other."""
        job = self.state.jobs.get(request.params["id"])
        if job is not None and self.state_of(job) != "queued":
            return self.error_of("too_late")
        return await super().cancel(request)

    async def cancelled(self, request: Request, job: Job) -> Answer:
        """Nothing but the request's id."""
        return as_json({"request_id": "r1"})

    def error(self, status: int, code: Any, message: str) -> Answer:
        """Code and message at the top."""
        return as_json({"code": code, "message": message, "request_id": "r1"}, status)


def _size(parameters: Mapping[str, Any]) -> str:
    if parameters["resolution"] not in _RESOLUTIONS:
        raise ValueError("resolution is not valid")
    return size_of(parameters["resolution"].lower(), parameters.get("ratio", "16:9"))
