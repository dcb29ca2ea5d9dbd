"""PixVerse: files are uploaded first and named by number; errors are business codes inside HTTP 200.

The create's Ai-trace-id is made from the idempotency key: seen again, it gets the first answer again. From memory or
third parties, so unverified: all error codes, the states 2, 3 and 9, and that at most 7 references are taken; they
are called image1, image2, ... for @image1 in the prompt. Not offered, as their bodies are not documented well
enough: modify, restyle, swap, mimic, lip_sync, sound_effect and multi_transition. Its callbacks go to registered
addresses only; a webhook_id may be given in provider_options.
"""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from providers import answers, request_fields, results
from providers.contract import (
    Account,
    Content,
    ErrorKind,
    Failed,
    Handle,
    MediaInput,
    MediaRole,
    Operation,
    ProviderError,
    Running,
    Status,
    SubmitSafety,
    Submitted,
    VideoRequest,
)
from providers.error_table import ErrorTable
from providers.http import HttpDoor
from providers.state_table import StateTable

PROVIDER: Final = "pixverse"

_API: Final = "/openapi/v2"
_QUALITIES: Final = ("360p", "540p", "720p", "1080p")
_RATIOS: Final = ("16:9", "9:16", "1:1", "4:3", "3:4", "2:3", "3:2", "21:9")
_IDS: Final = {"image": "img_id", "media": "media_id"}
_FRAMES: Final = {MediaRole.FIRST_FRAME: 1, MediaRole.LAST_FRAME: 1, MediaRole.REFERENCE: 7}
_PARAMETERS: Final = {
    "seed": "seed",
    "negative_prompt": "negative_prompt",
    "audio": "generate_audio_switch",
}
_STATES: Final = StateTable(
    queued=("9", "2"),
    running=("5", "3"),
    completed=("1",),
    failed={
        "6": ErrorKind.PROVIDER_ERROR,
        "7": ErrorKind.MODERATION_BLOCKED,
        "8": ErrorKind.PROVIDER_ERROR,
    },
)
_REASONS: Final = {
    "6": "the video was deleted at the upstream",
    "7": "the upstream's moderation refused the video",
    "8": "the upstream failed to make the video",
}
_ERRORS: Final = ErrorTable(
    code_at=("ErrCode",),
    message_at=("ErrMsg",),
    fine=frozenset({"0"}),
    codes={
        "4000(11|13|17|18)": ErrorKind.INVALID_REQUEST,
        "10005|500020": ErrorKind.PROVIDER_AUTH,
        "500044": ErrorKind.CONCURRENCY_LIMITED,
        "500054|500063": ErrorKind.MODERATION_BLOCKED,
        "500060|500090": ErrorKind.PROVIDER_FUNDS,
        "500069": ErrorKind.PROVIDER_UNAVAILABLE,
    },
)


class PixVerse:
    """One PixVerse account."""

    poll_interval: ClassVar[float] = 5.0
    submit_safety: SubmitSafety = "key"

    def __init__(self, account: Account, http: HttpDoor) -> None:
        keyed = replace(account, options={"auth": {"header": "API-KEY"}, **account.options})
        self._http = http.account(keyed, errors=_ERRORS)

    async def submit(self, request: VideoRequest) -> Submitted:
        """Upload the files, then create the video: exactly one create. Raises ProviderError."""
        request_fields.operation(request, Operation.GENERATE, Operation.EXTEND)
        body = {
            "model": request.model,
            "prompt": request.prompt,
            "duration": request_fields.whole_seconds(request),
            "quality": request_fields.tier(request, _QUALITIES),
            **request_fields.parameters(request, _PARAMETERS),
        }
        kind, fields = await (self._source if request.operation is Operation.EXTEND else self._images)(
            request
        )
        body = request_fields.merged(body | fields, request.provider_options)
        key = str(uuid.uuid5(uuid.NAMESPACE_OID, request.idempotency_key))
        with answers.creating():
            answer = await self._http.request(
                "POST", f"{_API}/video/{kind}/generate", json=body, headers=_trace(key)
            )
        created = answer.object()
        video_id = answers.required(created, "Resp", "video_id")
        return Submitted({"id": video_id, "credits": answers.found(created, "Resp", "credits")})

    async def poll(self, handle: Handle) -> Status:
        """Read the video; its state is a number."""
        path = f"{_API}/video/result/{results.segment(handle['id'])}"
        answer = await self._http.request("GET", path, headers=_trace(), timeout=30)
        video = answer.object().get("Resp")
        word = str(answers.found(video, "status"))
        match _STATES.read(word):
            case ErrorKind() as kind:
                return Failed(ProviderError(kind, _REASONS[word], upstream_code=f"status {word}"))
            case "completed":
                cost = answers.cost_in("credit", handle.get("credits"))
                return results.at_address(answers.found(video, "url"), cost)
            case state:
                return Running(queued=state == "queued")

    async def open_content(self, handle: Handle, outputs: Mapping[str, Any]) -> Content:  # noqa: ARG002 - the address is enough
        """Start the download."""
        return await results.download(self._http, outputs)

    async def check(self) -> str:
        """Ask for the balance, which costs nothing."""
        await self._http.request("GET", f"{_API}/account/balance", headers=_trace(), timeout=30)
        return "the key may read the balance"

    async def _images(self, request: VideoRequest) -> tuple[str, dict[str, Any]]:
        """The path's word for what the video is made from, and its image fields."""
        files = request_fields.media(request, _FRAMES)
        first, last = files[MediaRole.FIRST_FRAME], files[MediaRole.LAST_FRAME]
        references = files[MediaRole.REFERENCE]
        if references and (first or last):
            request_fields.refuse("reference_images", f"{request.model} takes them only without other frames")
        if last and not first:
            request_fields.refuse("last_frame", f"{request.model} takes it only with a first frame")
        if last:
            return "transition", {
                "first_frame_img": await self._upload("image", first[0]),
                "last_frame_img": await self._upload("image", last[0]),
            }
        if first:
            return "img", {"img_id": await self._upload("image", first[0])}
        shape = {"aspect_ratio": request_fields.aspect_ratio(request, _RATIOS)}
        if not references:
            return "text", shape
        images = [
            {"type": "subject", "img_id": await self._upload("image", item), "ref_name": f"image{n}"}
            for n, item in enumerate(references, 1)
        ]
        return "fusion", {**shape, "image_references": images}

    async def _source(self, request: VideoRequest) -> tuple[str, dict[str, Any]]:
        """What is extended: a video of this account, or an uploaded one."""
        files = request_fields.media(request, {MediaRole.EXTEND_FROM: 1})[MediaRole.EXTEND_FROM]
        if request.source is not None:
            return "extend", {"source_video_id": int(request.source["id"])}
        if not files:
            request_fields.refuse("extend_from", f"{request.model} extends a video; give one")
        return "extend", {"video_media_id": await self._upload("media", files[0])}

    async def _upload(self, kind: str, item: MediaInput) -> int:
        with answers.before_create():
            answer = await self._http.request(
                "POST", f"{_API}/{kind}/upload", form=[(kind, item)], headers=_trace(), timeout=300
            )
            media_id = answers.found(answer.object(), "Resp", _IDS[kind])
        if not isinstance(media_id, int):
            message = f"the upstream's answer to the upload has no Resp.{_IDS[kind]}"
            raise ProviderError(ErrorKind.PROVIDER_ERROR, message)
        return media_id


def _trace(key: str = "") -> dict[str, str]:
    return {"Ai-trace-id": key or str(uuid.uuid4())}


def build(account: Account, http: HttpDoor) -> PixVerse:
    """The adapter for one account."""
    return PixVerse(account, http)
