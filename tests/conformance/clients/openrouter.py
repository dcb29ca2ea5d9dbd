"""The openrouter package."""

import time
from typing import Any, ClassVar

from openrouter import OpenRouter

from tests.conformance.official import Ended, OfficialClient


class OpenRouterClient(OfficialClient):
    """`video_generation`."""

    provider = "openrouter"
    success = "completed"
    ends: ClassVar = {
        "failed": ("failed", "could not generate the video"),
        "moderation": ("failed", "content policy"),
        "cancelled": ("cancelled", ""),
        "expired": ("expired", ""),
    }
    refusals: ClassVar = {
        "auth": ("UnauthorizedResponseError", "User not found."),
        "rate_limited": ("TooManyRequestsResponseError", "Rate limit exceeded"),
        "invalid": ("BadRequestResponseError", "Invalid request parameters"),
        "moderation_submit": ("ForbiddenResponseError", "flagged by moderation"),
        "funds": ("PaymentRequiredResponseError", "Insufficient credits"),
        "retired": ("NotFoundResponseError", "Model not found"),
        "server_error": ("InternalServerResponseError", "Internal Server Error"),
        "lost": ("NotFoundResponseError", "Job not found"),
    }

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        self._client = OpenRouter(
            api_key=credential, server_url=f"{origin}/openrouter/api/v1", retry_config=None
        )
        self._videos: Any = self._client.video_generation

    def make(self, prompt: str) -> Ended:
        """`generate`, then `get_generation` and `get_video_content`: it has no helper that waits."""
        job = self._videos.generate(
            model="google/veo-3.1-fast", prompt=prompt, duration=4, resolution="720p", aspect_ratio="16:9"
        )
        while job.status in {"pending", "in_progress"}:
            time.sleep(0.05)
            job = self._videos.get_generation(job_id=job.id)
        if job.status != "completed":
            return Ended(job.status, job.error or "")
        assert job.usage.cost > 0
        return Ended(job.status, video=self._videos.get_video_content(job_id=job.id).read())
