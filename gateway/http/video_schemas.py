"""What the video routes answer, for the API description. The service builds these as plain objects."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["queued", "in_progress", "completed", "failed"]


class _Answer(BaseModel):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class VideoError(_Answer):
    """Why a video failed."""

    code: str
    message: str


class Amount(_Answer):
    """USD as a decimal text with six places."""

    currency: Literal["usd"]
    amount: str


class Cost(Amount):
    """What the video costs: set aside while it runs, charged once completed, given back when it failed."""

    status: Literal["held", "captured", "released"]


class Origin(_Answer):
    """What the file says of its origin. `c2pa`: signed by this server, by the upstream that made it, or by nobody."""

    c2pa: Literal["signed", "upstream", "none"]
    visible_mark: bool
    invisible_mark: bool


class Video(BaseModel):
    """One video. Times are unix seconds."""

    id: str
    object: Literal["video"]
    model: str
    status: Status
    progress: int = Field(ge=0, le=100)
    created_at: int
    completed_at: int | None
    expires_at: int | None
    prompt: str | None
    size: str
    seconds: str = Field(description="The billed length; of an extension the length of the whole result.")
    remixed_from_video_id: str | None
    error: VideoError | None
    operation: Literal["generate", "remix", "edit", "extend"]
    cost: Cost
    provenance: Origin | None = Field(description="Null until the file is there.")
    metadata: dict[str, str]
    warnings: list[str]
    user: str = Field(default="", description="Only where the request named one.")
    group: list[str] = Field(
        default_factory=list, description="The ids of all videos of a request with n > 1."
    )


class VideoList(_Answer):
    """One page of videos."""

    object: Literal["list"]
    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedVideo(_Answer):
    """What is left of a deleted video."""

    id: str
    object: Literal["video.deleted"]
    deleted: Literal[True]


class Character(_Answer):
    """A reference clip with a name."""

    id: str
    object: Literal["character"]
    name: str
    created_at: int


class PriceLine(_Answer):
    """One unit of a price: what is counted, how much of it, USD for one, and USD for all of it."""

    unit: Literal["output_second", "clip", "million_tokens", "input_image", "input_second", "gpu_second"]
    quantity: str
    unit_price: str
    amount: str


class RoutePrice(Amount):
    """What one video costs on a route: by a price of its own, or by the upstream's cost times a margin."""

    rule: Literal["explicit", "margin"]
    lines: list[PriceLine]


class UpstreamCost(_Answer):
    """What the upstream takes for one video, in its currency; `usd` null where no exchange rate is known."""

    usd: str | None
    currency: Literal["usd", "cny", "credit"]
    amount: str
    usd_per_unit: str | None


class QuotedRoute(_Answer):
    """Where the video would be made first, unless weights, cost, speed or an outage say otherwise."""

    upstream: str
    model: str


class PricedRoute(BaseModel):
    """A route that may serve the request; `price` null where nobody set one."""

    upstream: str
    model: str
    price: RoutePrice | None
    upstream_cost: UpstreamCost | None = Field(
        default=None, description="An estimate; only the operator sees it."
    )


class Quote(_Answer):
    """What a create with the same body would do. `cost` and `hold` are for all `n` videos, on the dearest route."""

    object: Literal["video.quote"]
    model: str
    seconds: str
    size: str
    n: int
    cost: Amount
    hold: Amount
    route: QuotedRoute
    routes: list[PricedRoute]
    warnings: list[str]
