"""volcengine-ark-runtime, the part of volcengine-python-sdk that speaks to Ark."""

import time
from typing import Any, ClassVar

from volcenginesdkarkruntime import Ark, _exceptions

from tests.conformance.official import Ended, OfficialClient, fetched


class ArkRuntime(OfficialClient):
    """Tasks of content generation."""

    provider = "ark"
    success = "succeeded"
    ends: ClassVar = {
        "failed": ("failed", "InternalServiceError"),
        "moderation": ("failed", "OutputVideoSensitiveContentDetected"),
        "cancelled": ("cancelled", ""),
        "expired": ("expired", ""),
    }
    refusals: ClassVar = {
        "auth": (_exceptions.ArkAuthenticationError, "AuthenticationError"),
        "rate_limited": (_exceptions.ArkRateLimitError, "RateLimitExceeded.EndpointRPMExceeded"),
        "concurrency": (_exceptions.ArkRateLimitError, "QuotaExceeded"),
        "invalid": (_exceptions.ArkBadRequestError, "InvalidParameter"),
        "moderation_submit": (_exceptions.ArkBadRequestError, "InputTextSensitiveContentDetected"),
        "funds": (_exceptions.ArkPermissionDeniedError, "AccountOverdueError"),
        "retired": (_exceptions.ArkNotFoundError, "InvalidEndpointOrModel.NotFound"),
        "server_error": (_exceptions.ArkInternalServerError, "InternalServiceError"),
        "lost": (_exceptions.ArkNotFoundError, "NotFound"),
    }
    cancelled = "cancelled"

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        self._client = Ark(base_url=f"{origin}/ark/api/v3", api_key=credential, max_retries=0)
        self._tasks: Any = self._client.content_generation.tasks

    def make(self, prompt: str) -> Ended:
        """`tasks.create`, then `tasks.get`: it has no helper that waits."""
        task = self._tasks.get(task_id=self._create(prompt))
        while task.status in {"queued", "running"}:
            time.sleep(0.05)
            task = self._tasks.get(task_id=task.id)
        if task.status == "succeeded":
            assert task.usage.completion_tokens == 108_900
            return Ended(task.status, video=fetched(task.content.video_url))
        return Ended(task.status, f"{task.error.code}: {task.error.message}" if task.error else "")

    def cancel(self, prompt: str) -> str:
        """`tasks.delete` of a queued task."""
        id_ = self._create(prompt)
        self._tasks.delete(task_id=id_)
        return str(self._tasks.get(task_id=id_).status)

    def close(self) -> None:
        """Close it."""
        self._client.close()

    def _create(self, prompt: str) -> str:
        content = [{"type": "text", "text": prompt}]
        made = self._tasks.create(
            model="doubao-seedance-2-0-260128", content=content, resolution="720p", ratio="16:9", duration=5
        )
        return str(made.id)
