"""SGLang Diffusion's subset of /v1/videos: JSON or a form, whole seconds, jobs read in the list, no way to stop one."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_openai import OpenAIFake
from providers.testing_provider import Asked

_FOUND: Final = 200
_ABSENT: Final = 404
_NOT_ITS_WORDS: Final = frozenset({"audio", "resolution", "aspect_ratio", "service_tier", "n"})
_OPEN: Final = "a server of one's own: it takes no money and moderates nothing"


class Fake(OpenAIFake):
    """A model on one's own server."""

    mount = "sglang"
    types = ()
    upstream_type = "openai_compatible"
    options: ClassVar[Mapping[str, Any]] = {"dialect": "sglang"}
    honours_keys = False
    routes = (
        ("GET", "/models", "models"),
        ("POST", "/videos", "create"),
        ("GET", "/videos", "list"),
        ("GET", "/videos/{id}/content", "own_content"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, None, "Too many requests."),
        "server_error": (500, None, "Internal server error."),
        "auth": (401, None, "Unauthorized"),
        "invalid": (422, None, "Input should be a valid integer."),
        "lost": (404, None, "Video not found."),
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "funds": _OPEN,
        "moderation": _OPEN,
        "moderation_submit": _OPEN,
        "concurrency": "what is over its limit waits in its queue",
        "retired": "it serves the one model it was started with",
        "out_of_memory": "it has no word for it",
        "cancelled": "its sheet names no such state",
        "expired": "its sheet names no such state",
    }

    def asked(self, request: Request) -> Asked:
        """Read a create: in JSON the length is a number."""
        fields = request.fields
        as_form = request.headers["content-type"].startswith("multipart/form-data")
        if type(fields["seconds"]) is not (str if as_form else int):
            raise TypeError("seconds: Input should be a valid integer.")
        if wrong := fields.keys() & _NOT_ITS_WORDS:
            raise ValueError(f"unknown: {sorted(wrong)}")
        if "fps" in fields and int(fields["num_frames"]) != int(fields["seconds"]) * int(fields["fps"]):
            raise ValueError("num_frames is not what seconds and fps make")
        return super().asked(request)

    async def list(self, request: Request) -> Answer:
        """The jobs, the newest of them as a poll would show it."""
        mine = [job for job in self.state.jobs.values() if job.mount == self.mount]
        page = await super().list(request)
        if not mine:
            return page
        request.params["id"] = mine[-1].id
        newest = await self.poll(request)
        if newest.status == _ABSENT:
            return await super().list(request)
        try:
            video = json.loads(newest.body)
        except ValueError:  # dropped or cut off
            return newest
        if newest.status != _FOUND:
            return newest
        listed = json.loads(page.body)
        listed["data"] = [video if each["id"] == video["id"] else each for each in listed["data"]]
        return as_json(listed)

    def video(self, request: Request, job: Job, state: str) -> dict[str, Any]:
        """A video object with measures and the place of the file on its disk."""
        video = super().video(request, job, state)
        done = video["status"] == "completed"
        path = f"outputs/{job.id}.mp4" if done else None
        return video | {"file_path": path, "inference_time_s": 1.5, "peak_memory_mb": 21_000.0}

    def error(self, status: int, code: Any, message: str) -> Answer:
        """FastAPI's own shape."""
        return as_json({"detail": message}, status)
