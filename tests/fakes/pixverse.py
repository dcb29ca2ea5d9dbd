"""PixVerse: images are uploaded first, errors are codes in HTTP 200, and a trace id seen again is the same answer."""

import re
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.sizes import size_of
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KINDS: Final = ("text", "img", "transition", "fusion", "extend")
_QUALITIES: Final = {"360p", "540p", "720p", "1080p"}
_STATES: Final = {
    "queued": 9,
    "running": 5,
    "completed": 1,
    "completed_without_video": 1,
    "expired": 6,
    "moderation": 7,
    "failed": 8,
    "unknown_state": 77,
}
_NO_LIMIT: Final = "its sheet names no answer for too many requests"


class Fake(FakeProvider):
    """PixVerse's platform API."""

    mount = "pixverse"
    routes = (
        *(("POST", f"/openapi/v2/video/{kind}/generate", "create") for kind in _KINDS),
        ("GET", "/openapi/v2/video/result/{id}", "poll"),
        ("POST", "/openapi/v2/image/upload", "upload_image"),
        ("POST", "/openapi/v2/media/upload", "upload_media"),
        ("GET", "/openapi/v2/account/balance", "balance"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "server_error": (200, 500069, "The system is currently experiencing high load."),
        "auth": (200, 10005, "Invalid API key."),
        "funds": (200, 500090, "Insufficient balance."),
        "invalid": (200, 400017, "Invalid parameter."),
        "moderation_submit": (200, 500063, "The prompt contains sensitive information."),
        "concurrency": (200, 500044, "Reached the limit for concurrent generations."),
    }
    credential_header = ("api-key", "")
    example: ClassVar[Mapping[str, Any]] = {
        "model": "v6",
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "size": "1280x720",
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "rate_limited": _NO_LIMIT,
        "rate_limited_bare": _NO_LIMIT,
        "rate_limited_poll": _NO_LIMIT,
        "business_error": _NO_LIMIT,
        "retired": "a model it does not know is an invalid parameter",
        "lost": "its sheet names no answer for an id that it does not know",
        "cancelled": "it has no such state",
        "out_of_memory": "it has no word for it",
        "completed_with_error": "status 1 carries no error",
    }
    honours_keys = True

    async def __call__(self, request: Request, path: str) -> Answer:
        """Serve one request, which must carry a trace id."""
        if not _UUID.fullmatch(request.headers.get("ai-trace-id", "")):
            return self.error_of("invalid", "Ai-trace-id must be a UUID")
        return await super().__call__(request, path)

    def job_id(self) -> str:
        """Make a number."""
        return str(secrets.randbelow(10**15))

    def asked(self, request: Request) -> Asked:
        """Read a create; what an image or a video gives the shape has no aspect ratio."""
        body = request.fields
        for field in (
            "duration",
            "img_id",
            "first_frame_img",
            "last_frame_img",
            "source_video_id",
            "video_media_id",
        ):
            if type(body.get(field, 0)) is not int:
                raise TypeError(f"{field} must be an integer")
        if body["quality"] not in _QUALITIES:
            raise ValueError("quality is unknown")
        kind = request.path.split("/")[-2]
        self._check_media(kind, body)
        shaped = kind in {"text", "fusion"}
        return Asked(
            prompt=body["prompt"],
            size=size_of(body["quality"], body["aspect_ratio"] if shaped else "16:9"),
            seconds=body["duration"],
            model=body["model"],
            key=request.headers["ai-trace-id"],
        )

    def _check_media(self, kind: str, body: Mapping[str, Any]) -> None:
        match kind:
            case "img":
                body["img_id"]
            case "transition":
                _ = body["first_frame_img"], body["last_frame_img"]
            case "fusion":
                for reference in body["image_references"]:
                    if reference["type"] not in {"subject", "background"} or not reference["ref_name"]:
                        raise ValueError("image_references need a type and a name")
                    reference["img_id"] + 0
            case "extend":
                if ("source_video_id" in body) == ("video_media_id" in body):
                    raise ValueError("choose either source_video_id or video_media_id")

    async def created(self, request: Request, job: Job) -> Answer:
        """The id and what it costs."""
        return self._ok({"video_id": int(job.id), "credits": 45})

    def without_id(self) -> Answer:
        """Success without an id."""
        return self._ok({})

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The video with its state, a number."""
        url = f"{request.foreign}/{job.id}" if state == "completed" else ""
        return self._ok({"id": int(job.id), "status": _STATES[state], "url": url, "prompt": job.prompt})

    def missing(self, request: Request) -> Answer:
        """Answer for what is not there, as for any parameter that is wrong."""
        return self.error_of("invalid")

    def error(self, status: int, code: Any, message: str) -> Answer:
        """The envelope with another code than 0."""
        return as_json({"ErrCode": code, "ErrMsg": message, "Resp": None}, status)

    async def upload_image(self, request: Request) -> Answer:
        """Take the part `image`."""
        return self._uploaded(request, "image", "img_id")

    async def upload_media(self, request: Request) -> Answer:
        """Take the part `media`."""
        return self._uploaded(request, "media", "media_id")

    async def balance(self, request: Request) -> Answer:
        """The credits that are left."""
        return self._ok({"account_id": 1, "credit_monthly": 900, "credit_package": 0})

    def _uploaded(self, request: Request, part: str, name: str) -> Answer:
        files = request.files.get(part, [])
        if len(files) != 1 or not files[0].data:
            return self.error_of("invalid", f"{part} is missing")
        return self._ok({name: len(self.state.requests)})

    def _ok(self, value: Any) -> Answer:
        return as_json({"ErrCode": 0, "ErrMsg": "success", "Resp": value})
