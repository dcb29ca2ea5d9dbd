"""Tencent Cloud VOD: one address for every action, signed with TC3-HMAC-SHA256, errors inside HTTP 200."""

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers.sizes import size_of
from providers.testing_http import Answer, Request, as_json
from providers.testing_jobs import Job
from providers.testing_provider import Asked, FakeProvider

SUB_APP_ID: Final = 251007502
VERSION: Final = "2018-07-17"
_PAGE: Final = 2
_AUTHORIZATION: Final = re.compile(
    r"TC3-HMAC-SHA256 Credential=([^/]+)/(\d{4}-\d\d-\d\d)/vod/tc3_request, "
    r"SignedHeaders=content-type;host, Signature=([0-9a-f]{64})"
)
_RESOLUTIONS: Final = {
    "Kling": {"720P", "1080P"},
    "Hailuo": {"768P", "1080P", "2K", "4K"},
    "Vidu": {"720P", "1080P"},
    "GV": {"720P", "1080P"},
    "PixVerse": {"540p", "720p", "1080p", "2k", "4k"},
}
_ENDS: Final = {
    "failed": (1, "ModelGenerateFailed", "The model failed."),
    "moderation": (1, "ContentModerationFailed", "The content did not pass the review."),
    "expired": (1, "TaskTimeout", "The task took too long."),
    "cancelled": (1, "OperationCanceled", "The operation was cancelled."),
    "completed_with_error": (70000, "", "Internal error."),
}


class Fake(FakeProvider):
    """The AIGC tasks of VOD."""

    mount = "tencent"
    routes = (("POST", "/", "call"),)
    errors: ClassVar[Mapping[str, tuple[int, Any, str]]] = {
        "rate_limited": (200, "RequestLimitExceeded", "The request frequency is over the limit."),
        "concurrency": (200, "RequestLimitExceeded.JobNumExceed", "Too many jobs."),
        "server_error": (200, "InternalError", "An internal error."),
        "auth": (200, "AuthFailure.SignatureFailure", "The provided credentials could not be validated."),
        "invalid": (200, "InvalidParameterValue", "A parameter value is wrong."),
        "moderation_submit": (200, "InvalidParameter.VoilationContent", "The prompt violates the policy."),
        "lost": (200, "InvalidParameterValue.TaskId", "The task does not exist."),
        "duplicate": (200, "InvalidParameterValue.SessionId", "The session id was used before."),
    }
    credential = "AKIDconformancekeyid:conformance-secret-key"
    credential_header = ("authorization", "TC3-HMAC-SHA256 ")
    options: ClassVar[Mapping[str, Any]] = {"sub_app_id": SUB_APP_ID, "region": "ap-guangzhou"}
    example: ClassVar[Mapping[str, Any]] = {
        "model": "Kling/3.0",
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "size": "1280x720",
        "seconds": 5,
    }
    cannot: ClassVar[Mapping[str, str]] = {
        "funds": "its sheet names no answer for it",
        "retired": "a model it does not know is an invalid parameter",
        "out_of_memory": "it has no word for it",
    }

    def authorized(self, request: Request, key: str) -> bool:
        """Compute the signature anew, from Tencent's description."""
        found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        secret_id, _, secret_key = key.partition(":")
        stamp = request.headers.get("x-tc-timestamp", "0")
        if found is None or abs(time.time() - int(stamp)) > 300:
            return False
        headers = "".join(f"{name}:{request.headers[name]}\n" for name in ("content-type", "host"))
        payload = hashlib.sha256(request.body).hexdigest()
        canonical = f"POST\n{request.path}\n\n{headers}\ncontent-type;host\n{payload}"
        day = time.strftime("%Y-%m-%d", time.gmtime(int(stamp)))
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"TC3-HMAC-SHA256\n{stamp}\n{day}/vod/tc3_request\n{hashed}"
        signing = f"TC3{secret_key}".encode()
        for part in (day, "vod", "tc3_request"):
            signing = hmac.digest(signing, part.encode(), "sha256")
        return found.groups() == (secret_id, day, hmac.digest(signing, text.encode(), "sha256").hex())

    async def call(self, request: Request) -> Answer:
        """Serve the action that the header names."""
        if request.headers.get("x-tc-version") != VERSION or not request.headers.get("x-tc-region"):
            return self.error_of("invalid", "X-TC-Version or X-TC-Region")
        if request.fields.get("SubAppId") != SUB_APP_ID:
            return self.error(200, "InvalidParameterValue.SubAppId", "The application does not exist.")
        match request.headers.get("x-tc-action"):
            case "CreateAigcVideoTask":
                return await self.create(request)
            case "DescribeTaskDetail":
                return await self.poll(request)
            case "DescribeTasks":
                return self._tasks(request)
        return self.error(200, "InvalidAction", "The action does not exist.")

    async def create(self, request: Request) -> Answer:
        """Refuse a session id that was used before, else as everywhere."""
        session = request.fields.get("SessionId")
        if session and any(job.reference == session for job in self._jobs()):
            self.state.calls["create"] += 1
            return self.error_of("duplicate")
        return await super().create(request)

    def asked(self, request: Request) -> Asked:
        """Read a create."""
        body, output = request.fields, request.fields["OutputConfig"]
        name, version = body["ModelName"], body["ModelVersion"]
        if output["Resolution"] not in _RESOLUTIONS[name] or not version:
            raise ValueError("Resolution is not one of the model's")
        if output.get("StorageMode") not in {"Temporary", "Permanent"} or type(output["Duration"]) is str:
            raise ValueError("StorageMode or Duration")
        if output.get("AudioGeneration", "Enabled") not in {"Enabled", "Disabled"}:
            raise ValueError("AudioGeneration")
        for file in body.get("FileInfos", []):
            _check_file(file)
        if len(body.get("SessionId", "")) > 50:
            raise ValueError("SessionId is too long")
        return Asked(
            prompt=body["Prompt"],
            size=size_of(output["Resolution"].lower(), output.get("AspectRatio", "16:9")),
            seconds=output["Duration"],
            model=f"{name}/{version}",
            reference=body.get("SessionId"),
        )

    def id_in(self, request: Request) -> str:
        """The task that a call names."""
        return str(request.fields.get("TaskId"))

    async def created(self, request: Request, job: Job) -> Answer:
        """The id of the task."""
        return self._ok(TaskId=job.id)

    def without_id(self) -> Answer:
        """An envelope without a task."""
        return self._ok()

    async def shown(self, request: Request, job: Job, state: str) -> Answer:
        """The task: FINISH says nothing about success."""
        status = {"queued": "WAITING", "running": "PROCESSING", "unknown_state": "HIBERNATING"}
        word = status.get(state, "FINISH")
        if state == "queued":
            return self._ok(TaskType="AigcVideoTask", Status=word, AigcVideoTask=None)
        code, extended, message = _ENDS.get(state, (0, "", ""))
        progress = int(100 * job.progress(time.time()))
        files = [{"FileUrl": f"{request.foreign}/{job.id}", "FileId": ""}] if state == "completed" else []
        task = {
            "TaskId": job.id,
            "Status": word,
            "ErrCode": code,
            "ErrCodeExt": extended,
            "Message": message,
            "Progress": progress,
            "Output": {"FileInfos": files},
            "SessionId": job.reference,
        }
        return self._ok(TaskType="AigcVideoTask", Status=word, AigcVideoTask=task)

    def error(self, status: int, code: Any, message: str) -> Answer:
        """The envelope with an error."""
        return as_json({"Response": {"Error": {"Code": code, "Message": message}, "RequestId": "r"}}, status)

    def _tasks(self, request: Request) -> Answer:
        start = int(request.fields.get("ScrollToken") or 0)
        jobs = sorted(self._jobs(), key=lambda job: -job.created)
        listed = [
            {
                "TaskId": job.id,
                "Status": "PROCESSING",
                "TaskType": "AigcVideoTask",
                "SessionId": job.reference,
            }
            for job in jobs[start : start + _PAGE]
        ]
        more = str(start + _PAGE) if start + _PAGE < len(jobs) else ""
        return self._ok(TaskSet=listed, ScrollToken=more)

    def _jobs(self) -> list[Job]:
        return [job for job in self.state.jobs.values() if job.mount == self.mount]

    def _ok(self, **values: Any) -> Answer:
        return as_json({"Response": {**values, "RequestId": f"req-{time.time_ns()}"}})


def _check_file(file: Mapping[str, Any]) -> None:
    if file["Usage"] not in {"FirstFrame", "LastFrame", "Reference"} or file["Category"] != "Image":
        raise ValueError("Usage or Category")
    if file["Type"] == "Url":
        file["Url"].index("https://")
    elif file["Type"] != "Base64" or file["Base64"].startswith("data:"):
        raise ValueError("Base64 has no prefix")
