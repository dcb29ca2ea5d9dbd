"""The google-genai package in the mode of Vertex AI."""

import time
from typing import ClassVar

from google import genai
from google.genai import errors
from google.genai.types import GenerateVideosConfig, HttpOptions
from google.oauth2.credentials import Credentials

from tests.conformance.official import Ended, OfficialClient


class GoogleGenAIVertex(OfficialClient):
    """Operations of Veo, with an access token that is there already."""

    provider = "google_vertex"
    success = "done"
    ends: ClassVar = {
        "failed": ("done", "Video generation failed."),
        "moderation": ("done", "Support codes: 42"),
        "completed_without_video": ("done", ""),
    }
    refusals: ClassVar = {
        "auth": (errors.ClientError, "UNAUTHENTICATED"),
        "rate_limited": (errors.ClientError, "RESOURCE_EXHAUSTED"),
        "invalid": (errors.ClientError, "INVALID_ARGUMENT"),
        "retired": (errors.ClientError, "NOT_FOUND"),
        "server_error": (errors.ServerError, "INTERNAL"),
        "lost": (errors.ClientError, "NOT_FOUND"),
    }

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        self._client = genai.Client(
            vertexai=True,
            project="acme",
            location="us-central1",
            credentials=Credentials(token=credential),
            http_options=HttpOptions(base_url=f"{origin}/google_vertex", api_version="v1"),
        )

    def make(self, prompt: str) -> Ended:
        """`models.generate_videos`, then `operations.get`."""
        operation = self._client.models.generate_videos(
            model="veo-3.1-fast-generate-001",
            prompt=prompt,
            config=GenerateVideosConfig(
                aspect_ratio="16:9", resolution="720p", duration_seconds=4, number_of_videos=1
            ),
        )
        while not operation.done:
            time.sleep(0.05)
            operation = self._client.operations.get(operation)
        if operation.error:
            return Ended("done", str(operation.error))
        response = operation.response
        assert response is not None
        if response.generated_videos:
            video = response.generated_videos[0].video
            assert video is not None
            return Ended("done", video=video.video_bytes or b"")
        return Ended("done", " ".join(response.rai_media_filtered_reasons or []))

    def close(self) -> None:
        """Close it."""
        self._client.close()
