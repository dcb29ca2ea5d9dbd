"""What a video row keeps of its request beside its columns: all that the submit needs, nothing else."""

from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from providers.contract import MediaRole


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
    `models` are the public model names to try, in order.
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
    price_per_second_micros: int = 0
