"""Veo on Vertex AI: a long-running operation, read by POST, with the video as base64 inside its answer.

The credential is the JSON text of a service account's key file, or a ready access token.
Options of the account: project, location (default us-central1; it must be the one in base_url).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from providers import answers, media_forms, request_fields, results
from providers.auth import google_service_account
from providers.contract import (
    Account,
    Completed,
    Content,
    ErrorKind,
    Failed,
    Handle,
    MediaInput,
    MediaRole,
    Operation,
    Running,
    Status,
    SubmitSafety,
    Submitted,
    VideoRequest,
)
from providers.error_table import ErrorTable
from providers.http import HttpDoor
from providers.inline_video import base64_content, json_without_long_strings

PROVIDER: Final = "google_vertex"

_MAX_FILE: Final = 20 * 1024 * 1024  # our own limit: the whole file is in the request's memory
_FILES: Final = {
    Operation.GENERATE: {MediaRole.FIRST_FRAME: 1, MediaRole.LAST_FRAME: 1, MediaRole.REFERENCE: 3},
    Operation.EXTEND: {MediaRole.EXTEND_FROM: 1},
}
_PARAMETERS: Final = {
    "seed": "seed",
    "fps": "fps",
    "audio": "generateAudio",
    "negative_prompt": "negativePrompt",
}
_INVALID_ARGUMENT: Final = 3
_CHECKED: Final = "veo-3.1-generate-001"
_ERRORS: Final = ErrorTable(
    code_at=("error.status",),
    message_at=("error.message",),
    codes={
        "RESOURCE_EXHAUSTED": ErrorKind.RATE_LIMITED,
        "UNAUTHENTICATED|PERMISSION_DENIED": ErrorKind.PROVIDER_AUTH,
        "NOT_FOUND": ErrorKind.JOB_LOST,
        "UNAVAILABLE|INTERNAL|DEADLINE_EXCEEDED": ErrorKind.PROVIDER_UNAVAILABLE,
    },
    words={"usage guidelines|support codes?|responsible ai": ErrorKind.MODERATION_BLOCKED},
)


class GoogleVertex:
    """One project at one location."""

    poll_interval: ClassVar[float] = 10.0
    submit_safety: SubmitSafety = "none"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        is_key_file = account.credential.lstrip().startswith("{")
        signed = google_service_account(account, http) if is_key_file else None
        self._http = http.account(account, authenticate=signed, errors=_ERRORS)
        project, location = account.options.get("project"), account.options.get("location", "us-central1")
        if not project:
            raise ValueError(f"upstream '{account.name}': options.project must name the Google Cloud project")
        self._models = f"/projects/{project}/locations/{location}/publishers/google/models"

    async def submit(self, request: VideoRequest) -> Submitted:
        """Start the operation: exactly one request. Raises ProviderError."""
        request_fields.operation(request, *_FILES)
        body = request_fields.merged(
            {
                "instances": [{"prompt": request.prompt, **await _media(request)}],
                "parameters": {
                    "sampleCount": 1,
                    "durationSeconds": request_fields.whole_seconds(request),
                    "aspectRatio": request_fields.aspect_ratio(request, ("16:9", "9:16")),
                    "resolution": request_fields.tier(request, ("720p", "1080p", "4k")),
                    **request_fields.parameters(request, _PARAMETERS),
                },
            },
            request.provider_options,
        )
        if answers.found(body, "parameters", "storageUri"):
            request_fields.refuse("provider_options", "storageUri is not supported: the video is read inline")
        model = f"{self._models}/{request.model}"
        with answers.creating():
            answer = await self._http.request("POST", f"{model}:predictLongRunning", json=body)
        return Submitted({"model": model, "name": answers.required(answer.object(), "name")})

    async def poll(self, handle: Handle) -> Status:
        """Read the operation; a finished one carries the whole video, which is passed over here."""
        operation = await json_without_long_strings(await self._fetched(handle))
        if not answers.found(operation, "done"):
            return Running()
        error, response = answers.found(operation, "error"), answers.found(operation, "response")
        if error:
            code = answers.found(error, "code")
            usual = ErrorKind.INVALID_REQUEST if code == _INVALID_ARGUMENT else ErrorKind.PROVIDER_ERROR
            return Failed(_ERRORS.verdict(code, answers.found(error, "message"), usual))
        if answers.found(response, "videos", 0, "bytesBase64Encoded"):
            return Completed()
        if answers.found(response, "raiMediaFilteredCount"):
            reason = answers.found(response, "raiMediaFilteredReasons", 0)
            return Failed(_ERRORS.verdict("filtered", reason, ErrorKind.MODERATION_BLOCKED))
        return results.without_video()

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - it lies in the operation
        """Read the operation once more, now for the video in it."""
        content = base64_content(await self._fetched(handle), "bytesBase64Encoded")
        return await answers.video_only(content)

    async def check(self) -> str:
        """Read an operation that nobody started."""
        model = f"{self._models}/{_CHECKED}"
        return await answers.nothing_found(
            self.poll({"model": model, "name": f"{model[1:]}/operations/none"})
        )

    async def _fetched(self, handle: Handle) -> Content:
        path = f"{handle['model']}:fetchPredictOperation"
        return await self._http.stream("POST", path, json={"operationName": handle["name"]})


async def _media(request: VideoRequest) -> dict[str, Any]:
    files = request_fields.media(request, _FILES[request.operation])
    if request.operation is Operation.EXTEND:
        if not files[MediaRole.EXTEND_FROM]:
            request_fields.refuse("video", f"{request.model} needs the video to extend")
        return {"video": await _file(files[MediaRole.EXTEND_FROM][0])}
    fields: dict[str, Any] = {}
    for role, name in ((MediaRole.FIRST_FRAME, "image"), (MediaRole.LAST_FRAME, "lastFrame")):
        for item in files[role]:
            fields[name] = await _file(item)
    references = files[MediaRole.REFERENCE]
    if references:
        fields["referenceImages"] = [
            {"image": await _file(item), "referenceType": "asset"} for item in references
        ]
    return fields


async def _file(item: MediaInput) -> dict[str, str]:
    text = await media_forms.base64_text(item, _MAX_FILE)
    return {"bytesBase64Encoded": text, "mimeType": item.media_type}


def build(account: Account, http: HttpDoor) -> GoogleVertex:
    """The adapter for one account."""
    return GoogleVertex(account, http)
