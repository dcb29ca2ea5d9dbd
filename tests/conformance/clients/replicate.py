"""The replicate package."""

from typing import ClassVar

from replicate.client import Client
from replicate.exceptions import ReplicateError
from replicate.prediction import Prediction

from tests.conformance.official import Ended, OfficialClient, fetched


class Replicate(OfficialClient):
    """Predictions of an official model."""

    provider = "replicate"
    success = "succeeded"
    ends: ClassVar = {
        "failed": ("failed", "Prediction interrupted"),
        "moderation": ("failed", "flagged as sensitive"),
        "out_of_memory": ("failed", "CUDA out of memory"),
        "cancelled": ("canceled", ""),
    }
    refusals: ClassVar = {
        "auth": (ReplicateError, "'status': 401"),
        "rate_limited": (ReplicateError, "resets in ~30s"),
        "invalid": (ReplicateError, "'status': 422"),
        "funds": (ReplicateError, "'status': 402"),
        "retired": (ReplicateError, "'status': 404"),
        "server_error": (ReplicateError, "'status': 500"),
        "lost": (ReplicateError, "'status': 404"),
    }
    cancelled = "canceled"

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        self._client = Client(api_token=credential, base_url=f"{origin}/replicate")
        self._client.poll_interval = 0.05

    def make(self, prompt: str) -> Ended:
        """`models.predictions.create(...).wait()`."""
        prediction = self._create(prompt)
        prediction.wait()
        if prediction.status == "succeeded":
            return Ended(prediction.status, video=fetched(str(prediction.output)))
        return Ended(prediction.status, str(prediction.error))

    def cancel(self, prompt: str) -> str:
        """`cancel`, and what a later reading says."""
        prediction = self._create(prompt)
        prediction.cancel()
        prediction.reload()
        return prediction.status

    def _create(self, prompt: str) -> Prediction:
        wanted = {"prompt": prompt, "duration": 4, "resolution": "720p", "aspect_ratio": "16:9"}
        return self._client.models.predictions.create(model=("google", "veo-3.1"), input=wanted)
