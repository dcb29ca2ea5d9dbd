"""vLLM-Omni's /v1/videos: forms only, its own words for sound and frames, a DELETE that aborts."""

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.testing_http import Request
from providers.testing_jobs import Job
from providers.testing_openai import OpenAIFake
from providers.testing_provider import Asked

_NOT_ITS_WORDS: Final = frozenset({"audio", "resolution", "aspect_ratio", "service_tier", "n"})
_NO_STATE: Final = "it has no such state"
_OPEN: Final = "a server of one's own: it takes no money and moderates nothing"


class Fake(OpenAIFake):
    """One model on one's own server."""

    mount = "vllm_omni"
    types = ()
    upstream_type = "openai_compatible"
    options: ClassVar[Mapping[str, Any]] = {"dialect": "vllm_omni"}
    honours_keys = False
    routes = (
        ("POST", "/videos", "create"),
        ("GET", "/videos", "list"),
        ("GET", "/videos/{id}", "poll"),
        ("DELETE", "/videos/{id}", "delete"),
        ("GET", "/videos/{id}/content", "own_content"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, 429, "Too many requests."),
        "server_error": (500, 500, "Internal server error."),
        "auth": (401, 401, "Unauthorized"),
        "invalid": (400, 400, "Invalid form data."),
        "lost": (404, 404, "Video not found."),
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "funds": _OPEN,
        "moderation": _OPEN,
        "moderation_submit": _OPEN,
        "concurrency": "what is over its limit waits in its queue",
        "retired": "it serves the one model it was started with",
        "out_of_memory": "it has no word for it",
        "cancelled": _NO_STATE,
        "expired": _NO_STATE,
        "foreign_url_field": "it names no address",
    }

    def asked(self, request: Request) -> Asked:
        """Read a form. The frames are one, unless they are said."""
        fields = request.fields
        if not request.headers["content-type"].startswith("multipart/form-data"):
            raise ValueError("only multipart/form-data")
        if wrong := fields.keys() & _NOT_ITS_WORDS:
            raise ValueError(f"unknown: {sorted(wrong)}")
        frames, fps = int(fields.get("num_frames", 1)), int(fields.get("fps", 24))
        if "fps" in fields and frames != round(float(fields["seconds"]) * fps):
            raise ValueError("num_frames is not what seconds and fps make")
        if fields.get("generate_sound", "true") not in {"true", "false"}:
            raise ValueError("generate_sound")
        return super().asked(request)

    def job_id(self) -> str:
        """An id of its own form."""
        return f"video_gen_{secrets.token_hex(16)}"

    def video(self, request: Request, job: Job, state: str) -> dict[str, Any]:
        """A video object with measures, whose error code is a number."""
        video = super().video(request, job, state)
        if video["error"]:
            video["error"] = {**video["error"], "code": 500}
        return video | {"media_type": "video/mp4", "inference_time_s": 1.5, "peak_memory_mb": 21_000.0}
