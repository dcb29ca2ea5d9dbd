"""xAI's Grok Imagine: a request id that answers 202 until the video is done."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_SHORT_SIDES: Final = {"480p": 480, "720p": 720, "1080p": 1080}
_RATIOS: Final = frozenset({"1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3"})
_EXTENSION: Final = range(2, 11)
_LENGTHS: Final = range(1, 16)
_MOST_REFERENCES: Final = 7


class Fake(FakeProvider):
    """Generations, edits and extensions."""

    mount = "xai"
    base_path = "/v1"
    routes = (
        ("POST", "/v1/videos/generations", "create"),
        ("POST", "/v1/videos/edits", "create"),
        ("POST", "/v1/videos/extensions", "create"),
        ("GET", "/v1/videos/{id}", "poll"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, "resource-exhausted", "Too many requests."),
        "server_error": (500, "internal", "Internal error."),
        "auth": (401, "unauthenticated", "Invalid API key."),
        "invalid": (400, "invalid-argument", "Invalid request."),
        "moderation_submit": (400, "invalid-argument", "The prompt violates our content policy."),
        "retired": (404, "not-found", "The model does not exist."),
        "lost": (404, "not-found", "The request does not exist."),
    }
    example: ClassVar[Mapping[str, Any]] = {"model": "grok-imagine-video-1.5", "size": "1280x720"}
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "concurrency": "its sheet knows only the rate limit",
        "funds": "its sheet names no answer for it",
        "out_of_memory": "it has no word for it",
        "cancelled": "it has no such state",
        "completed_with_error": "done carries no error",
    }

    def asked(self, request: Request) -> Asked:
        """Read a create; an edit keeps length and shape of its video, an extension the shape."""
        body, kind = request.fields, request.path.rpartition("/")[2]
        if request.headers["content-type"] != "application/json":
            raise ValueError("only JSON")
        images = [body[name] for name in ("image", "last_frame") if name in body]
        for file in [*images, *body.get("reference_images", ())]:
            if not file["url"].startswith(("https://", "data:image/")):
                raise ValueError("an image is an address or a data URI")
        fields = {
            "edits": {"video"},
            "extensions": {"video", "duration"},
            "generations": {"duration", "aspect_ratio", "resolution"},
        }[kind]
        if unknown := {"video", "duration", "aspect_ratio", "resolution"} & body.keys() - fields:
            raise ValueError(f"{kind} takes no {unknown}")
        if "video" in fields and not body["video"]["url"].startswith(("https://", "data:video/")):
            raise ValueError("a video is an address or a data URI")
        seconds = body["duration"] if "duration" in fields else 4
        if type(seconds) is not int or seconds not in (_EXTENSION if kind == "extensions" else _LENGTHS):
            raise ValueError("duration")
        size = self._size(body) if kind == "generations" else "1280x720"
        return Asked(prompt=body["prompt"], size=size, seconds=seconds, model=body["model"])

    async def created(self, request: Request, job: Job) -> Answer:
        """Nothing but the id."""
        return as_json({"request_id": job.id})

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """202 while it is pending, at first without a body."""
        if state == "queued":
            return Answer(202)
        if state == "running":
            return as_json({"status": "pending", "progress": 40, "model": job.model}, 202)
        shown: dict[str, Any] = {
            "status": state,
            "model": job.model,
            "usage": {"cost_in_usd_ticks": 5_600_000_000},
        }
        match state:
            case "completed":
                shown["status"] = "done"
                url = f"{request.foreign}/{job.id}"
                shown["video"] = {"url": url, "duration": 4, "respect_moderation": True}
            case "completed_without_video":
                shown |= {"status": "done", "video": {"url": "", "respect_moderation": True}}
            case "moderation":
                shown |= {"status": "done", "video": {"url": "", "duration": 4, "respect_moderation": False}}
            case "failed":
                shown["error"] = {"code": "internal", "message": "The generation failed."}
            case "unknown_state":
                shown["status"] = "hibernating"
        return as_json(shown)

    def error(self, status: int, code: Any, message: str) -> Answer:
        """One of its two shapes by the status: a text beside the code, or an object."""
        if status in {400, 404}:
            return as_json({"code": code, "error": message}, status)
        return as_json({"error": {"message": message, "type": "error", "param": None, "code": code}}, status)

    def _size(self, body: Mapping[str, Any]) -> str:
        references = len(body.get("reference_images", ()))
        side = _SHORT_SIDES[body["resolution"]]
        if references > _MOST_REFERENCES or (references and side > _SHORT_SIDES["720p"]):
            raise ValueError("reference_images")
        if body["aspect_ratio"] not in _RATIOS:
            raise ValueError("aspect_ratio")
        across, down = (int(part) for part in body["aspect_ratio"].split(":"))
        short = min(across, down)
        return f"{side * across // short // 2 * 2}x{side * down // short // 2 * 2}"
