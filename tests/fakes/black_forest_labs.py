"""Black Forest Labs' FLUX 3 video: a strict create, and a regional address to poll."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_SHORT_SIDES: Final = {"hd": 720, "fhd": 1080}
_RATIOS: Final = frozenset({"21:9", "2:1", "16:9", "4:3", "1:1", "3:4", "9:16"})
_LENGTHS: Final = range(5, 21)
_LONGEST_CONTINUATION: Final = 15
_MEDIA: Final = {"t2v": set[str](), "i2v": {"keyframes"}, "v2v": {"start_video"}}
_FIELDS: Final = frozenset(
    {
        "mode",
        "prompt",
        "aspect_ratio",
        "resolution",
        "duration",
        "generate_audio",
        "keyframes",
        "start_video",
        "draft",
        "batch",
        "version",
        "safety_tolerance",
        "webhook_url",
        "webhook_secret",
    }
)
_MOST_KEYFRAMES: Final = 10
_STATES: Final[Mapping[str, Mapping[str, Any]]] = {
    "queued": {"status": "Pending"},
    "running": {"status": "Pending", "progress": 0.4},
    "completed_without_video": {"status": "Ready", "result": {}},
    "failed": {"status": "Error", "details": "The generation failed."},
    "moderation": {
        "status": "Content Moderated",
        "details": {"Moderation Reasons": ["Violence", "Derivative"]},
    },
    "unknown_state": {"status": "Hibernating"},
}
_NO_STATE: Final = "it has no such state"


class Fake(FakeProvider):
    """One endpoint for all modes."""

    mount = "black_forest_labs"
    credential_header = ("x-key", "")
    signs_callbacks = "body"
    routes = (("POST", "/v1/flux-3-video", "create"), ("GET", "/region/v1/get_result", "poll"))
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, None, "Too many requests."),
        "concurrency": (429, None, "You have too many active tasks."),
        "server_error": (503, None, "Service unavailable."),
        "auth": (403, None, "Not authenticated."),
        "funds": (402, None, "Insufficient credits."),
        "invalid": (422, None, "Invalid request."),
        "retired": (404, None, "Not Found"),
        "lost": (404, None, "Not Found"),
    }
    example: ClassVar[Mapping[str, Any]] = {"model": "flux-3-video", "size": "1280x720", "seconds": 5}
    cannot: ClassVar[Mapping[str, str]] = {
        "provider_options": "it refuses a field that it does not know",
        "business_error": "it tells errors by the HTTP status",
        "moderation_submit": "it moderates the request in the task",
        "out_of_memory": "it has no word for it",
        "cancelled": _NO_STATE,
        "expired": _NO_STATE,
        "completed_with_error": "Ready carries no error",
    }

    def asked(self, request: Request) -> Asked:
        """Read a create: what does not belong to the mode is refused."""
        body = request.fields
        media = _MEDIA[body["mode"]]
        if unknown := body.keys() - (_FIELDS - {"keyframes", "start_video"} | media):
            raise ValueError(f"extra fields not permitted: {sorted(unknown)}")
        if not media <= body.keys():
            raise ValueError(f"{body['mode']} needs {media}")
        seconds, longest = body["duration"], _LONGEST_CONTINUATION if "start_video" in body else _LENGTHS[-1]
        if type(seconds) is not int or seconds not in _LENGTHS or seconds > longest:
            raise ValueError("duration")
        if body["aspect_ratio"] not in _RATIOS or not isinstance(body.get("generate_audio", True), bool):
            raise ValueError("aspect_ratio or generate_audio")
        self._check_keyframes(body.get("keyframes", "one"))
        across, down = (int(part) for part in body["aspect_ratio"].split(":"))
        side, short = _SHORT_SIDES[body["resolution"]], min(across, down)
        return Asked(
            prompt=body["prompt"],
            size=f"{side * across // short // 2 * 2}x{side * down // short // 2 * 2}",
            seconds=seconds,
            model="flux-3-video",
            callback_url=body.get("webhook_url"),
        )

    async def created(self, request: Request, job: Job) -> Answer:
        """The id, where to read it, and what it costs in credits."""
        url = f"{request.origin}/{self.mount}/region/v1/get_result?id={job.id}"
        return as_json({"id": job.id, "polling_url": url, "cost": 85.0})

    def id_in(self, request: Request) -> str:
        """The query names the task."""
        return request.query["id"]

    def missing(self, request: Request) -> Answer:
        """A state of its own."""
        return as_json({"id": self.id_in(request), "status": "Task not found", "result": None})

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The task."""
        task = {"id": job.id, "result": None, "progress": None, "details": None, **_STATES.get(state, {})}
        if state == "completed":
            task |= {"status": "Ready", "result": {"sample": f"{request.foreign}/{job.id}"}}
        return as_json(task)

    def callback(self, job: Job) -> tuple[Mapping[str, str], bytes]:
        """The body of a poll, signed with the request's own secret."""
        body = json.dumps(
            {"id": job.id, "status": "Ready", "result": {"sample": "https://x.example"}}
        ).encode()
        secret = str(job.fields["webhook_secret"]).encode()
        return {"x-bfl-signature": "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()}, body

    def error(self, status: int, code: Any, message: str) -> Answer:
        """Nothing but what went wrong; of a field that is wrong, a list."""
        unfit = [{"loc": ["body"], "msg": message, "type": "value_error"}]
        return as_json({"detail": unfit if status == 422 else message}, status)

    def _check_keyframes(self, keyframes: Any) -> None:
        """One picture, a list of them, or a list of [second, picture]."""
        pictures = [keyframes] if isinstance(keyframes, str) else keyframes
        if not 1 <= len(pictures) <= _MOST_KEYFRAMES:
            raise ValueError("keyframes")
        if not all(isinstance(one, str) or isinstance(one[0], int | float) for one in pictures):
            raise ValueError("keyframes")
