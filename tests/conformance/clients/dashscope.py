"""The dashscope package, which answers with errors and does not raise them."""

from typing import Any, ClassVar
from unittest.mock import patch

import dashscope
from dashscope import VideoSynthesis
from dashscope.client import base_api

from tests.conformance.official import Ended, OfficialClient, fetched


class Refused(Exception):
    """A code and a message in the client's answer."""


class DashScope(OfficialClient):
    """Video synthesis; the client waits a second between polls, which is shortened here."""

    provider = "dashscope"
    success = "SUCCEEDED"
    ends: ClassVar = {
        "failed": ("FAILED", "InternalError"),
        "moderation": ("FAILED", "DataInspectionFailed"),
        "cancelled": ("CANCELED", ""),
        "lost": ("UNKNOWN", ""),
    }
    refusals: ClassVar = {
        "auth": (Refused, "401 InvalidApiKey"),
        "rate_limited": (Refused, "429 Throttling.RateQuota"),
        "invalid": (Refused, "400 InvalidParameter"),
        "moderation_submit": (Refused, "400 DataInspectionFailed"),
        "funds": (Refused, "400 Arrearage"),
        "retired": (Refused, "403 Model.AccessDenied"),
        "server_error": (Refused, "500 InternalError"),
    }
    cancelled = "CANCELED"

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        dashscope.base_http_api_url = f"{origin}/dashscope/api/v1"
        dashscope.api_key = credential

    def make(self, prompt: str) -> Ended:
        """`async_call`, then `wait`."""
        created = self._create(prompt)
        with patch.object(base_api.time, "sleep"):
            task = self._checked(VideoSynthesis.wait(created))
        output = task.output
        if output.task_status == "SUCCEEDED":
            assert task.usage.duration == 5
            return Ended(output.task_status, video=fetched(output.video_url))
        return Ended(output.task_status, f"{output.get('code')}: {output.get('message')}")

    def cancel(self, prompt: str) -> str:
        """`cancel` of a task that waits."""
        created = self._create(prompt)
        self._checked(VideoSynthesis.cancel(created))
        return str(self._checked(VideoSynthesis.fetch(created)).output.task_status)

    def _create(self, prompt: str) -> Any:
        wanted: dict[str, Any] = {"resolution": "720P", "ratio": "16:9", "duration": 5}
        return self._checked(VideoSynthesis.async_call("wan2.7-t2v", prompt=prompt, **wanted))

    def _checked(self, answer: Any) -> Any:
        if answer.status_code != 200:
            raise Refused(f"{answer.status_code} {answer.code} {answer.message}")
        return answer
