"""The wavespeed package."""

from typing import ClassVar

import wavespeed

from tests.conformance.official import Ended, OfficialClient, fetched


class WaveSpeed(OfficialClient):
    """`run`; beyond the class of an error the client keeps no more than a text."""

    provider = "wavespeed"
    success = "completed"
    refusals: ClassVar = {
        "auth": ("_SubmissionError", "HTTP 401"),
        "rate_limited": ("_SubmissionError", "HTTP 429"),
        "invalid": ("_SubmissionError", "HTTP 400"),
        "funds": ("_SubmissionError", "HTTP 402"),
        "retired": ("_SubmissionError", "HTTP 404"),
        "server_error": ("_SubmissionError", "HTTP 500"),
        "lost": ("RuntimeError", "HTTP 404"),
        "failed": ("_TaskFailedError", "Prediction failed"),
        "moderation": ("_TaskFailedError", "potentially sensitive"),
        "expired": ("RuntimeError", "Prediction timeout"),
        "cancelled": ("RuntimeError", "Prediction cancelled"),
    }

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        self._client = wavespeed.Client(
            api_key=credential,
            base_url=f"{origin}/wavespeed",
            max_retries=0,
            max_connection_retries=0,
        )

    def make(self, prompt: str) -> Ended:
        """Create and wait in one call."""
        wanted = {"prompt": prompt, "duration": 4, "resolution": "720p", "aspect_ratio": "16:9"}
        made = self._client.run("google/veo3", wanted, poll_interval=0.05)
        return Ended("completed", video=fetched(made["outputs"][0]))
