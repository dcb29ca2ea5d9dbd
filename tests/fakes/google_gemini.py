"""Gemini Omni by the Interactions API: an interaction in the background, its video a file that becomes active."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.contract import ErrorKind
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_SHORT_SIDES: Final = {"360p": 360, "720p": 720, "1080p": 1080, "4k": 2160}
_TAKES: Final = {
    "text_to_video": set[str](),
    "image_to_video": {"image"},
    "reference_to_video": {"image"},
    "edit": {"video", "image"},
    "extend": {"video"},
}
_STATUSES: Final = {"running": "in_progress", "moderation": "completed", "unknown_state": "hibernating"}
_REFUSAL: Final = {"type": "text", "text": "I cannot make this video: it may violate the usage guidelines."}


class Fake(FakeProvider):
    """Interactions and Files."""

    mount = "google_gemini"
    credential_header = ("x-goog-api-key", "")
    routes = tuple(
        route
        for version in ("v1beta", "v1")
        for route in (
            ("POST", f"/{version}/interactions", "create"),
            ("GET", f"/{version}/interactions/{{id}}", "poll"),
            ("POST", f"/{version}/interactions/{{id}}/cancel", "cancel"),
            ("GET", f"/{version}/files/{{file}}", "show_file"),
            ("GET", f"/{version}/files/{{file}}:download", "download"),
        )
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, "RESOURCE_EXHAUSTED", "Quota exceeded."),
        "server_error": (500, "INTERNAL", "An internal error has occurred."),
        "auth": (403, "PERMISSION_DENIED", "The API key may not be used here."),
        "invalid": (400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
        "retired": (404, "NOT_FOUND", "The model is not found."),
        "lost": (404, "NOT_FOUND", "The interaction is not found."),
    }
    kinds: ClassVar[Mapping[str, ErrorKind]] = {"completed_without_video": ErrorKind.MODERATION_BLOCKED}
    example: ClassVar[Mapping[str, Any]] = {"model": "gemini-omni-1.2-flash", "size": "1280x720"}
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "concurrency": "it is the same answer as the rate limit",
        "funds": "a create has no such answer; the state budget_exceeded is tested apart",
        "moderation_submit": "it moderates in the interaction",
        "out_of_memory": "it has no word for it",
        "expired": "it has no such state",
        "completed_with_error": "completed carries no error",
    }

    def __init__(self) -> None:
        self._processing: set[str] = set()

    def job_id(self) -> str:
        """Files have names of small letters and digits."""
        return super().job_id().replace("-", "")

    def asked(self, request: Request) -> Asked:
        """Read a create; an edit keeps the shape and length of its source."""
        body = request.fields
        if body["background"] is not True or body["store"] is not True:
            raise ValueError("only interactions in the background that are stored can be read later")
        task, form = body["generation_config"]["video_config"]["task"], body["response_format"]
        given = _blocks(body["input"])
        blocks = {block["type"] for block in given}
        chained = {"video"} if body.get("previous_interaction_id") else set()
        if form["type"] != "video" or not blocks - {"text"} <= _TAKES[task]:
            raise ValueError(f"{task} does not take {sorted(blocks)}")
        if task != "text_to_video" and not (blocks | chained) & _TAKES[task]:
            raise ValueError(f"{task} needs a file")
        if any("data" in block and not block.get("mime_type") for block in given):
            raise ValueError("data needs mime_type")
        if form["delivery"] != "uri":
            raise ValueError("this video is too large to be delivered inline")
        kept = {"duration": "4s", "aspect_ratio": "16:9"} if task == "edit" else {}
        duration, ratio = (re.fullmatch(r"(\d+)s", (kept | form)["duration"]), (kept | form)["aspect_ratio"])
        if duration is None:
            raise ValueError("duration is written 8s")
        across, down = {"16:9": (16, 9), "9:16": (9, 16)}[ratio]
        side = _SHORT_SIDES[form["resolution"]]
        return Asked(
            prompt=next(block["text"] for block in given if block["type"] == "text"),
            size=f"{side * across // min(across, down)}x{side * down // min(across, down)}",
            seconds=duration[1],
            model=body["model"],
            callback_url=body.get("webhook_config", {}).get("uris", [None])[0],
        )

    async def created(self, request: Request, job: Job) -> Answer:
        """The interaction in its first state."""
        return as_json(self._interaction(job, "queued"))

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The interaction; its video lies among the steps."""
        status = "completed" if state.startswith("completed") else _STATUSES.get(state, state)
        shown = self._interaction(job, status)
        if state == "failed":
            shown["errors"] = [{"code": "type.googleapis.com/internal", "message": "The generation failed."}]
        if state == "moderation":
            shown["steps"] = [{"type": "model_output", "content": [_REFUSAL]}]
        if state == "completed":
            video = {"type": "video", "mime_type": "video/mp4", **self._video(request, job)}
            text = {"type": "text", "text": "Here is the video."}
            shown["steps"] = [{"type": "thought"}, {"type": "model_output", "content": [text, video]}]
        return as_json(shown)

    async def cancelled(self, request: Request, job: Job) -> Answer:
        """The interaction."""
        return as_json(self._interaction(job, "cancelled"))

    async def show_file(self, request: Request) -> Answer:
        """The file's record; the first reading of a prompt that says so finds it still processing."""
        job = self.state.jobs.get(request.params["file"])
        if job is None:
            return _file_error(404, "NOT_FOUND")
        processing = "[processing]" in job.prompt and job.id not in self._processing
        self._processing.add(job.id)
        state = "PROCESSING" if processing else "FAILED" if "[file failed]" in job.prompt else "ACTIVE"
        record = {"name": f"files/{job.id}", "mimeType": "video/mp4", "state": state}
        return as_json(
            record | ({"error": {"code": 13, "message": "Lost a disk."}} if state == "FAILED" else {})
        )

    async def download(self, request: Request) -> Answer:
        """The file itself, here or by a redirect."""
        job = self.state.jobs.get(request.params["file"])
        if job is None or request.query.get("alt") != "media":
            return _file_error(404, "NOT_FOUND")
        fault = self.state.strike("content", job.faults, job.id)
        if fault in {"foreign_url", "expired_foreign_url"}:
            return Answer(302, headers={"location": f"{request.foreign}/{job.id}"})
        if fault == "expired_url":
            return _file_error(403, "PERMISSION_DENIED")
        self.state.calls["content"] += 1
        return await self.content(job, fault)

    def error(self, status: int, code: Any, message: str) -> Answer:
        """Interactions have a text as code, as the official client wants it; files google.rpc's envelope."""
        return as_json({"error": {"code": code.lower(), "message": message}}, status)

    def _video(self, request: Request, job: Job) -> dict[str, str]:
        if "foreign_url_field" in job.faults:
            return {"uri": f"{request.foreign}/{job.id}"}
        return {"uri": f"{request.origin}/{self.mount}/v1beta/files/{job.id}:download?alt=media"}

    def _interaction(self, job: Job, status: str) -> dict[str, Any]:
        at = "2026-11-22T00:00:00Z"
        return {"id": job.id, "status": status, "model": job.model, "created": at, "updated": at}


def _blocks(given: Any) -> list[Mapping[str, Any]]:
    """A text, blocks, or steps of blocks: the official client makes steps of everything."""
    if isinstance(given, str):
        return [{"type": "text", "text": given}]
    return [block for one in given for block in (one["content"] if one["type"] == "user_input" else [one])]


def _file_error(status: int, code: str) -> Answer:
    return as_json({"error": {"code": status, "message": "The file may not exist.", "status": code}}, status)
