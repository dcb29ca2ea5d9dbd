"""Veo on Vertex AI: a long-running operation that is read by POST and carries the video inside."""

import base64
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_MODEL: Final = "/v1/projects/{project}/locations/{location}/publishers/google/models/{model}"
_SHORT_SIDES: Final = {"720p": 720, "1080p": 1080, "4k": 2160}
_FOREIGN: Final = "the video lies inside the answer"


class Fake(FakeProvider):
    """Veo on Vertex AI."""

    mount = "google_vertex"
    inline = True
    base_path = "/v1"
    routes = (
        ("POST", "/token", "token"),
        ("POST", _MODEL + ":predictLongRunning", "create"),
        ("POST", _MODEL + ":fetchPredictOperation", "poll"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, "RESOURCE_EXHAUSTED", "Quota exceeded for online prediction requests."),
        "server_error": (500, "INTERNAL", "Internal error encountered."),
        "auth": (401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
        "invalid": (400, "INVALID_ARGUMENT", "Unsupported value."),
        "retired": (404, "NOT_FOUND", "Publisher model was not found."),
        "lost": (404, "NOT_FOUND", "The operation was not found."),
    }
    options: ClassVar[Mapping[str, Any]] = {"project": "acme", "location": "us-central1"}
    example: ClassVar[Mapping[str, Any]] = {"model": "veo-3.1-fast-generate-001", "size": "1280x720"}
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "concurrency": "it is the same answer as the rate limit",
        "funds": "its sheet names no answer for it",
        "moderation_submit": "it moderates in the operation",
        "unknown_state": "its state is a truth value",
        "out_of_memory": "it has no word for it",
        "cancelled": "it has no such state",
        "expired": "it has no such state",
        "completed_with_error": "an operation has a response or an error",
        "foreign_url": _FOREIGN,
        "foreign_url_field": _FOREIGN,
        "expired_url": _FOREIGN,
        "expired_foreign_url": _FOREIGN,
        "private_redirect": _FOREIGN,
    }

    def asked(self, request: Request) -> Asked:
        """Read a create."""
        instance, parameters = request.fields["instances"][0], request.fields["parameters"]
        across, down = (int(part) for part in parameters["aspectRatio"].split(":"))
        side = _SHORT_SIDES[parameters["resolution"]]
        if (source := instance.get("video")) is not None:
            if not base64.b64decode(source["bytesBase64Encoded"]) or parameters["durationSeconds"] != 7:
                raise ValueError("an extension adds 7 seconds to a video")
            if instance.keys() & {"image", "lastFrame", "referenceImages"}:
                raise ValueError("an extension takes no image")
        short = min(across, down)
        return Asked(
            prompt=instance["prompt"],
            size=f"{side * across // short}x{side * down // short}",
            seconds=parameters["durationSeconds"],
            model=request.params["model"],
        )

    def authorized(self, request: Request, key: str) -> bool:
        """Check the access token, which is bought without one."""
        return request.path.endswith("/token") or super().authorized(request, key)

    async def token(self, request: Request) -> Answer:
        """Sell an access token for an assertion."""
        if request.fields.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return as_json({"error": "unsupported_grant_type"}, 400)
        return as_json(
            {"access_token": self.state.config.api_key, "expires_in": 3600, "token_type": "Bearer"}
        )

    async def created(self, request: Request, job: Job) -> Answer:
        """The operation's name."""
        return as_json({"name": _operation(job)})

    def id_in(self, request: Request) -> str:
        """The body names the operation."""
        return str(request.fields["operationName"]).rpartition("/")[2]

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The operation."""
        operation: dict[str, Any] = {"name": _operation(job), "done": state not in {"queued", "running"}}
        if state == "failed":
            operation["error"] = {"code": 13, "message": "Video generation failed."}
        elif state == "moderation":
            reasons = ["The video was filtered. Support codes: 42"]
            operation["response"] = {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": reasons}
        elif state == "completed_without_video":
            operation["response"] = {}
        elif state == "completed":
            text = base64.b64encode(await self.file(job)).decode()
            operation["response"] = {"videos": [{"bytesBase64Encoded": text, "mimeType": "video/mp4"}]}
        return as_json(operation)

    def error(self, status: int, code: Any, message: str) -> Answer:
        """google.rpc's envelope."""
        return as_json({"error": {"code": status, "message": message, "status": code}}, status)


def _operation(job: Job) -> str:
    return f"{job.path.removeprefix('/google_vertex/v1/').partition(':')[0]}/operations/{job.id}"
