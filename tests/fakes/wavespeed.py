"""WaveSpeed's predictions: an envelope with a code of its own, a second code in the prediction."""

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.sizes import size_of
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

SECRET: Final = "whsec_" + "0123456789abcdef" * 4
_QUEUE: Final = "what is over the limit waits"
_STATES: Final = {
    "queued": "created",
    "running": "processing",
    "completed_without_video": "completed",
    "moderation": "failed",
    "out_of_memory": "failed",
    "completed_with_error": "failed",
    "expired": "timeout",
    "unknown_state": "hibernating",
}
_CODES: Final = {
    "failed": (1403, "The task failed."),
    "moderation": (1200, "The content was flagged as potentially sensitive."),
    "out_of_memory": (5000, "CUDA out of memory"),
    "completed_with_error": (5000, "Internal error."),
    "expired": (5004, "The task timed out."),
}


class Fake(FakeProvider):
    """WaveSpeed's API, its uploads and its signed callbacks."""

    mount = "wavespeed"
    routes = (
        ("GET", "/api/v3/predictions/{id}/result", "poll"),
        ("GET", "/api/v3/webhook/secret", "secret"),
        ("GET", "/api/v3/balance", "balance"),
        ("POST", "/api/v3/media/upload/binary", "upload"),
        ("POST", "/api/v3/{model*}", "create"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, 429, "too many requests"),
        "server_error": (500, 500, "internal server error"),
        "auth": (401, 401, "unauthorized"),
        "funds": (402, 402, "insufficient credits, please top up"),
        "invalid": (400, 400, "invalid parameter"),
        "retired": (404, 404, "model not found"),
        "lost": (404, 404, "prediction not found"),
    }
    example: ClassVar[Mapping[str, Any]] = {
        "model": "google/veo3",
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "wire": {"audio": "generate_audio"},
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "concurrency": _QUEUE,
        "moderation_submit": "it moderates after the create",
    }
    signs_callbacks = "body"

    def asked(self, request: Request) -> Asked:
        """Read a create of one of its models."""
        body = request.fields
        if not isinstance(body["duration"], int):
            raise TypeError("duration must be an integer")
        if not request.query.get("webhook", "https://").startswith("https://"):
            raise ValueError("webhook must be an https address")
        if not body.get("image", "https://").startswith("https://"):
            raise ValueError("image must be an address")
        return Asked(
            prompt=body["prompt"],
            size=_size(body),
            seconds=body["duration"],
            model=request.params["model"],
            callback_url=request.query.get("webhook"),
        )

    async def created(self, request: Request, job: Job) -> Answer:
        """The prediction."""
        return self._enveloped(self._prediction(request, job, "created"))

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The prediction, with its own code where it failed."""
        prediction = self._prediction(request, job, _STATES.get(state, state))
        if state in _CODES:
            prediction["code"], prediction["error"] = _CODES[state]
        if state == "completed":
            prediction |= {"outputs": [f"{request.foreign}/{job.id}"], "has_nsfw_contents": [False]}
        return self._enveloped(prediction)

    def error(self, status: int, code: Any, message: str) -> Answer:
        """An envelope without data."""
        return as_json({"code": code, "message": message}, status)

    async def secret(self, request: Request) -> Answer:
        """The secret that signs the callbacks."""
        return self._enveloped({"secret": SECRET})

    async def balance(self, request: Request) -> Answer:
        """What is left."""
        return self._enveloped({"balance": 12.5})

    async def upload(self, request: Request) -> Answer:
        """Keep a file."""
        (part,) = request.files["file"]
        address = f"https://cdn.example/{part.summary()['sha256']}"
        return self._enveloped({"type": "image", "download_url": address, "size": len(part.data)})

    def callback(self, job: Job) -> tuple[Mapping[str, str], bytes]:
        """A signed prediction; the secret is taken as text."""
        body, stamp = json.dumps({"id": job.id, "status": "completed"}).encode(), str(int(time.time()))
        key, content = SECRET.removeprefix("whsec_").encode(), f"{job.id}.{stamp}.".encode() + body
        digest = hmac.new(key, content, hashlib.sha256).hexdigest()
        return {
            "webhook-id": job.id,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v3,{digest}",
        }, body

    def _enveloped(self, data: Mapping[str, Any]) -> Answer:
        return as_json({"code": 200, "message": "success", "data": data})

    def _prediction(self, request: Request, job: Job, status: str) -> dict[str, Any]:
        address = f"{request.origin}/wavespeed/api/v3/predictions/{job.id}/result"
        return {
            "id": job.id,
            "model": job.model,
            "status": status,
            "outputs": [],
            "urls": {"get": address},
            "code": 0,
            "error": "",
        }


def _size(body: Mapping[str, Any]) -> str:
    if "size" in body:
        return str(body["size"]).replace("*", "x")
    if "image" in body and "resolution" not in body:
        return "1280x720"  # the shape of the picture
    return size_of(body["resolution"], body["aspect_ratio"])
