"""The zai-sdk package."""

import time
from typing import Any, ClassVar

from zai import ZhipuAiClient

from tests.conformance.official import Ended, OfficialClient, fetched


class ZAI(OfficialClient):
    """`videos`."""

    provider = "zhipu"
    success = "SUCCESS"
    ends: ClassVar = {"failed": ("FAIL", ""), "moderation": ("FAIL", "1301")}
    refusals: ClassVar = {
        "auth": ("APIAuthenticationError", "1002"),
        "rate_limited": ("APIReachLimitError", "1303"),
        "concurrency": ("APIReachLimitError", "1302"),
        "funds": ("APIReachLimitError", "1113"),
        "invalid": ("APIRequestFailedError", "1214"),
        "moderation_submit": ("APIRequestFailedError", "1301"),
        "retired": ("APIRequestFailedError", "1211"),
        "server_error": ("APIInternalError", "Internal error."),
        "lost": ("APIStatusError", "Not found."),
    }

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        self._client = ZhipuAiClient(
            base_url=f"{origin}/zhipu/api/paas/v4", api_key=credential, max_retries=0
        )

    def make(self, prompt: str) -> Ended:
        """`generations`, then `retrieve_videos_result`: it has no helper that waits."""
        videos: Any = self._client.videos
        task = videos.generations(model="cogvideox-3", prompt=prompt, size="1920x1080", duration=5)
        while task.task_status == "PROCESSING":
            time.sleep(0.05)
            task = videos.retrieve_videos_result(task.id)
        if task.task_status == "SUCCESS":
            return Ended(task.task_status, video=fetched(task.video_result[0].url))
        return Ended(task.task_status, str(getattr(task, "error", None) or ""))

    def close(self) -> None:
        """Close it."""
        self._client.close()
