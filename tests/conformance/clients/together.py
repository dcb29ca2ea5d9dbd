"""The together package."""

import time
from typing import ClassVar

import together

from tests.conformance.official import Ended, OfficialClient, fetched


class Together(OfficialClient):
    """`videos`."""

    provider = "together"
    success = "completed"
    ends: ClassVar = {
        "failed": ("failed", "internal_error"),
        "moderation": ("failed", "content_policy_violation"),
        "out_of_memory": ("failed", "CUDA out of memory"),
    }
    refusals: ClassVar = {
        "auth": ("AuthenticationError", "invalid_api_key"),
        "rate_limited": ("RateLimitError", "rate_limit"),
        "invalid": ("BadRequestError", "invalid_request"),
        "moderation_submit": ("UnprocessableEntityError", "content_policy_violation"),
        "funds": ("APIStatusError", "insufficient_funds"),
        "retired": ("NotFoundError", "model_not_available"),
        "server_error": ("InternalServerError", "server_error"),
        "lost": ("NotFoundError", "not_found"),
    }

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        self._client = together.Together(base_url=f"{origin}/together", api_key=credential, max_retries=0)

    def make(self, prompt: str) -> Ended:
        """`create`, then `retrieve`: it has no helper that waits."""
        job = self._client.videos.create(
            model="google/veo-3.1", prompt=prompt, seconds="4", resolution="720p", ratio="16:9"
        )
        while job.status not in {"completed", "failed"}:
            time.sleep(0.05)
            job = self._client.videos.retrieve(job.id)
        if job.status == "failed":
            return Ended(job.status, str(job.error))
        return Ended(job.status, video=fetched(job.outputs.video_url))

    def close(self) -> None:
        """Close it."""
        self._client.close()
