"""What a video row keeps of its request beside its columns: all that the submit needs, nothing else."""

from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from billing.agreed import unpack
from billing.money import to_decimal
from billing.prices import Agreed, Rate, Shape, price_micros
from providers.contract import MediaRole
from providers.spec import account_of_server


def route_key(upstream: str, upstream_model: str) -> str:
    """Name a route in `StoredRequest.prices` and `rates`; every server of a fleet has the fleet's price."""
    return f"{account_of_server(upstream)}/{upstream_model}"


def pixels_of(size: str) -> tuple[int, int] | None:
    """Read "1280x720"; None where the size of a source was never known."""
    width, _, height = size.partition("x")
    return (int(width), int(height)) if width.isdecimal() and height.isdecimal() else None


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
    `models` are the public model names to try, in order. What was held is the dearest route's price. `prices` is what
    was agreed (see `gateway.videos.quoting.Price`); earlier releases wrote a price per second and the `rates` of
    the routes that are cheaper.
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
    prices: dict[str, Any] | None = None
    price_per_second_micros: int = 0
    rates: dict[str, int] = Field(default_factory=dict)

    def agreed(self, upstream: str, upstream_model: str) -> Agreed | None:
        """What a video costs on the route that delivered; None where it is free because nobody knew.

        A route that came later costs what the dearest of the agreed ones does.
        """
        key = route_key(upstream, upstream_model)
        if self.prices is None:
            micros = self.rates.get(key, self.price_per_second_micros)
            return Agreed((Rate("output_second", to_decimal(micros)),))
        routes = self.prices["routes"]
        if key in routes:
            return unpack(routes[key])
        if self.prices.get("free") or not routes:
            return None
        return max(map(unpack, routes.values()), key=lambda each: price_micros(each.rates, self.shape()))

    def is_agreed(self, upstream: str, upstream_model: str) -> bool:
        """Whether the route's price was agreed, or none is needed."""
        told = self.prices or {"routes": ()}
        return bool(told.get("free")) or route_key(upstream, upstream_model) in told["routes"]

    @property
    def free(self) -> bool:
        """Whether it costs the client nothing: billing was off, or the video is from before it was written down."""
        return self.prices is None or bool(self.prices.get("free"))

    def rejection_charged(self, upstream: str, upstream_model: str) -> bool:
        """Whether what the upstream's moderation refuses is charged, as told when the video was accepted."""
        routes = {} if self.prices is None else self.prices["routes"]
        return bool(routes.get(route_key(upstream, upstream_model), {}).get("rejection"))

    def shape(self, operation: str = "generate") -> Shape:
        """What was priced."""
        told = self.prices or {}
        # an earlier release priced by the second alone, so there an unknown size is no obstacle
        width, height = pixels_of(self.size) or ((0, 0) if self.prices is not None else (1, 1))
        length = told.get("input_seconds", "0")
        return Shape(
            self.seconds,
            width,
            height,
            audio=self.parameters.get("audio"),
            operation=operation,
            service_tier=told.get("tier", "default"),
            fps=self.parameters.get("fps"),
            input_images=told.get("images", 0),
            input_seconds=None if length is None else Decimal(length),
        )
