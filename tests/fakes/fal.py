"""fal's queue: every address is in the create's answer, and a failure shows on the result."""

import hashlib
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from providers.sizes import size_of
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_REQUEST: Final = "/{owner}/{app}/requests/{id}"
_QUEUE: Final = "what is over the limit waits in its queue"
_STATES: Final = {"queued": "IN_QUEUE", "running": "IN_PROGRESS", "unknown_state": "HIBERNATING"}
_KEY: Final = Ed25519PrivateKey.generate()


class Fake(FakeProvider):
    """fal's queue."""

    mount = "fal"
    routes = (
        ("GET", "/.well-known/jwks.json", "keys"),
        ("GET", _REQUEST + "/status", "poll"),
        ("GET", _REQUEST, "result"),
        ("PUT", _REQUEST + "/cancel", "cancel"),
        ("POST", "/{model*}", "create"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "server_error": (500, None, "Internal Server Error"),
        "auth": (401, None, "No user found for Key ID and Secret"),
        "funds": (403, None, "User is locked. Reason: Exhausted balance."),
        "invalid": (422, "missing", "field required"),
        "retired": (404, None, "Application not found"),
        "lost": (404, None, "Request not found"),
        "failed": (500, "runner_server_error", "Runner server error"),
        "moderation": (422, "content_policy_violation", "The content was flagged by a content checker."),
        "completed_with_error": (504, "startup_timeout", "Startup timed out"),
    }
    credential = "conformance-key-id:conformance-key-secret"
    credential_header = ("authorization", "Key ")
    options: ClassVar[Mapping[str, Any]] = {"jwks_url": "{foreign}/fal/.well-known/jwks.json"}
    example: ClassVar[Mapping[str, Any]] = {
        "model": "xai/grok-imagine-video/text-to-video",
        "size": "1280x720",
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "rate_limited": _QUEUE,
        "rate_limited_bare": _QUEUE,
        "rate_limited_poll": _QUEUE,
        "concurrency": _QUEUE,
        "business_error": "it tells errors by the HTTP status",
        "moderation_submit": "it moderates after the create",
        "cancelled": "it has no such state",
        "expired": "it has no such state",
        "out_of_memory": "it has no word for it",
    }
    signs_callbacks = "body"

    def authorized(self, request: Request, key: str) -> bool:
        """Check the key; the public keys are for everyone."""
        return request.path.endswith("jwks.json") or super().authorized(request, key)

    def asked(self, request: Request) -> Asked:
        """Read a create; Veo's endpoints write the length as 4s, the others as a number."""
        body = request.fields
        if ("veo" in request.params["model"]) != str(body["duration"]).endswith("s"):
            raise ValueError("duration has the wrong form")
        return Asked(
            prompt=body["prompt"],
            size=size_of(body["resolution"], body["aspect_ratio"]),
            seconds=str(body["duration"]).rstrip("s"),
            model=request.params["model"],
            callback_url=request.query.get("fal_webhook"),
        )

    async def created(self, request: Request, job: Job) -> Answer:
        """The id and the addresses, which leave out what follows owner and app."""
        state = {"gateway_request_id": job.id, "status": "IN_QUEUE", "queue_position": 0}
        return as_json(_addresses(request, job) | state)

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The status: COMPLETED says nothing about success."""
        status: dict[str, Any] = {**_addresses(request, job), "status": _STATES.get(state, "COMPLETED")}
        if state == "queued":
            status["queue_position"] = 0
        else:
            status["logs"] = [] if request.query.get("logs") in {"1", "true"} else None
        if status["status"] == "COMPLETED":
            status["metrics"] = {"inference_time": 12.5}
        if state == "completed_with_error":
            status |= {"error": "Startup timed out", "error_type": "startup_timeout"}
        return as_json(status, 202 if state in {"queued", "running"} else 200)

    async def result(self, request: Request) -> Answer:
        """The result, or the error that the request ended with."""
        job = self.state.jobs.get(request.params["id"])
        if job is None:
            return self.missing(request)
        state = self.state_of(job)
        if state in {"failed", "moderation", "completed_with_error"}:
            return self.error_of(state)
        if state == "completed":
            return as_json({"video": {"url": f"{request.foreign}/{job.id}", "content_type": "video/mp4"}})
        return as_json({"seed": 1})

    async def cancelled(self, request: Request, job: Job) -> Answer:
        """Whether the request could still be stopped."""
        return as_json({"status": "CANCELLATION_REQUESTED"}, 202)

    def error(self, status: int, code: Any, message: str) -> Answer:
        """An error of the model as a list, one of the infrastructure as a text with a type."""
        if status == 422:
            return as_json({"detail": [{"loc": ["body"], "msg": message, "type": code}]}, status)
        if code is None:
            return as_json({"detail": message}, status)
        return as_json({"detail": message, "error_type": code}, status, x_fal_error_type=code)

    async def keys(self, request: Request) -> Answer:
        """The public key, as a JSON Web Key Set."""
        public = _KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        x = urlsafe_b64encode(public).rstrip(b"=").decode()
        return as_json({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]})

    def callback(self, job: Job) -> tuple[Mapping[str, str], bytes]:
        """A signed report."""
        body = json.dumps({"request_id": job.id, "gateway_request_id": job.id, "status": "OK"}).encode()
        stamp = str(int(time.time()))
        signed = "\n".join((job.id, "user_1", stamp, hashlib.sha256(body).hexdigest()))
        return {
            "x-fal-webhook-request-id": job.id,
            "x-fal-webhook-user-id": "user_1",
            "x-fal-webhook-timestamp": stamp,
            "x-fal-webhook-signature": _KEY.sign(signed.encode()).hex(),
        }, body


def _addresses(request: Request, job: Job) -> dict[str, Any]:
    owner, app = job.model.split("/")[:2]
    base = f"{request.origin}/fal/{owner}/{app}/requests/{job.id}"
    own = {"status_url": f"{base}/status", "cancel_url": f"{base}/cancel"}
    return {"request_id": job.id, "response_url": base, **own}
