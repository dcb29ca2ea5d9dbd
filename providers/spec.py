"""What the operator or a catalogue file says of an upstream and its models: data, checked when read."""

import os
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from providers.contract import MediaRole, Operation, SubmitSafety
from providers.lengths import lengths
from providers.price_rows import Confidence, PriceRow, check_rows
from providers.prompt_world import PromptWorld
from providers.sizes import AspectRatio, Resolution, sizes_of, words_of
from providers.urls import origin

OPENAI_SIZES: Final = ("720x1280", "1280x720", "1024x1792", "1792x1024")
SELF_HOSTED: Final = frozenset({"local", "vllm_omni", "sglang", "fastvideo"})
"""Dialects of model servers that know only their own jobs: each address of their name is a server of its own."""
PARAMETERS: Final = frozenset(
    {"negative_prompt", "seed", "fps", "aspect_ratio", "resolution", "audio", "quality", "n", "service_tier"},
)
"""Extension fields of the create body that a model may or may not take."""

Status = Literal["live", "preview", "retiring", "retired", "unverified"]
"""Whether the upstream still serves a model; `unverified`: its own sources disagree or say nothing."""

SoundMode = Literal["none", "optional", "always"]

_LONGEST_FLEET_NAME: Final = 60  # an address is added to it
_SIZE = re.compile(r"[1-9][0-9]{1,4}x[1-9][0-9]{1,4}")


def _day(value: Any) -> Any:
    """Take the dates of TOML and "YYYY-MM-DD"; ValueError for any other text."""
    return date.fromisoformat(value).isoformat() if isinstance(value, str) else _text_of_day(value)


def _text_of_day(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


Lengths = Annotated[tuple[Decimal, ...], BeforeValidator(lengths)]
Day = Annotated[str, BeforeValidator(_day)]


class ModelSpec(BaseModel):
    """One model as a route serves it: what it takes, what it costs.

    `prices` are what a customer pays, `upstream_costs` what the upstream takes; the fields per second are the short
    form of one row each. `charges_on_rejection`: whether the upstream bills what its moderation refuses.
    `resolutions` with `aspect_ratios` are the short form of `sizes`, `audio` that of the parameter and its default.
    `extension_seconds` are the lengths an extension may add, where they differ from `seconds`. `shape_follows_input`:
    the picture has the shape of the input, `size` chooses its resolution alone. `frames`: the pixels that an upstream
    makes of a resolution and a ratio, where they are not the plain ones. `max_seconds_at`: the longest video at a
    resolution, where it is shorter than at others. `regions` empty means everywhere.
    `wire` is how the upstream spells a field of the request, where its models differ: our word = its word, false = it
    has none. `provider_options` are those that a client may send; None means any where a video costs its client nothing,
    and none where it is priced: an option may make the upstream do more than the price says. `prompt_world` is for a
    model that knows only a few words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1, max_length=200)
    upstream_model: str = ""
    description: str = ""
    operations: frozenset[Operation] = frozenset(Operation)
    roles: frozenset[MediaRole] = frozenset({MediaRole.FIRST_FRAME, MediaRole.SOURCE, MediaRole.EXTEND_FROM})
    required_roles: frozenset[MediaRole] = frozenset()
    needs_handle: frozenset[Operation] = frozenset()
    parameters: frozenset[str] = frozenset({"seed", "n"})
    provider_options: frozenset[str] | None = None
    audio: SoundMode | None = None
    seconds: Lengths = (Decimal(4), Decimal(8), Decimal(12))
    default_seconds: Decimal | None = None
    extension_seconds: Lengths = ()
    resolutions: tuple[Resolution, ...] = ()
    aspect_ratios: tuple[AspectRatio, ...] = ()
    frames: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    shape_follows_input: bool = False
    sizes: tuple[str, ...] = OPENAI_SIZES
    default_size: str | None = None
    native_size: str | None = None
    max_prompt_chars: int = Field(default=32_000, ge=1)
    max_reference_images: int = Field(default=0, ge=0)
    max_reference_videos: int = Field(default=0, ge=0)
    max_reference_audios: int = Field(default=0, ge=0)
    max_image_bytes: int | None = Field(default=None, ge=1)
    max_video_bytes: int | None = Field(default=None, ge=1)
    max_source_seconds: Decimal | None = Field(default=None, gt=0)
    max_seconds_at: Mapping[str, Decimal] = Field(default_factory=dict)
    price_per_second_usd: Decimal | None = Field(default=None, ge=0)
    upstream_cost_per_second_usd: Decimal | None = Field(default=None, ge=0)
    prices: tuple[PriceRow, ...] = ()
    upstream_costs: tuple[PriceRow, ...] = ()
    default_audio: bool | None = None
    charges_on_rejection: Literal["yes", "no", "unknown"] = "unknown"
    submit_safety: SubmitSafety | None = None
    deadline_seconds: float = Field(default=3600, gt=0)
    priority: int | None = Field(default=None, ge=0)  # of this route; None is the upstream's
    weight: int | None = Field(default=None, ge=0)
    licence: str | None = None
    terms: str | None = None
    status: Status = "live"
    released: Day | None = None
    shutdown_date: Day | None = None
    replacement: str | None = None
    regions: frozenset[str] = frozenset()
    wire: Mapping[str, str | bool] = Field(default_factory=dict)
    source: str | None = None
    as_of: date | None = None
    confidence: Confidence | None = None
    warnings: tuple[str, ...] = ()
    prompt_world: PromptWorld | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: Any) -> Any:
        """Write the short forms out: shapes as sizes, the sound as parameter and default."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if "sizes" not in data and data.get("resolutions"):
            with suppress(ValueError, TypeError):  # the field's own check says what is wrong with it
                data["sizes"] = sizes_of(data)
        if data.get("audio") == "optional":
            data["parameters"] = [*data.get("parameters", cls.model_fields["parameters"].default), "audio"]
        elif data.get("audio") is not None:
            data.setdefault("default_audio", data["audio"] == "always")
        return data

    @field_validator("sizes")
    @classmethod
    def _sizes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for size in value:
            if not _SIZE.fullmatch(size):
                raise ValueError(f"'{size}' is not WIDTHxHEIGHT in pixels")
        return value

    @field_validator("max_seconds_at")
    @classmethod
    def _known_resolutions(cls, value: Mapping[str, Decimal], info: ValidationInfo) -> Any:
        if unknown := value.keys() - set(info.data.get("resolutions", ())):
            raise ValueError(f"not among the resolutions: {', '.join(sorted(unknown))}")
        return value

    @field_validator("frames")
    @classmethod
    def _frames(cls, value: Mapping[str, Mapping[str, str]], info: ValidationInfo) -> Any:
        resolutions, ratios = info.data.get("resolutions", ()), info.data.get("aspect_ratios", ())
        for resolution, shapes in value.items():
            if resolution not in resolutions or not shapes.keys() <= set(ratios):
                raise ValueError(f"frames of {resolution}: only of the resolutions and aspect_ratios above")
        return value

    @field_validator("parameters")
    @classmethod
    def _parameters(cls, value: frozenset[str]) -> frozenset[str]:
        if unknown := value - PARAMETERS:
            raise ValueError(
                f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(sorted(PARAMETERS))}"
            )
        return value

    @model_validator(mode="after")
    def _defaults(self) -> "ModelSpec":
        if Operation.GENERATE in self.operations and not (self.seconds and self.sizes):
            raise ValueError(f"model '{self.id}' needs at least one entry in seconds and in sizes")
        if self.audio == "optional" and self.default_audio is None:
            raise ValueError(f"model '{self.id}': its sound is optional, so default_audio must be given")
        for name, value, offered in (
            ("default_seconds", self.default_seconds, self.seconds),
            ("default_size", self.default_size, self.sizes),
        ):
            if value is not None and value not in offered:
                raise ValueError(f"model '{self.id}': its {name} is not one of those it offers")
        return self

    @model_validator(mode="after")
    def _price_book(self) -> "ModelSpec":
        for name, field, rows in (
            ("prices", "price_per_second_usd", self.price_rows),
            ("upstream_costs", "upstream_cost_per_second_usd", self.cost_rows),
        ):
            if getattr(self, name) and getattr(self, field) is not None:
                raise ValueError(f"model '{self.id}': give {field} or {name}, not both")
            check_rows(rows, f"model '{self.id}', its {name}")
            if self.default_audio is None and any(row.audio is not None for row in rows):
                raise ValueError(
                    f"model '{self.id}': its {name} depend on audio, so default_audio must say what is made "
                    "when a request does not"
                )
        if any(row.currency != "USD" for row in self.prices):
            raise ValueError(
                f"model '{self.id}': prices are in USD; other currencies belong in upstream_costs"
            )
        return self

    @property
    def price_rows(self) -> tuple[PriceRow, ...]:
        """What a customer pays, the short form included; empty where nobody set it."""
        return self.prices or _per_second(self.price_per_second_usd, "price_per_second_usd")

    @property
    def cost_rows(self) -> tuple[PriceRow, ...]:
        """What the upstream takes, the short form included; empty where it is not known."""
        return self.upstream_costs or _per_second(
            self.upstream_cost_per_second_usd, "upstream_cost_per_second_usd"
        )

    @property
    def upstream_id(self) -> str:
        """The name the upstream knows."""
        return self.upstream_model or self.id

    def words_of(self, size: str) -> tuple[str | None, str | None]:
        """Say a size as the resolution and the aspect ratio that the upstream knows it by."""
        return words_of(size, self.resolutions, self.aspect_ratios, self.frames)

    def takes_options(self, names: Collection[str], *, free: bool) -> bool:
        """Whether a client may send these provider_options; `free`: its videos cost it nothing."""
        known = self.provider_options
        return not names or (free if known is None else known.issuperset(names))

    def lengths_of(self, operation: Operation) -> tuple[Decimal, ...]:
        """List the lengths on offer; those of an extension are what it adds."""
        return (self.extension_seconds or self.seconds) if operation is Operation.EXTEND else self.seconds

    def longest_at(self, size: str) -> Decimal | None:
        """Give the longest video of a size where that is shorter than of others."""
        return self.max_seconds_at.get(self.words_of(size)[0] or "") if self.max_seconds_at else None

    @property
    def seconds_when_omitted(self) -> Decimal:
        """The length made when the client names none; only of a model that generates."""
        return self.default_seconds or self.seconds[0]

    @property
    def size_when_omitted(self) -> str:
        """The size made when the client names none: 720x1280 where offered, as OpenAI's default; as above."""
        if self.default_size:
            return self.default_size
        return "720x1280" if "720x1280" in self.sizes else self.sizes[0]


class UpstreamSpec(BaseModel):
    """A configured account or worker at a provider: one [[upstreams]] table of onereel.toml.

    Of the upstreams that serve a model those of the lowest `priority` come first; among equals that have a `weight`
    videos are shared out in that proportion, and weight 0 is only fallen back on. `requests_per_second` limits creates
    and polls together; where `polls_per_second` is set, polls have that budget of their own.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    type: str = "openai_compatible"
    base_url: str
    api_key: SecretStr | None = None
    api_key_env: str | None = None
    max_concurrent: int | None = Field(default=None, ge=1)
    requests_per_second: float | None = Field(default=None, gt=0)
    polls_per_second: float | None = Field(default=None, gt=0)
    options: dict[str, Any] = Field(default_factory=dict)  # the adapter's own: {"dialect": "openai"}
    credit_usd: Decimal | None = Field(default=None, gt=0)  # what one of the upstream's own credits costs
    priority: int = Field(default=0, ge=0)
    weight: int | None = Field(default=None, ge=0)
    traces: bool | None = None  # whether it is sent our trace ids (traceparent); None: a worker of ours is
    pass_on_rejection_charges: bool = False  # let the customer pay what moderation refused, where it costs us
    models: tuple[ModelSpec, ...] = ()
    _credential_version: int | None = PrivateAttr(default=None)
    _address: str | None = PrivateAttr(default=None)

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        """The address is shown and trusted: no credential in it, nothing behind the path."""
        origin(value)
        parts = urlsplit(value)
        if "@" in parts.netloc:
            raise ValueError("the URL must not contain a user name or password: the credential is api_key")
        if parts.query or parts.fragment:
            raise ValueError("the URL must end with its path, without ? or #")
        return value

    @model_validator(mode="after")
    def _room_for_an_address(self) -> "UpstreamSpec":
        if self.is_fleet and len(self.name) > _LONGEST_FLEET_NAME:
            raise ValueError(f"its name may have at most {_LONGEST_FLEET_NAME} characters")
        return self

    @property
    def dialect(self) -> str:
        """The words of its API, where it speaks OpenAI's."""
        return str(self.options.get("dialect", "local" if self.type == "local" else "openai"))

    @property
    def traced(self) -> bool:
        """Whether its requests carry our trace context."""
        return self.dialect == "local" if self.traces is None else self.traces

    @property
    def is_fleet(self) -> bool:
        """Whether each address of its name is a server of its own, which alone knows the jobs that it took."""
        return self.dialect in SELF_HOSTED and not _is_address(urlsplit(self.base_url).hostname or "")

    @property
    def address(self) -> str | None:
        """The one server of a fleet that this is; None for the upstream as it is configured."""
        return self._address

    @property
    def account(self) -> str:
        """The name as it is configured."""
        return account_of_server(self.name)

    def at(self, address: str | None) -> "UpstreamSpec":
        """Make the upstream that is this fleet's server at an address, named "fleet@address"; None is the fleet."""
        if address == self._address:
            return self
        name = self.account if address is None else f"{self.account}@{address}"
        made = self.model_copy(update={"name": name})
        made._address = address  # noqa: SLF001  (its own kind)
        return made

    @property
    def credential_version(self) -> int | None:
        """Which of the upstream's stored credentials this is; None where it is not a stored one."""
        return self._credential_version

    def with_credential(self, secret: str, version: int) -> "UpstreamSpec":
        """Make the same upstream with a stored credential."""
        made = self.model_copy(update={"api_key": SecretStr(secret)})
        made._credential_version = version  # noqa: SLF001  (its own kind)
        return made

    @property
    def credential(self) -> str:
        """The key, from the file or the named environment variable; empty where there is none."""
        if self.api_key is not None:
            return self.api_key.get_secret_value()
        return os.environ.get(self.api_key_env, "") if self.api_key_env else ""


def account_of_server(name: str) -> str:
    """Give the configured upstream's name: an attempt may name one server of a fleet, "fleet@address"."""
    return name.partition("@")[0]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _per_second(amount: Decimal | None, field: str) -> tuple[PriceRow, ...]:
    """Write the short form as a row: it is what the configuration says today."""
    if amount is None:
        return ()
    today = datetime.now(UTC).date()
    return (
        PriceRow(unit="output_second", amount=amount, source=f"{field} in the configuration", as_of=today),
    )
