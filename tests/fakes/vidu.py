"""Vidu's tasks: a path per kind of input, a price in credits from the start, callbacks whose head is signed."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from providers.sizes import size_of
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_IMAGES: Final = {
    "text2video": (0, 0),
    "img2video": (1, 1),
    "start-end2video": (2, 2),
    "reference2video": (1, 7),
}
_RESOLUTIONS: Final = {"540p", "720p", "1080p", "2K"}
_RATIOS: Final = {"16:9", "9:16", "1:1", "4:3", "3:4"}
_STATES: Final = {
    "queued": "queueing",
    "running": "processing",
    "completed": "success",
    "completed_without_video": "success",
    "unknown_state": "hibernating",
}
_REASONS: Final = {
    "failed": "",
    "moderation": "CreationPolicyViolation",
    "cancelled": "UserCancelled",
}
_CREDITS_PER_SECOND: Final = 8


class Fake(FakeProvider):
    """Vidu's tasks. Their credential is a Token; what ended without a video has failed, a cancel too."""

    mount = "vidu"
    base_path = "/ent/v2"
    credential_header = ("authorization", "Token ")
    signs_callbacks = "head"
    routes = (
        *(("POST", f"/ent/v2/{kind}", "create") for kind in _IMAGES),
        ("GET", "/ent/v2/tasks/{id}/creations", "poll"),
        ("POST", "/ent/v2/tasks/{id}/cancel", "cancel"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, "TooManyRequests", "too many requests"),
        "concurrency": (429, "QuotaExceeded", "the concurrency is exceeded"),
        "server_error": (500, "", "internal error"),
        "auth": (401, "Unauthorized", "the token is invalid"),
        "funds": (400, "CreditInsufficient", "credits are not enough"),
        "invalid": (400, "FieldInvalid", "a field is invalid"),
        "moderation_submit": (400, "TaskPromptPolicyViolation", "the prompt violates the policy"),
        "retired": (400, "ModelUnavailable", "the model is not available"),
        "lost": (404, "TaskNotFound", "the task does not exist"),
        "too_late": (400, "BadRequest", "can not cancel"),
    }
    example: ClassVar[Mapping[str, Any]] = {"model": "viduq3-pro", "size": "1280x720", "seconds": 5}
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "its code is the HTTP status",
        "expired": "it has no such state",
        "out_of_memory": "it has no word for it",
        "completed_with_error": "success carries no error",
    }

    def asked(self, request: Request) -> Asked:
        """Read a create; the path says how many images belong to it."""
        body, kind = request.fields, request.path.rpartition("/")[2]
        least, most = _IMAGES[kind]
        images = body.get("images", [])
        if not least <= len(images) <= most or not all(
            image.startswith(("http", "data:image/")) for image in images
        ):
            raise ValueError("images are not valid")
        if any(name in body and type(body[name]) is not int for name in ("duration", "seed")):
            raise TypeError("duration and seed must be integers")
        if not 1 <= body["duration"] <= 16 or body["resolution"] not in _RESOLUTIONS:
            raise ValueError("duration or resolution is not valid")
        ratio = body.get("aspect_ratio", "16:9")
        if ratio not in _RATIOS or len(body.get("payload", "")) > 1_048_576:
            raise ValueError("aspect_ratio or payload is not valid")
        return Asked(
            prompt=body["prompt"],
            size=size_of(body["resolution"].lower(), ratio),
            seconds=body["duration"],
            model=body["model"],
            callback_url=body.get("callback_url"),
        )

    async def created(self, request: Request, job: Job) -> Answer:
        """The task, with its price."""
        shown = {"task_id": job.id, "state": "created", "model": job.model, "credits": _credits(job)}
        return as_json(shown | {"payload": job.fields.get("payload", "")})

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """A task and what it created."""
        return as_json(self._task(job, state, f"{request.foreign}/{job.id}"))

    async def cancel(self, request: Request) -> Answer:
        """Stop a task before it is scheduled, no later."""
        job = self.state.jobs.get(request.params["id"])
        if request.fields != {"id": request.params["id"]}:
            return self.error_of("invalid")
        if job is not None and self.state_of(job) != "queued":
            return self.error_of("too_late")
        return await super().cancel(request)

    async def cancelled(self, request: Request, job: Job) -> Answer:
        """Nothing."""
        return as_json({})

    def callback(self, job: Job) -> tuple[Mapping[str, str], bytes]:
        """The task once more; the head is signed with the key that made it, the body is not."""
        url = urlsplit(str(job.callback_url))
        date, nonce = formatdate(usegmt=True), secrets.token_hex(8)
        text = f"POST\n{url.path}\n{url.query}\nvidu\n{date}\nDate:{date}\nx-request-nonce:{nonce}\n"
        digest = hmac.new(self.credential.encode(), text.encode(), hashlib.sha256).digest()
        headers = {
            "date": date,
            "x-request-nonce": nonce,
            "x-hmac-algorithm": "hmac-sha256",
            "x-hmac-access-key": "vidu",
            "x-hmac-signed-headers": "Date;x-request-nonce",
            "x-hmac-signature": base64.b64encode(digest).decode(),
        }
        return headers, json.dumps(self._task(job, self.state_of(job), "")).encode()

    def error(self, status: int, code: Any, message: str) -> Answer:
        """The HTTP status as code, and the name of the error as reason."""
        error = {"code": status, "reason": code, "message": message, "metadata": {"trace_id": "t1"}}
        return as_json(error, status)

    def _task(self, job: Job, state: str, url: str) -> dict[str, Any]:
        made = [{"id": f"c{job.id}", "url": url, "cover_url": "", "watermarked_url": ""}]
        return {
            "id": job.id,
            "state": "failed" if state in _REASONS else _STATES[state],
            "err_code": _REASONS.get(state, ""),
            "credits": _credits(job),
            "payload": job.fields.get("payload", ""),
            "creations": made if state == "completed" else [],
        }


def _credits(job: Job) -> int:
    return _CREDITS_PER_SECOND * int(job.seconds)
