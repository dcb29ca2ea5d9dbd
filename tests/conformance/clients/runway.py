"""The runwayml package."""

from typing import ClassVar
from unittest.mock import patch

import runwayml
from runwayml.lib import polling

from tests.conformance.official import Ended, OfficialClient, fetched


class RunwayML(OfficialClient):
    """Tasks; the client waits 6 seconds between polls, which is shortened here."""

    provider = "runway"
    success = "SUCCEEDED"
    refusals: ClassVar = {
        "auth": (runwayml.AuthenticationError, "Invalid API key."),
        "rate_limited": (runwayml.RateLimitError, "daily task limit"),
        "invalid": (runwayml.BadRequestError, "Validation of body failed."),
        "retired": (runwayml.NotFoundError, "Not found."),
        "server_error": (runwayml.InternalServerError, "Internal error."),
        "lost": (runwayml.NotFoundError, "Not found."),
        "failed": (runwayml.TaskFailedError, "INTERNAL.BAD_OUTPUT.CODE01"),
        "moderation": (runwayml.TaskFailedError, "SAFETY.OUTPUT.VIDEO"),
    }
    cancelled = "CANCELLED"

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        self._client = runwayml.RunwayML(base_url=f"{origin}/runway", api_key=credential, max_retries=0)

    def make(self, prompt: str) -> Ended:
        """`text_to_video.create(...).wait_for_task_output()`."""
        with patch.multiple(polling, POLL_TIME=0.05, POLL_JITTER=0):
            task = self._create(prompt).wait_for_task_output(timeout=20)
        return Ended(task.status, video=fetched(task.output[0]))

    def cancel(self, prompt: str) -> str:
        """`tasks.delete`."""
        task = self._create(prompt)
        self._client.tasks.delete(task.id)
        return str(self._client.tasks.retrieve(task.id).status)

    def close(self) -> None:
        """Close it."""
        self._client.close()

    def _create(self, prompt: str) -> polling.NewTaskCreatedResponse:
        return self._client.text_to_video.create(
            model="gen4.5", prompt_text=prompt, ratio="1280:720", duration=4
        )
