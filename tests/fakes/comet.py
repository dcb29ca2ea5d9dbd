"""CometAPI's unified videos: OpenAI's shape with the state `error` and an address in `video_url`."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.testing_http import Request
from providers.testing_jobs import Job
from providers.testing_openai import OpenAIFake
from providers.testing_provider import Asked

_FIELDS: Final = frozenset({"model", "prompt", "seconds", "size"})
_NO_STATE: Final = "it has no such state"


class Fake(OpenAIFake):
    """Many vendors' models behind OpenAI's create."""

    mount = "comet"
    types = ()
    upstream_type = "openai_compatible"
    options: ClassVar[Mapping[str, Any]] = {"dialect": "comet"}
    honours_keys = False
    routes = (
        ("POST", "/videos", "create"),
        ("GET", "/videos/{id}", "poll"),
        ("GET", "/videos/{id}/content", "own_content"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        name: said for name, said in OpenAIFake.errors.items() if name not in {"funds", "concurrency"}
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "funds": "its sheet names no answer for it",
        "concurrency": "its sheet knows only the rate limit",
        "out_of_memory": "it has no word for it",
        "cancelled": _NO_STATE,
        "expired": _NO_STATE,
    }

    def asked(self, request: Request) -> Asked:
        """Read a form with the four fields that all its models share, and what a model adds."""
        if not request.headers["content-type"].startswith("multipart/form-data"):
            raise ValueError("only multipart/form-data")
        if unknown := request.fields.keys() - _FIELDS - {"holographic"}:
            raise ValueError(f"unknown: {sorted(unknown)}")
        return super().asked(request)

    def job_id(self) -> str:
        """An id as the model's vendor makes them: long, and not fit for an address as it is."""
        return f"{super().job_id()}{'x' * 200}+a=="

    def video(self, request: Request, job: Job, state: str) -> dict[str, Any]:
        """A video object with its id twice; a job that broke ends with `error`."""
        video = super().video(request, job, state)
        if "url" in video:
            video["video_url"] = video.pop("url")
        if video["status"] == "failed":
            video["status"] = "error"
        return video | {"task_id": job.id}
