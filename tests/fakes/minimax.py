"""MiniMax's two protocols: V1 tells errors in HTTP 200 and gives a file's address by its id, V2 is plain HTTP."""

import json
import re
import secrets
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.sizes import size_of
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

_V1_STATES: Final = {
    "queued": "Queueing",
    "running": "Processing",
    "completed": "Success",
    "completed_without_video": "Success",
    "failed": "Fail",
    "moderation": "Fail",
    "unknown_state": "Hibernating",
}
_V2_STATES: Final = {
    "completed": "succeeded",
    "completed_without_video": "succeeded",
    "moderation": "failed",
    "unknown_state": "hibernating",
}
_V1_REASONS: Final = {"moderation": (1027, "output new_sensitive"), "failed": (1000, "unknown error")}
_V2_REASONS: Final = {
    "failed": {"code": "1000", "message": "unknown error"},
    "moderation": {"code": "1027", "message": "output new_sensitive"},
}
_V2_ERRORS: Final = {
    1000: (500, "server_error"),
    1002: (429, "rate_limit_error"),
    1004: (401, "authorized_error"),
    1008: (402, "insufficient_balance_error"),
    1026: (422, "unprocessable_entity_error"),
    2013: (400, "bad_request_error"),
}
_V1_RESOLUTIONS: Final = {"512P", "720P", "768P", "1080P"}
_V2_RESOLUTIONS: Final = {"768P", "2K"}
_V2_RATIOS: Final = {"21:9", "16:9", "4:3", "1:1", "3:4", "9:16"}
_FRAMES: Final = ("first_frame", "last_frame")
_MOST: Final = {"reference_image": 9, "reference_video": 3, "reference_audio": 3, "base_video": 1}


class Fake(FakeProvider):
    """Both protocols; the faults are told in the one that was asked."""

    mount = "minimax"
    routes = (
        ("POST", "/v1/video_generation", "create"),
        ("GET", "/v1/query/video_generation", "poll"),
        ("GET", "/v1/files/retrieve", "retrieve"),
        ("POST", "/v2/video_generation", "create"),
        ("GET", "/v2/query/video_generation", "listed"),
        ("GET", "/v2/query/video_generation/{id}", "poll"),
    )
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (200, 1002, "rate limit"),
        "server_error": (200, 1000, "unknown error"),
        "auth": (200, 1004, "login fail"),
        "funds": (200, 1008, "insufficient balance"),
        "invalid": (200, 2013, "invalid params"),
        "moderation_submit": (200, 1026, "input new_sensitive"),
    }
    example: ClassVar[Mapping[str, Any]] = {"model": "MiniMax-Hailuo-2.3", "size": "1366x768", "seconds": 6}
    cannot: ClassVar[Mapping[str, str]] = {
        "retired": "its documentation names no answer for it",
        "concurrency": "its documentation names no answer for it",
        "lost": "its documentation names no answer for it",
        "out_of_memory": "it has no word for it",
        "cancelled": "V1 has no such state",
        "expired": "V1 has no such state",
        "completed_with_error": "Success carries no error",
    }

    async def __call__(self, request: Request, path: str) -> Answer:
        """Serve one request, and tell an error as its protocol does."""
        answer = await super().__call__(request, path)
        return _in_v2(answer) if _is_v2(request) else answer

    def asked(self, request: Request) -> Asked:
        """Read a create."""
        body = request.fields
        if type(body["duration"]) is not int:
            raise TypeError("duration must be an integer")
        prompt, size = _v2(body) if _is_v2(request) else _v1(body)
        return Asked(prompt, size, body["duration"], body["model"], body.get("callback_url"))

    def job_id(self) -> str:
        """Digits, as text."""
        return str(10**17 + secrets.randbelow(10**17))

    def id_in(self, request: Request) -> str:
        """In the query of V1, in the path of V2."""
        return request.params["id"] if _is_v2(request) else request.query["task_id"]

    def missing(self, request: Request) -> Answer:
        """Refuse the id: what the true one says is not documented."""
        return self.error_of("invalid")

    async def created(self, request: Request, job: Job) -> Answer:
        """The id, in V1 with the envelope."""
        return as_json({"task_id": job.id} if _is_v2(request) else {"task_id": job.id, **_envelope()})

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """A task."""
        if not _is_v2(request):
            code, message = _V1_REASONS.get(state, (0, "success"))
            file_id = job.id if state == "completed" else ""
            shown = {"task_id": job.id, "status": _V1_STATES[state], "file_id": file_id}
            return as_json(shown | _envelope(code, message))
        task: dict[str, Any] = {"id": job.id, "model": job.model, "status": _V2_STATES.get(state, state)}
        if state in _V2_REASONS:
            task["error"] = _V2_REASONS[state]
        if state == "completed":
            seconds = int(job.seconds)
            task["content"] = {"url": f"{request.foreign}/{job.id}", "prompt": job.prompt}
            task["usage"] = {"total_seconds": seconds, "input_seconds": 0, "output_seconds": seconds}
        return as_json({"task": task})

    async def retrieve(self, request: Request) -> Answer:
        """Where the file of a finished V1 task lies."""
        job = self.state.jobs.get(request.query["file_id"])
        if job is None:
            return self.missing(request)
        file = {"file_id": int(job.id), "purpose": "video_generation", "filename": "output.mp4"}
        return as_json({"file": file | {"download_url": f"{request.foreign}/{job.id}"}, **_envelope()})

    async def listed(self, request: Request) -> Answer:
        """The newest V2 tasks."""
        return as_json({"tasks": [], "page_num": int(request.query["page_num"])})

    def error(self, status: int, code: Any, message: str) -> Answer:
        """The envelope of V1."""
        return as_json(_envelope(code, message), status)


def _is_v2(request: Request) -> bool:
    return "/v2/" in request.path


def _envelope(code: int = 0, message: str = "success") -> dict[str, Any]:
    return {"base_resp": {"status_code": code, "status_msg": message}}


def _in_v2(answer: Answer) -> Answer:
    """An error of V1 as V2 tells it: the number stands only in the message."""
    try:
        envelope = json.loads(answer.body)["base_resp"]
    except (ValueError, LookupError, TypeError):
        return answer
    status, kind = _V2_ERRORS[envelope["status_code"]]
    message = f"{envelope['status_msg']} ({envelope['status_code']})"
    error = {"type": kind, "message": message, "http_code": str(status)}
    told = as_json({"type": "error", "error": error, "request_id": "r1"}, status)
    told.headers |= {name: text for name, text in answer.headers.items() if name == "retry-after"}
    return told


def _v1(body: Mapping[str, Any]) -> tuple[str, str]:
    if "content" in body or body["resolution"] not in _V1_RESOLUTIONS:
        raise ValueError("content or resolution is not valid")
    if body["duration"] not in {6, 10} or (body["resolution"] == "1080P" and body["duration"] != 6):
        raise ValueError("duration is not valid")
    for subject in body.get("subject_reference", ()):
        if body["model"] != "S2V-01" or subject["type"] != "character" or len(subject["image"]) != 1:
            raise ValueError("subject_reference is not valid")
    return body["prompt"], size_of(body["resolution"].lower(), "16:9")


def _v2(body: Mapping[str, Any]) -> tuple[str, str]:
    texts = [item["text"] for item in body["content"] if item["type"] == "text"]
    roles = Counter(
        item["role"] for item in body["content"] if item["type"] != "text" and item[item["type"]]["url"]
    )
    if len(texts) != 1 or not roles.keys() <= {*_FRAMES, *_MOST}:
        raise ValueError("content is not valid")
    if any(roles[name] > most for name, most in {**_MOST, **dict.fromkeys(_FRAMES, 1)}.items()):
        raise ValueError("too many inputs")
    framed = bool(roles.keys() & {*_FRAMES})
    if framed and any(re.match("reference_", role) for role in roles):
        raise ValueError("frames and references cannot be mixed")
    if set(roles) == {"reference_audio"}:
        raise ValueError("audio cannot be the only reference")
    resolutions = _V2_RESOLUTIONS | ({"480P"} if body["model"] == "MiniMax-H3-Max" else set())
    if not 4 <= body["duration"] <= 15 or body["resolution"] not in resolutions:
        raise ValueError("duration or resolution is not valid")
    ratio = body.get("ratio", "adaptive")
    if ratio not in _V2_RATIOS and not (ratio == "adaptive" and roles):
        raise ValueError("ratio is not valid")
    return texts[0], size_of(body["resolution"].lower(), "16:9" if ratio == "adaptive" else ratio)
