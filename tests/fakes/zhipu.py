"""Zhipu's video API: one create for every model, an asynchronous result by id, texts as codes."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.sizes import size_of
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_BASE: Final = "/api/paas/v4"
_SIZE: Final = re.compile(r"\d{3,4}x\d{3,4}")
_STATES: Final = {
    "queued": "PROCESSING",
    "running": "PROCESSING",
    "completed": "SUCCESS",
    "completed_without_video": "SUCCESS",
    "failed": "FAIL",
    "moderation": "FAIL",
    "unknown_state": "HIBERNATING",
}
_SECONDS: Final = {"cogvideox-3": {5, 10}, "vidu2": {4}, "viduq1": {5}}


class Fake(FakeProvider):
    """CogVideoX and the Vidu models that are resold."""

    mount = "zhipu"
    base_path = _BASE
    routes = (
        ("POST", f"{_BASE}/videos/generations", "create"),
        ("GET", f"{_BASE}/async-result/{{id}}", "poll"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, "1303", "The frequency of this API is too high."),
        "concurrency": (429, "1302", "Too many concurrent requests of this API."),
        "server_error": (500, "500", "Internal error."),
        "auth": (401, "1002", "The token is invalid."),
        "funds": (429, "1113", "The account is in arrears."),
        "invalid": (400, "1214", "A parameter is invalid."),
        "moderation_submit": (400, "1301", "The input may contain unsafe or sensitive content."),
        "retired": (400, "1211", "The model does not exist."),
        "lost": (404, "", "Not found."),
    }
    example: ClassVar[Mapping[str, Any]] = {"model": "cogvideox-3", "size": "1920x1080", "seconds": 5}
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors of a call by the HTTP status",
        "cancelled": "it has no such state",
        "expired": "it has no such state",
        "out_of_memory": "it has no word for it",
        "completed_with_error": "SUCCESS carries no error",
    }

    def asked(self, request: Request) -> Asked:
        """Read a create. Vidu models speak in aspect ratios, CogVideoX in pixels."""
        body = {
            name: value for name, value in request.fields.items() if value is not None
        }  # its SDKs send null
        model, images = body["model"], body.get("image_url")
        vidu = model.startswith("vidu")
        if len(body["prompt"]) > (1500 if vidu else 512):
            raise ValueError("prompt is too long")
        allowed = next((found for name, found in _SECONDS.items() if model.startswith(name)), {5})
        if body["duration"] not in allowed or type(body["duration"]) is not int:
            raise ValueError("duration is not one of the model's")
        if body.get("fps", 30) not in {30, 60} or type(body.get("with_audio", False)) is not bool:
            raise ValueError("fps or with_audio")
        _check_images(model, images)
        if not vidu and not _SIZE.fullmatch(body["size"]):
            raise ValueError("size must be WxH")
        size = size_of("720p", body.get("aspect_ratio", "16:9")) if vidu else body["size"]
        return Asked(
            prompt=body["prompt"],
            size=size,
            seconds=body["duration"],
            model=model,
            reference=body.get("request_id"),
        )

    async def created(self, request: Request, job: Job) -> Answer:
        """The id and the state."""
        return as_json(self._task(job, "PROCESSING"))

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The task; a failed one may say why."""
        task = self._task(job, _STATES[state])
        if state == "completed":
            cover = f"{request.foreign}/{job.id}.png"
            task["video_result"] = [{"url": f"{request.foreign}/{job.id}", "cover_image_url": cover}]
        if state == "moderation":
            task["error"] = {"code": "1301", "message": "The video may contain sensitive content."}
        return as_json(task)

    def error(self, status: int, code: Any, message: str) -> Answer:
        """The envelope; what was filtered is named beside it."""
        filtered = {"contentFilter": [{"level": 0, "role": "user"}]} if code == "1301" else {}
        return as_json({"error": {"code": code, "message": message}, **filtered}, status)

    def _task(self, job: Job, status: str) -> dict[str, Any]:
        return {"id": job.id, "request_id": job.reference, "model": job.model, "task_status": status}


def _check_images(model: str, images: Any) -> None:
    kind = model.rpartition("-")[2] if model.startswith("vidu") else ""
    least, most = {
        "text": (0, 0),
        "image": (1, 1),
        "start-end": (2, 2),
        "end": (2, 2),
        "reference": (1, 3),
    }.get(kind, (0, 2))
    if isinstance(images, str):
        images = [images]
    if not least <= len(images or []) <= most:
        raise ValueError("image_url has too many or too few")
    if not all(image.startswith(("https://", "data:image/")) for image in images or []):
        raise ValueError("image_url must be an address or a data URI")
