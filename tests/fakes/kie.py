"""kie.ai's market: one endpoint for all models, results as JSON inside JSON, errors inside HTTP 200."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.catalog_files import catalog_of
from providers.sizes import size_of
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

SECRET: Final = "kie-webhook-key"
KLING: Final = "kling-3.0/video"
_MODES: Final = {"std": "720p", "pro": "1080p"}
_LENGTHS: Final = frozenset(map(str, range(3, 16)))
_MOST_IMAGES: Final = 2
_STATES: Final = {
    "queued": "waiting",
    "running": "generating",
    "failed": "fail",
    "moderation": "fail",
    "unknown_state": "hibernating",
}
_REASONS: Final = {
    "failed": ("501", "Generation failed."),
    "moderation": ("422", "The content violates our content policy."),
}


class Fake(FakeProvider):
    """Tasks of the market, with what Kling 3.0 and the others insist on."""

    mount = "kie"
    routes = (
        ("POST", "/api/v1/jobs/createTask", "create"),
        ("GET", "/api/v1/jobs/recordInfo", "poll"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (200, 429, "Rate limited."),
        "server_error": (200, 500, "Server error."),
        "auth": (200, 401, "You do not have access permissions."),
        "funds": (200, 402, "Credits insufficient."),
        "invalid": (200, 422, "This field is required."),
        "moderation_submit": (200, 422, "The prompt violates the content policy."),
        "retired": (200, 404, "Not found."),
        "lost": (200, 404, "Not found."),
    }
    options: ClassVar[Mapping[str, Any]] = {"webhook_secret": SECRET}
    example: ClassVar[Mapping[str, Any]] = {
        "model": KLING,
        "size": "1280x720",
        "seconds": 5,
        "wire": {model.upstream_id: model.wire for model in catalog_of("kie").models}[KLING],
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "concurrency": "its sheet knows only the rate limit",
        "out_of_memory": "it has no word for it",
        "cancelled": "it has no such state",
        "expired": "it has no such state",
        "completed_with_error": "success carries no error",
    }
    signs_callbacks = "head"

    def asked(self, request: Request) -> Asked:
        """Read a create: everything but the model and the callback lies in `input`."""
        body = request.fields
        if unknown := body.keys() - {"model", "callBackUrl", "input"}:
            raise ValueError(f"unknown: {sorted(unknown)}")
        wanted = body["input"]
        kling = body["model"] == KLING
        if kling:
            self._check_kling(wanted)
        resolution = _MODES[wanted["mode"]] if kling else wanted["resolution"]
        return Asked(
            prompt=wanted["prompt"],
            size=size_of(resolution, wanted["aspect_ratio"]),
            seconds=wanted["duration"],
            model=body["model"],
            callback_url=body.get("callBackUrl"),
        )

    def job_id(self) -> str:
        """An id that names the model, too."""
        return f"task_kling-3.0_{super().job_id()}"

    def id_in(self, request: Request) -> str:
        """The query names the task."""
        return request.query["taskId"]

    async def created(self, request: Request, job: Job) -> Answer:
        """Nothing but ids."""
        return self._answer({"taskId": job.id, "recordId": "5d3f"})

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """A record; what it was asked and what came of it are texts."""
        code, message = _REASONS.get(state, ("", ""))
        record: dict[str, Any] = {
            "taskId": job.id,
            "model": job.model,
            "state": _STATES.get(state, "success"),
            "param": json.dumps(job.fields),
            "resultJson": "",
            "failCode": code,
            "failMsg": message,
            "createTime": int(job.created * 1000),
            "updateTime": int(time.time() * 1000),
        }
        if record["state"] == "success":
            urls = [f"{request.foreign}/{job.id}"] if state == "completed" else []
            record |= {"resultJson": json.dumps({"resultUrls": urls}), "costTime": 4}
        return self._answer(record)

    def callback(self, job: Job) -> tuple[Mapping[str, str], bytes]:
        """The record; the signature covers nothing but the task's id and the time."""
        stamp = str(int(time.time()))
        signed = hmac.new(SECRET.encode(), f"{job.id}.{stamp}".encode(), hashlib.sha256).digest()
        headers = {
            "x-webhook-timestamp": stamp,
            "x-webhook-signature": base64.b64encode(signed).decode(),
        }
        return headers, json.dumps({"code": 200, "data": {"taskId": job.id, "state": "success"}}).encode()

    def error(self, status: int, code: Any, message: str) -> Answer:
        """The envelope tells the error, the HTTP status does not."""
        return as_json({"code": code, "msg": message, "data": None}, status)

    def without_id(self) -> Answer:
        """A good answer without data."""
        return self._answer(None)

    def _answer(self, data: Any) -> Answer:
        return as_json({"code": 200, "msg": "success", "data": data})

    def _check_kling(self, wanted: Mapping[str, Any]) -> None:
        if wanted["duration"] not in _LENGTHS:
            raise ValueError("duration is a text from 3 to 15")
        if not isinstance(wanted["sound"], bool) or wanted["multi_shots"] is not False:
            raise TypeError("sound and multi_shots are required")
        images = wanted.get("image_urls", [])
        if len(images) > _MOST_IMAGES or not all(url.startswith("https://") for url in images):
            raise ValueError("image_urls")
