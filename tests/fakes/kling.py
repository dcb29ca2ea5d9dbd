"""Kling's tasks: an envelope with a business code, and a poll under the path of the create."""

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_KINDS: Final = ("text2video", "image2video", "multi-image2video", "video-extend")
_EXTENSION: Final = frozenset(
    {"video_id", "prompt", "negative_prompt", "cfg_scale", "callback_url", "external_task_id"}
)
_ADDED_SECONDS: Final = 5
_STATES: Final = {
    "queued": "submitted",
    "running": "processing",
    "completed": "succeed",
    "completed_without_video": "succeed",
    "failed": "failed",
    "moderation": "failed",
    "unknown_state": "hibernating",
}
_REASONS: Final = {"failed": "Generation failed.", "moderation": "Failure to pass the content safety check."}
_SIZES: Final = {"std": 720, "pro": 1080, "4k": 2160}


class Fake(FakeProvider):
    """Kling's tasks."""

    mount = "kling"
    routes = tuple(
        route
        for kind in _KINDS
        for route in (
            ("POST", f"/v1/videos/{kind}", "create"),
            ("GET", f"/v1/videos/{kind}/{{id}}", "poll"),
        )
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, 1302, "The API request is too frequent."),
        "concurrency": (429, 1303, "Concurrency exceeds the resource pack."),
        "server_error": (500, 5000, "Internal server error."),
        "auth": (401, 1002, "Authorization is invalid."),
        "funds": (429, 1102, "The resource pack is depleted or expired."),
        "invalid": (400, 1201, "Invalid parameter."),
        "moderation_submit": (400, 1301, "The content triggers the content safety policy."),
        "retired": (404, 1203, "The requested resource does not exist."),
        "lost": (404, 1203, "The requested resource does not exist."),
    }
    example: ClassVar[Mapping[str, Any]] = {"model": "kling-v2-6", "size": "1280x720", "seconds": 5}
    cannot: ClassVar[Mapping[str, str]] = {
        "cancelled": "it has no such state",
        "expired": "it has no such state",
        "out_of_memory": "it has no word for it",
        "completed_with_error": "succeed carries no error",
    }

    def authorized(self, request: Request, key: str) -> bool:
        """Check the API key, or the token that a key of two parts signs."""
        access_key, _, secret_key = key.partition(":")
        if not secret_key:
            return super().authorized(request, key)
        text, _, signature = request.headers.get("authorization", "").removeprefix("Bearer ").rpartition(".")
        expected = hmac.new(secret_key.encode(), text.encode(), hashlib.sha256).digest()
        return signature == urlsafe_b64encode(expected).rstrip(b"=").decode() and (
            json.loads(urlsafe_b64decode(text.partition(".")[2] + "=="))["iss"] == access_key
        )

    def asked(self, request: Request) -> Asked:
        """Read a create; an image gives the size where there is one."""
        body = request.fields
        if request.path.endswith("/video-extend"):
            return self._extension(body)
        side = _SIZES[body["mode"]]
        across, down = (int(part) for part in body.get("aspect_ratio", "16:9").split(":"))
        short = min(across, down)
        if not isinstance(body["duration"], str):
            raise TypeError("duration must be a string")
        return Asked(
            prompt=body["prompt"],
            size=f"{side * across // short}x{side * down // short}",
            seconds=body["duration"],
            model=body["model_name"],
            callback_url=body.get("callback_url"),
            reference=body.get("external_task_id"),
        )

    async def created(self, request: Request, job: Job) -> Answer:
        """The task in its first state."""
        return self._ok(self._task(job, "submitted"))

    def without_id(self) -> Answer:
        """An envelope with an empty task."""
        return self._ok({})

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The task."""
        task = self._task(job, _STATES[state]) | {"task_status_msg": _REASONS.get(state, "")}
        if state == "completed":
            video = {"id": f"v{job.id}", "url": f"{request.foreign}/{job.id}", "duration": "5.041"}
            task |= {"task_result": {"videos": [video]}, "final_unit_deduction": "3"}
        return self._ok(task)

    def error(self, status: int, code: Any, message: str) -> Answer:
        """The envelope with another code than 0."""
        return as_json({"code": code, "message": message, "request_id": "req_1"}, status)

    def _extension(self, body: Mapping[str, Any]) -> Asked:
        if unknown := body.keys() - _EXTENSION:
            raise ValueError(f"unknown: {sorted(unknown)}")
        source = self.state.jobs[body["video_id"].removeprefix("v")]
        return Asked(
            prompt=body["prompt"],
            size=source.size,
            seconds=float(source.seconds) + _ADDED_SECONDS,
            model=source.model,
            callback_url=body.get("callback_url"),
            reference=body.get("external_task_id"),
        )

    def _task(self, job: Job, status: str) -> dict[str, Any]:
        at = int(job.created * 1000)
        info = {"task_info": {"external_task_id": job.reference}}
        return {"task_id": job.id, "task_status": status, "created_at": at, "updated_at": at, **info}

    def _ok(self, data: Any) -> Answer:
        return as_json({"code": 0, "message": "SUCCEED", "request_id": f"req_{time.time_ns()}", "data": data})
