"""Luma: generations of the Agents API, and of the older Dream Machine API under a path of its own."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_DREAMS: Final = "/dream-machine/v1"
_SHORT_SIDES: Final = {"360p": 360, "540p": 540, "720p": 720, "1080p": 1080, "4k": 2160}
_RATIOS: Final = ("3:1", "2:1", "21:9", "16:9", "4:3", "3:2", "1:1", "3:4", "2:3", "9:16", "1:2", "1:3")
_DREAM_RATIOS: Final = ("1:1", "16:9", "9:16", "4:3", "3:4", "21:9", "9:21")
_LENGTHS: Final = {"5s": 5, "9s": 9, "10s": 10}
_FRAMES_PER_SECOND: Final = 24
_REFERENCE: Final = ("url", "data", "generation_id", "file_id")
_FAILURES: Final = {
    "failed": {"failure_code": "generation_failed", "failure_reason": "The generation failed."},
    "moderation": {"failure_code": "content_moderated", "failure_reason": "The content was moderated."},
}
_STATES: Final = {"running": "processing", "moderation": "failed", "unknown_state": "hibernating"}


class Fake(FakeProvider):
    """Generations."""

    mount = "luma"
    base_path = "/v1"
    routes = (
        ("POST", "/v1/generations", "create"),
        ("GET", "/v1/generations/{id}", "poll"),
        ("POST", f"{_DREAMS}/generations/video", "create"),
        ("GET", f"{_DREAMS}/generations/{{id}}", "poll"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (429, None, "Rate limit exceeded."),
        "server_error": (502, None, "Bad gateway."),
        "auth": (401, None, "Invalid API key."),
        "funds": (402, None, "Insufficient credits."),
        "invalid": (422, None, "Invalid request."),
        "retired": (404, None, "Not found."),
        "lost": (404, None, "Not found."),
    }
    example: ClassVar[Mapping[str, Any]] = {"model": "ray-3.2", "size": "1280x720", "seconds": 5}
    cannot: ClassVar[Mapping[str, str]] = {
        "business_error": "it tells errors by the HTTP status",
        "concurrency": "it is the same answer as the rate limit",
        "moderation_submit": "it moderates after the create",
        "out_of_memory": "it has no word for it",
        "cancelled": "it has no such state",
        "expired": "it has no such state",
        "completed_with_error": "completed carries no error",
    }

    def asked(self, request: Request) -> Asked:
        """Read a create."""
        body = request.fields
        if _DREAMS in request.path:
            return self._dreamt(body)
        kind, video = body["type"], body["video"]
        if kind not in {"video", "video_edit"} or body["model"] != "ray-3.2":
            raise ValueError("type or model")
        if kind == "video_edit":
            _check(body["source"], "video/")
            if "duration" in video:
                raise ValueError("an edit is as long as its source")
        seconds = 5 if kind == "video_edit" else _LENGTHS[video["duration"]]
        self._frames(video, seconds)
        if (kind == "video" and seconds == 9) or video["resolution"] == "4k":
            raise ValueError("duration or resolution")
        size = _size(body.get("aspect_ratio", "16:9"), video["resolution"], _RATIOS)
        return Asked(prompt=body["prompt"], size=size, seconds=seconds, model=body["model"])

    async def created(self, request: Request, job: Job) -> Answer:
        """201 and the generation."""
        return as_json(self._generation(job, "queued"), 201)

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The generation."""
        shown = self._generation(job, "completed" if state.startswith("completed") else state)
        shown |= _FAILURES.get(state, {})
        if _DREAMS in job.path:
            del shown["failure_code"], shown["output"], shown["type"]
            shown["assets"] = {"video": f"{request.foreign}/{job.id}"} if state == "completed" else None
            shown["state"] = {"processing": "dreaming"}.get(shown["state"], shown["state"])
        elif state == "completed":
            shown["output"] = [
                {"type": "exr", "url": f"{request.foreign}/none"},
                {"type": "video", "url": f"{request.foreign}/{job.id}"},
            ]
        return as_json(shown)

    def error(self, status: int, code: Any, message: str) -> Answer:
        """Nothing but what went wrong; of a field that is wrong, a list."""
        unfit = [{"loc": ["body"], "msg": message, "type": "value_error"}]
        return as_json({"detail": unfit if status == 422 else message}, status)

    def _generation(self, job: Job, state: str) -> dict[str, Any]:
        return {
            "id": job.id,
            "type": job.fields.get("type"),
            "model": job.model,
            "state": _STATES.get(state, state),
            "created_at": "2026-11-22T00:00:00Z",
            "output": [],
            "failure_reason": None,
            "failure_code": None,
        }

    def _dreamt(self, body: Mapping[str, Any]) -> Asked:
        if body["model"] not in {"ray-2", "ray-flash-2"} or body["duration"] not in {"5s", "9s"}:
            raise ValueError("model or duration")
        for frame in body.get("keyframes", {}).values():
            if frame["type"] == "image" and not frame["url"].startswith("https://"):
                raise ValueError("an image is an address")
            if frame["type"] == "generation" and not frame["id"]:
                raise ValueError("a generation has an id")
        return Asked(
            prompt=body["prompt"],
            size=_size(body["aspect_ratio"], body["resolution"], _DREAM_RATIOS),
            seconds=_LENGTHS[body["duration"]],
            model=body["model"],
            callback_url=body.get("callback_url"),
        )

    def _frames(self, video: Mapping[str, Any], seconds: int) -> None:
        keyframes, indexes = video.get("keyframes", []), video.get("keyframe_indexes", [])
        if len(keyframes) != len(set(indexes)) or not set(indexes) <= set(
            range(seconds * _FRAMES_PER_SECOND + 1)
        ):
            raise ValueError("keyframe_indexes")
        if keyframes and ("start_frame" in video or "end_frame" in video):
            raise ValueError("keyframes and frames")
        for frame in keyframes:
            _check(frame, "image/")
        for name in ("start_frame", "end_frame"):
            if name in video:
                _check(video[name], "image/")


def _size(ratio: str, resolution: str, ratios: tuple[str, ...]) -> str:
    if ratio not in ratios:
        raise ValueError("aspect_ratio")
    across, down = (int(part) for part in ratio.split(":"))
    side, short = _SHORT_SIDES[resolution], min(across, down)
    return f"{side * across // short // 2 * 2}x{side * down // short // 2 * 2}"


def _check(reference: Mapping[str, str], kind: str) -> None:
    """Exactly one way to say where it is; data needs its type, and so does every video that is no earlier one."""
    if sum(name in reference for name in _REFERENCE) != 1:
        raise ValueError("exactly one of url, data, generation_id, file_id")
    typed = "data" in reference or ("url" in reference and kind == "video/")
    if typed and not reference["media_type"].startswith(kind):
        raise ValueError("media_type")
