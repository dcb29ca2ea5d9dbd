"""Configuration: ONEREEL_* variables over onereel.toml over defaults. Nested names join with `__`."""

import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from billing.exchange import ExchangeRate
from billing.plans import Plan
from providers.configured import expanded, from_environment
from providers.presets import DEFAULT_MODEL, FeatureName, Preset, all_presets, preset
from providers.spec import UpstreamSpec

Role = Literal["api", "jobs"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Jobs(_Section):
    """The job engine. Times in seconds. `concurrency` is how many creates and downloads run at once; polls, which are
    short, may bring it to four times as many."""

    lease_seconds: float = 12
    renew_seconds: float = 4
    concurrency: int = 64
    unknown_grace_seconds: float = 900
    lookup_wait_seconds: float = 30
    max_attempts: int = 3
    max_tries: int = 8
    shutdown_grace_seconds: float = 10


class Routing(_Section):
    """Which upstream a video goes to. `prefer` sorts the routes of a model that have the same priority. So many
    failures within the window open an upstream's breaker for a cool-down that doubles up to the longest. A video whose
    every upstream has been away for `patience_seconds` fails. So long after it was accepted a video waits for a worker
    that has its model in memory: `hold_out_seconds`. Times in seconds."""

    prefer: Literal["order", "cost", "latency"] = "order"
    failure_threshold: int = Field(default=5, ge=1)
    failure_window_seconds: float = Field(default=60, gt=0)
    cool_down_seconds: float = Field(default=15, gt=0)
    longest_cool_down_seconds: float = Field(default=300, gt=0)
    patience_seconds: float = Field(default=900, ge=0)
    hold_out_seconds: float = Field(default=30, ge=0)


class Local(_Section):
    """The bundled diffusion worker. `enabled` None means: when the `local` extra is installed.

    `models` are names of docs/local-backend.md, or of `own_models`: what it serves; the first is loaded at the start, the
    others when asked for; `pinned` ones are loaded at the start too, and stay. `memory_bytes` bounds the weights that are in memory at once. `features` None: those that were
    measured on its kind of device. `batch`: how many videos that are alike are made in one call at most.
    """

    enabled: bool | None = None
    device: str = "cpu"
    own_models: tuple[Preset, ...] = ()
    models: tuple[str, ...] = Field(default=(DEFAULT_MODEL,), min_length=1)
    pinned: tuple[str, ...] = ()
    memory_bytes: int | None = Field(default=None, gt=0)
    features: tuple[FeatureName, ...] | None = None
    batch: int = Field(default=1, ge=1, le=16)
    python: str | None = None
    models_dir: Path | None = None

    @field_validator("own_models", mode="before")
    @classmethod
    def _filled(cls, value: Any) -> Any:
        rows = value if isinstance(value, list | tuple) else ()
        taken = [row["id"] for row in rows if isinstance(row, Mapping) and row.get("id") in all_presets()]
        if taken:
            raise ValueError(f"{taken[0]} is a name of onereel's own: choose another id")
        return [preset(row) if isinstance(row, Mapping) else row for row in rows]

    @field_validator("models")
    @classmethod
    def _known(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known = [*all_presets(), *(own.id for own in info.data.get("own_models", ()))]
        if unknown := [name for name in value if name not in known]:
            raise ValueError(f"unknown: {', '.join(unknown)}; known are {', '.join(known)}")
        return value

    @field_validator("pinned")
    @classmethod
    def _served(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if others := [name for name in value if name not in info.data.get("models", value)]:
            raise ValueError(f"not among models: {', '.join(others)}")
        return value

    @property
    def presets(self) -> Mapping[str, Preset]:
        """Every model that the worker can serve, by name."""
        return {**all_presets(), **{own.id: own for own in self.own_models}}


class Security(_Section):
    """`allowed_private_hosts` are "host:port" pairs that user URLs may reach although private."""

    allowed_private_hosts: tuple[str, ...] = ()
    encryption_keys: tuple[SecretStr, ...] = ()  # Fernet keys, newest first; made at first start if empty


class Billing(_Section):
    """`mode` is that of organizations made from now on. `margin` multiplies the upstream cost of models without a
    price, where neither organization nor plan has one. Of the `exchange_rates` of a currency the newest one counts
    that is not of the future."""

    mode: Literal["off", "prepaid", "postpaid"] = "off"
    margin: Decimal | None = Field(default=None, gt=0)
    exchange_rates: tuple[ExchangeRate, ...] = ()

    @field_validator("exchange_rates")
    @classmethod
    def _one_a_day(cls, value: tuple[ExchangeRate, ...]) -> tuple[ExchangeRate, ...]:
        days = [(rate.currency, rate.as_of) for rate in value]
        if twice := {day for day in days if days.count(day) > 1}:
            currency, as_of = min(twice)
            raise ValueError(f"two exchange rates of {currency} are dated {as_of}: keep one")
        return value


class StripeAccount(_Section):
    """The Stripe account that collects; without `api_key` nothing of Stripe is used. `meter_price` is the id of the
    metered price that postpaid organizations subscribe to."""

    api_key: SecretStr | None = None
    webhook_secret: SecretStr | None = None
    api_base: str = "https://api.stripe.com"
    meter_event_name: str = "onereel_usage"
    meter_price: str | None = None
    success_url: str | None = None
    cancel_url: str | None = None


class Oidc(_Section):
    """Sign-in to the dashboard by OpenID Connect. `issuer` is compared letter by letter; `name` is what the button says.
    Only invited people enter, unless `default_role` says what anybody of the `allowed_domains` becomes in the default
    organization."""

    issuer: str | None = Field(default=None, pattern=r"^https?://")
    client_id: str | None = None
    client_secret: SecretStr | None = None
    name: str = Field(default="single sign-on", min_length=1, max_length=60)
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    allowed_domains: tuple[str, ...] = ()
    default_role: Literal["admin", "developer", "billing", "viewer"] | None = None

    @model_validator(mode="after")
    def _not_for_everybody(self) -> Self:
        if self.issuer is not None and not self.client_id:
            raise ValueError("oidc.client_id is missing: the provider gives one to each application")
        if self.default_role is not None and not self.allowed_domains:
            raise ValueError("oidc.default_role needs oidc.allowed_domains, or the whole world may enter")
        return self


class Metrics(_Section):
    token: SecretStr | None = None


class Tracing(_Section):
    """OpenTelemetry traces, see docs/observability.md. `endpoint` is the address of an OTLP/HTTP collector; without it
    there are none. `headers` are "name=value,name=value". `sample_ratio` of the traces are kept, whole."""

    endpoint: str | None = Field(default=None, pattern=r"^https?://")
    headers: SecretStr | None = None
    sample_ratio: float = Field(default=1.0, ge=0, le=1)


class Limits(_Section):
    """Bounds on requests. Bytes, pixels and seconds by name. The head of a request must come within `header_seconds`; of its
    body something must come every `body_seconds`, and after as long a time 1 KiB a second."""

    json_bytes: int = 30 * 1024 * 1024
    image_bytes: int = 25 * 1024 * 1024
    video_bytes: int = 512 * 1024 * 1024
    file_bytes: int = 512 * 1024 * 1024
    image_pixels: int = 50_000_000
    video_seconds: int = 600
    form_fields: int = 256
    bracket_depth: int = 5
    header_seconds: float = Field(default=30, gt=0)
    body_seconds: float = Field(default=60, gt=0)
    reads_per_minute: int | None = 6000  # of one key that has a create limit


class Media(_Section):
    """`watermark_text` is what the videos of plans with a watermark show: the letters that the bundled font has.
    `workers` are processes that look at files and mark them; one is always left for what clients wait for."""

    watermark_text: str = Field(default="onereel", max_length=40, pattern=r"^[!-~©™][ -~©™]*$")
    workers: int = Field(default=2, ge=2)


class Provenance(_Section):
    """What a file says of its origin. `c2pa` names the videos that get a signed claim: those that our own workers
    make, all, or none. `certificates` (leaf first) and `private_key` are PEM, or the path of such a file, and take the
    place of the identity made at the first start; `timestamp_url` is an RFC 3161 server. `invisible` is a plug-in,
    "package.module:factory" (see `gateway.media.invisible`), for what our own workers make."""

    c2pa: Literal["generated", "all", "off"] = "generated"
    certificates: str | None = None
    private_key: SecretStr | None = None
    timestamp_url: str | None = Field(default=None, pattern=r"^https?://")
    invisible: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.certificates is None) != (self.private_key is None):
            missing = "private_key" if self.private_key is None else "certificates"
            raise ValueError(f"provenance.{missing} is missing: certificates and private_key belong together")
        return self


class Retention(_Section):
    """`content_days` counts where the organization's plan names no `retention_days`. So long after its end what nobody
    asks of a video moves to the archive: `archive_days`, 0 for never. `log_days` is how long polls are kept; on
    PostgreSQL they go a whole month at a time."""

    content_days: float = 30
    archive_days: float = Field(default=90, ge=0)
    log_days: float = Field(default=30, ge=1)
    sweep_seconds: float = 60


class Settings(BaseSettings):
    """Everything an operator can set."""

    model_config = SettingsConfigDict(
        env_prefix="ONEREEL_",
        env_nested_delimiter="__",
        extra="ignore",
    )

    data_dir: Path = Path("onereel-data")
    database_url: str | None = None
    redis_url: str | None = None
    redis_prefix: str = Field(default="onereel", pattern=r"^[\w.-]+$")  # where installations share a Redis
    storage_url: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    roles: tuple[Role, ...] = Field(default=("api", "jobs"), min_length=1)
    workers: int = Field(default=1, ge=1, le=256)  # processes behind the port
    drain_seconds: float = Field(default=0, ge=0)  # from "not ready" to "no more connections" at SIGTERM
    public_url: str | None = None
    admin_key: SecretStr | None = None
    control_token: SecretStr | None = None  # the CLI's operator token, made anew by each `serve`
    log_format: Literal["json", "console"] = "json"
    log_level: str = "INFO"
    default_model: str | None = None
    aliases: dict[str, str] = Field(default_factory=dict)
    jobs: Jobs = Jobs()
    routing: Routing = Routing()
    local: Local = Local()
    security: Security = Security()
    billing: Billing = Billing()
    stripe: StripeAccount = StripeAccount()
    oidc: Oidc = Oidc()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()
    limits: Limits = Limits()
    media: Media = Media()
    provenance: Provenance = Provenance()
    retention: Retention = Retention()
    upstreams: tuple[UpstreamSpec, ...] = ()
    upstreams_from_env: bool = True  # a provider's own key variable switches it on
    plans: tuple[Plan, ...] = ()

    @field_validator("upstreams", mode="before")
    @classmethod
    def _filled_in(cls, value: Any) -> Any:
        """Let the catalogue say what a table leaves out."""
        if not isinstance(value, list | tuple):
            return value
        return [expanded(each) if isinstance(each, dict) else each for each in value]

    @model_validator(mode="after")
    def _from_environment(self) -> Self:
        if self.upstreams_from_env:
            self.upstreams = (*self.upstreams, *from_environment(os.environ, self.upstreams))
        return self

    @property
    def resolved_database_url(self) -> str:
        """The configured database, or SQLite in the data directory."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'onereel.db'}"

    @property
    def resolved_storage_url(self) -> str:
        """The configured object store, or a folder of the data directory."""
        return self.storage_url or f"file://{self.data_dir.absolute() / 'storage'}"

    @property
    def reached_at(self) -> str:
        """Where people find this server, without a path: `public_url`, or else on this machine."""
        if self.public_url:
            return self.public_url.rstrip("/")
        name = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)
        return f"http://[{name}]:{self.port}" if ":" in name else f"http://{name}:{self.port}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (pydantic-settings' signature)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then the file that ONEREEL_CONFIG names."""
        path = Path(os.environ.get("ONEREEL_CONFIG", "onereel.toml"))
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path))
