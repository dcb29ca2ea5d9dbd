"""The packages luma-agents and, for the older Dream Machine API, lumaai."""

import time
from typing import Any, ClassVar

import luma_agents
import lumaai

from tests.conformance.official import Ended, OfficialClient, fetched


class LumaAgents(OfficialClient):
    """Generations of the Agents API."""

    provider = "luma"
    success = "completed"
    ends: ClassVar = {
        "failed": ("failed", "generation_failed"),
        "moderation": ("failed", "content_moderated"),
    }
    refusals: ClassVar = {
        "auth": (luma_agents.AuthenticationError, "Invalid API key."),
        "rate_limited": (luma_agents.RateLimitError, "Rate limit exceeded."),
        "invalid": (luma_agents.UnprocessableEntityError, "Invalid request."),
        "funds": (luma_agents.APIStatusError, "Insufficient credits."),
        "retired": (luma_agents.NotFoundError, "Not found."),
        "server_error": (luma_agents.InternalServerError, "Bad gateway."),
        "lost": (luma_agents.NotFoundError, "Not found."),
    }

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        self._client = luma_agents.Luma(base_url=f"{origin}/luma/v1", auth_token=credential, max_retries=0)

    def make(self, prompt: str) -> Ended:
        """`generations.create`, then `generations.get`: it has no helper that waits."""
        made = self._client.generations.create(
            prompt=prompt,
            model="ray-3.2",
            type="video",
            aspect_ratio="16:9",
            video={"duration": "5s", "resolution": "540p"},
        )
        while made.state in {"queued", "processing"}:
            time.sleep(0.05)
            made = self._client.generations.get(made.id)
        if made.state == "failed":
            return Ended(made.state, f"{made.failure_code}: {made.failure_reason}")
        videos = [output.url for output in made.output or [] if output.type == "video"]
        return Ended(made.state, video=fetched(str(videos[0])))

    def close(self) -> None:
        """Close it."""
        self._client.close()


class LumaAI(OfficialClient):
    """Generations of the Dream Machine API."""

    provider = "luma"
    success = "completed"
    ends: ClassVar = {
        "failed": ("failed", "The generation failed."),
        "moderation": ("failed", "The content was moderated."),
    }
    refusals: ClassVar = {
        "auth": (lumaai.AuthenticationError, "Invalid API key."),
        "rate_limited": (lumaai.RateLimitError, "Rate limit exceeded."),
        "invalid": (lumaai.UnprocessableEntityError, "Invalid request."),
    }

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        base = f"{origin}/luma/dream-machine/v1"
        self._client = lumaai.LumaAI(base_url=base, auth_token=credential, max_retries=0)

    def make(self, prompt: str) -> Ended:
        """`generations.video.create`, then `generations.get`."""
        video: Any = self._client.generations.video
        made = video.create(
            prompt=prompt, model="ray-2", aspect_ratio="16:9", duration="5s", resolution="540p"
        )
        while made.state in {"queued", "dreaming"}:
            time.sleep(0.05)
            made = self._client.generations.get(made.id)
        if made.state == "failed":
            return Ended(made.state, str(made.failure_reason))
        return Ended(made.state, video=fetched(made.assets.video))

    def close(self) -> None:
        """Close it."""
        self._client.close()
