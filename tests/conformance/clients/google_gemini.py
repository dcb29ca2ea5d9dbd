"""The google-genai package in the mode of the Gemini API."""

import time
from typing import Any, ClassVar

from google import genai
from google.genai import _interactions_errors as errors  # what it raises; it exports them nowhere
from google.genai.types import HttpOptions, HttpRetryOptions

from tests.conformance.official import Ended, OfficialClient


class GoogleGenAI(OfficialClient):
    """Interactions and files."""

    provider = "google_gemini"
    success = "completed"
    ends: ClassVar = {
        "failed": ("failed", "The generation failed."),
        "moderation": ("completed", "usage guidelines"),
        "cancelled": ("cancelled", ""),
    }
    refusals: ClassVar = {
        "auth": (errors.PermissionDeniedError, "permission_denied"),
        "rate_limited": (errors.RateLimitError, "resource_exhausted"),
        "invalid": (errors.BadRequestError, "invalid_argument"),
        "retired": (errors.NotFoundError, "not_found"),
        "server_error": (errors.InternalServerError, "internal"),
        "lost": (errors.NotFoundError, "not_found"),
    }
    cancelled = "cancelled"

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        once = HttpRetryOptions(attempts=1)
        options = HttpOptions(base_url=f"{origin}/google_gemini", retry_options=once)
        self._client = genai.Client(api_key=credential, http_options=options)
        self._interactions: Any = self._client.interactions

    def make(self, prompt: str) -> Ended:
        """`interactions.create`, then `interactions.get`, and `files.download`."""
        made = self._create(prompt)
        while made.status in {"queued", "in_progress"}:
            time.sleep(0.05)
            made = self._interactions.get(made.id)
        video = made.output_video
        if video is None:
            said = [
                part.text for step in made.steps or [] for part in step.content or [] if part.type == "text"
            ]
            told = [error.message for error in made.errors or []]
            return Ended(made.status, " ".join([*said, *told]))
        address = video.uri.replace("http://", "https://")  # it takes a file's name from no other
        assert self._client.files.get(name=address).state == "ACTIVE"
        return Ended(made.status, video=self._client.files.download(file=address))

    def cancel(self, prompt: str) -> str:
        """`interactions.cancel`."""
        return str(self._interactions.cancel(self._create(prompt).id).status)

    def close(self) -> None:
        """Close it."""
        self._client.close()

    def _create(self, prompt: str) -> Any:
        return self._interactions.create(
            model="gemini-omni-1.2-flash",
            input=prompt,
            background=True,
            store=True,
            response_format={
                "type": "video",
                "aspect_ratio": "16:9",
                "duration": "4s",
                "resolution": "720p",
                "delivery": "uri",
            },
            generation_config={"video_config": {"task": "text_to_video"}},
        )
