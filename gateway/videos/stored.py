"""What a video row keeps of its request beside its columns: all that the submit needs, nothing else."""

from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from providers.contract import MediaRole


def route_key(upstream: str, upstream_model: str) -> str:
    """Name a route in `StoredRequest.rates`."""
    return f"{upstream}/{upstream_model}"


class StoredMedia(BaseModel):
    """One input: in our storage under `storage_key`, or still only a `url` until the first job step copies it."""

    model_config = ConfigDict(extra="forbid")

    role: MediaRole
    storage_key: str | None = None
    url: str | None = None
    media_type: str = ""
    size: int = 0
    name: str = ""


class StoredRequest(BaseModel):
    """The `videos.request` column.

    `seconds` is what the upstream is asked to make (for an extension the added seconds, while the row's column
    holds the stitched total). `pinned_attempt_id` names the source's attempt where the model needs its handle.
    `models` are the public model names to try, in order. What was held is the dearest route's price; `rates` has the
    routes that are cheaper, as priced when the video was accepted.
    """

    model_config = ConfigDict(extra="forbid")

    v: int = 1
    seconds: Decimal
    size: str
    models: list[str]
    parameters: dict[str, Any] = Field(default_factory=dict)
    provider_options: dict[str, Any] = Field(default_factory=dict)
    media: list[StoredMedia] = Field(default_factory=list)
    pinned_attempt_id: str | None = None
    webhook_url: str | None = None
    concurrent_videos: int | None = None  # the key's cap when the video was accepted
    organization_videos: int | None = None  # the plan's cap for all keys of the organization
    watermark: bool = False  # the plan's terms when the video was accepted, as the next two
    retention_days: float | None = None
    cancel_fee_micros: int = 0
    price_per_second_micros: int = 0
    rates: dict[str, int] = Field(default_factory=dict)

    def rate(self, upstream: str, upstream_model: str) -> int:
        """Micro-USD a second on the route that delivered: its own where it differs from what was held."""
        return self.rates.get(route_key(upstream, upstream_model), self.price_per_second_micros)
