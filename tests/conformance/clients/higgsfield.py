"""The higgsfield-client package."""

from typing import ClassVar

from higgsfield_client import SyncClient
from higgsfield_client.http import client

from tests.conformance.official import Ended, OfficialClient, fetched


class Higgsfield(OfficialClient):
    """Requests; the client tries a refused create three times, and keeps nothing but the text of the refusal."""

    provider = "higgsfield"
    success = "Completed"
    ends: ClassVar = {"failed": ("Failed", ""), "moderation": ("NSFW", ""), "cancelled": ("Cancelled", "")}
    refusals: ClassVar = {
        "auth": ("HiggsfieldClientError", "Invalid credentials"),
        "rate_limited": ("HiggsfieldClientError", "Too many requests"),
        "concurrency": ("HiggsfieldClientError", "Maximum number of concurrent requests"),
        "invalid": ("HiggsfieldClientError", "Field required"),
        "funds": ("HiggsfieldClientError", "Not enough credits"),
        "retired": ("HiggsfieldClientError", "Model not found"),
        "server_error": ("HiggsfieldClientError", "Internal Server Error"),
        "lost": ("HiggsfieldClientError", "Request not found"),
    }
    cancelled = "Cancelled"

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        self._client = SyncClient(base_url=f"{origin}/higgsfield", api_key=credential)

    def make(self, prompt: str) -> Ended:
        """`submit`, the last of `poll_request_status`, then `get`."""
        request = self._submit(prompt)
        state = type(list(request.poll_request_status(delay=0.05))[-1]).__name__
        return Ended(state, video=fetched(request.get()["video"]["url"]) if state == "Completed" else b"")

    def cancel(self, prompt: str) -> str:
        """`cancel` of a queued request."""
        request = self._submit(prompt)
        request.cancel()
        return type(request.status()).__name__

    def _submit(self, prompt: str) -> client.SyncRequestController:
        wanted = {"prompt": prompt, "duration": 5, "resolution": "720p", "aspect_ratio": "16:9"}
        return self._client.submit("kling-video/v2.1/pro/text-to-video", wanted)
