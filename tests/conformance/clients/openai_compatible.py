"""The openai package."""

from typing import Any, ClassVar

import openai

from tests.conformance.official import Ended, OfficialClient


class OpenAI(OfficialClient):
    """`videos` and its helpers."""

    provider = "openai_compatible"
    success = "completed"
    ends: ClassVar = {
        "failed": ("failed", "server_error"),
        "moderation": ("failed", "moderation_blocked"),
        "cancelled": ("cancelled", ""),
        "expired": ("expired", ""),
    }
    refusals: ClassVar = {
        "auth": (openai.AuthenticationError, "invalid_api_key"),
        "rate_limited": (openai.RateLimitError, "rate_limit_exceeded"),
        "concurrency": (openai.RateLimitError, "concurrency_limit_exceeded"),
        "invalid": (openai.BadRequestError, "invalid_value"),
        "moderation_submit": (openai.BadRequestError, "moderation_blocked"),
        "funds": (openai.APIStatusError, "insufficient_quota"),
        "retired": (openai.NotFoundError, "model_not_found"),
        "server_error": (openai.InternalServerError, "The server had an error."),
        "lost": (openai.NotFoundError, "video_not_found"),
    }
    cancelled = "video.deleted"

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        self._client = openai.OpenAI(base_url=f"{origin}/v1", api_key=credential, max_retries=0)

    def make(self, prompt: str) -> Ended:
        """`create_and_poll`, then `download_content`."""
        video = self._client.videos.create_and_poll(
            prompt=prompt, model="sora-2", size="1280x720", seconds="4", poll_interval_ms=50
        )
        if video.status == "completed":
            return Ended(video.status, video=self._client.videos.download_content(video.id).read())
        return Ended(video.status, str(video.error))

    def cancel(self, prompt: str) -> str:
        """`delete`: the API knows no other way to stop a job."""
        videos: Any = self._client.videos
        return str(videos.delete(videos.create(prompt=prompt).id).object)

    def close(self) -> None:
        """Close it."""
        self._client.close()
