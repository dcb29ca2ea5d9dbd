"""The fal-client package, whose addresses are constants."""

from typing import ClassVar
from unittest.mock import patch

import fal_client
from fal_client import client

from tests.conformance.official import Ended, OfficialClient, fetched

_MODEL = "xai/grok-imagine-video/text-to-video"


class Fal(OfficialClient):
    """The queue."""

    provider = "fal"
    success = "Completed"
    refusals: ClassVar = {
        "auth": (fal_client.FalClientHTTPError, "No user found"),
        "invalid": (fal_client.FalClientHTTPError, "'status_code': 422"),
        "funds": (fal_client.FalClientHTTPError, "Exhausted balance"),
        "retired": (fal_client.FalClientHTTPError, "'status_code': 404"),
        "server_error": (fal_client.FalClientHTTPError, "'status_code': 500"),
        "lost": (fal_client.FalClientHTTPError, "'status_code': 404"),
        "failed": (fal_client.FalClientHTTPError, "Runner server error"),
        "moderation": (fal_client.FalClientHTTPError, "content_policy_violation"),
        "completed_with_error": (fal_client.FalClientHTTPError, "startup_timeout"),
    }
    cancelled = "202"

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        self._client = fal_client.SyncClient(key=credential)

    def make(self, prompt: str) -> Ended:
        """Every event of `iter_events`, then `get`, which raises what the result holds instead of a video."""
        handle = self._submit(prompt)
        events = list(handle.iter_events(with_logs=True, interval=0.05))
        return Ended(type(events[-1]).__name__, video=fetched(handle.get(interval=0.05)["video"]["url"]))

    def cancel(self, prompt: str) -> str:
        """`cancel`, which raises what is no success."""
        self._submit(prompt).cancel()
        return "202"

    def _submit(self, prompt: str) -> fal_client.SyncRequestHandle:
        arguments = {"prompt": prompt, "duration": 4, "resolution": "720p", "aspect_ratio": "16:9"}
        with patch.object(client, "QUEUE_URL_FORMAT", f"{self.origin}/fal/"):
            return self._client.submit(_MODEL, arguments)
