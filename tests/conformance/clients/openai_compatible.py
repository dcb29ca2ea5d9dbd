"""The openai package: before OpenAI's API, and before the servers that speak it."""

import time
from typing import Any, ClassVar

import openai

from tests.conformance.official import Ended, OfficialClient


class _Videos(OfficialClient):
    """`videos` and its helpers."""

    success = "completed"
    path: ClassVar[str]
    """What base_url has behind the host."""

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        self._client = self.opened()

    def opened(self) -> openai.OpenAI:
        """The client itself."""
        return openai.OpenAI(base_url=f"{self.origin}{self.path}", api_key=self.credential, max_retries=0)

    def make(self, prompt: str) -> Ended:
        """`create_and_poll`, then `download_content`."""
        return self._ended(
            self._client.videos.create_and_poll(
                prompt=prompt, model="sora-2", size="1280x720", seconds="4", poll_interval_ms=50
            )
        )

    def cancel(self, prompt: str) -> str:
        """`delete`: the API knows no other way to stop a job."""
        videos: Any = self._client.videos
        return str(videos.delete(videos.create(prompt=prompt, model="sora-2").id).object)

    def close(self) -> None:
        """Close it."""
        self._client.close()

    def _ended(self, video: Any) -> Ended:
        if video.status == "completed":
            return Ended(video.status, video=self._client.videos.download_content(video.id).read())
        return Ended(video.status, str(video.to_dict()))


class OpenAI(_Videos):
    """OpenAI's own API."""

    provider = "openai_compatible"
    path = "/v1"
    ends: ClassVar = {
        "failed": ("failed", "server_error"),
        "moderation": ("failed", "moderation_blocked"),
        "cancelled": ("cancelled", ""),
        "expired": ("expired", ""),
    }
    refusals: ClassVar = {
        "auth": ("AuthenticationError", "invalid_api_key"),
        "rate_limited": ("RateLimitError", "rate_limit_exceeded"),
        "concurrency": ("RateLimitError", "concurrency_limit_exceeded"),
        "invalid": ("BadRequestError", "invalid_value"),
        "moderation_submit": ("BadRequestError", "moderation_blocked"),
        "funds": ("APIStatusError", "insufficient_quota"),
        "retired": ("NotFoundError", "model_not_found"),
        "server_error": ("InternalServerError", "The server had an error."),
        "lost": ("NotFoundError", "video_not_found"),
    }
    cancelled = "video.deleted"


class AzureOpenAI(_Videos):
    """A resource of Azure, whose key has a header of its own."""

    provider = "azure_openai"
    path = "/azure_openai/openai/v1"
    ends: ClassVar = {
        "failed": ("failed", "server_error"),
        "moderation": ("failed", "output_moderation"),
        "cancelled": ("cancelled", ""),
    }
    refusals: ClassVar = {
        "auth": ("AuthenticationError", "invalid subscription key"),
        "rate_limited": ("RateLimitError", "Rate limit reached."),
        "invalid": ("BadRequestError", "BadRequest"),
        "moderation_submit": ("BadRequestError", "ResponsibleAIPolicyViolation"),
        "server_error": ("InternalServerError", "InternalServerError"),
        "lost": ("NotFoundError", "NotFound"),
    }
    cancelled = "video.deleted"

    def opened(self) -> openai.OpenAI:
        """Azure's flavour of the client."""
        return openai.AzureOpenAI(
            base_url=f"{self.origin}{self.path}",
            api_key=self.credential,
            api_version="preview",
            max_retries=0,
        )


class VLLMOmni(_Videos):
    """vLLM-Omni."""

    provider = "vllm_omni"
    path = "/vllm_omni"
    ends: ClassVar = {"failed": ("failed", "'code': 500")}
    refusals: ClassVar = {
        "auth": ("AuthenticationError", "Unauthorized"),
        "rate_limited": ("RateLimitError", "Too many requests."),
        "invalid": ("BadRequestError", "Invalid form data."),
        "server_error": ("InternalServerError", "Internal server error."),
        "lost": ("NotFoundError", "Video not found."),
    }
    cancelled = "video.deleted"


class Comet(_Videos):
    """CometAPI, whose state `error` ends the client's wait like any that it does not know."""

    provider = "comet"
    path = "/comet"
    ends: ClassVar = {
        "failed": ("error", "server_error"),
        "moderation": ("error", "moderation_blocked"),
    }
    refusals: ClassVar = {
        "auth": ("AuthenticationError", "invalid_api_key"),
        "rate_limited": ("RateLimitError", "rate_limit_exceeded"),
        "invalid": ("BadRequestError", "invalid_value"),
        "moderation_submit": ("BadRequestError", "moderation_blocked"),
        "server_error": ("InternalServerError", "The server had an error."),
    }


class SGLang(_Videos):
    """SGLang Diffusion, where a job is read in the list."""

    provider = "sglang"
    path = "/sglang"
    ends: ClassVar = {"failed": ("failed", "server_error")}
    refusals: ClassVar = {
        "auth": ("AuthenticationError", "Unauthorized"),
        "rate_limited": ("RateLimitError", "Too many requests."),
        "invalid": ("UnprocessableEntityError", "Input should be a valid integer."),
        "server_error": ("InternalServerError", "Internal server error."),
    }

    def make(self, prompt: str) -> Ended:
        """`create`, then `list`, then `download_content`."""
        videos: Any = self._client.videos
        made = videos.create(prompt=prompt, model="sora-2", size="1280x720", seconds="4")
        while made.status in {"queued", "in_progress"}:
            time.sleep(0.05)
            (made,) = (video for video in videos.list().data if video.id == made.id)
        return self._ended(made)
