"""What the operator or a catalogue file says of an upstream and its models: data, checked when read."""

import os
import re
from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from providers.contract import MediaRole, Operation, SubmitSafety

OPENAI_SIZES: Final = ("720x1280", "1280x720", "1024x1792", "1792x1024")
PARAMETERS: Final = frozenset(
    {"negative_prompt", "seed", "fps", "aspect_ratio", "resolution", "audio", "n", "service_tier"},
)
"""Extension fields of the create body that a model may or may not take."""

_SIZE = re.compile(r"[1-9][0-9]{1,4}x[1-9][0-9]{1,4}")


class ModelSpec(BaseModel):
    """One model as a route serves it: what it takes, what it costs. Prices are USD per output second."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1, max_length=200)
    upstream_model: str = ""
    description: str = ""
    operations: frozenset[Operation] = frozenset(Operation)
    roles: frozenset[MediaRole] = frozenset({MediaRole.FIRST_FRAME, MediaRole.SOURCE, MediaRole.EXTEND_FROM})
    needs_handle: frozenset[Operation] = frozenset()
    parameters: frozenset[str] = frozenset({"seed", "n"})
    seconds: tuple[Decimal, ...] = (Decimal(4), Decimal(8), Decimal(12))
    default_seconds: Decimal | None = None
    sizes: tuple[str, ...] = OPENAI_SIZES
    default_size: str | None = None
    native_size: str | None = None
    max_prompt_chars: int = Field(default=32_000, ge=1)
    max_reference_images: int = 0
    price_per_second_usd: Decimal | None = Field(default=None, ge=0)
    upstream_cost_per_second_usd: Decimal | None = Field(default=None, ge=0)
    submit_safety: SubmitSafety | None = None
    deadline_seconds: float = Field(default=3600, gt=0)
    licence: str | None = None
    released: str | None = None
    shutdown_date: str | None = None
    warnings: tuple[str, ...] = ()

    @field_validator("sizes")
    @classmethod
    def _sizes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for size in value:
            if not _SIZE.fullmatch(size):
                raise ValueError(f"'{size}' is not WIDTHxHEIGHT in pixels")
        return value

    @field_validator("seconds", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        return tuple(Decimal(str(v)) for v in value) if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _defaults(self) -> "ModelSpec":
        if not self.seconds or not self.sizes:
            raise ValueError(f"model '{self.id}' needs at least one entry in seconds and in sizes")
        return self

    @property
    def upstream_id(self) -> str:
        """The name the upstream knows."""
        return self.upstream_model or self.id

    @property
    def seconds_when_omitted(self) -> Decimal:
        """The length made when the client names none."""
        return self.default_seconds or self.seconds[0]

    @property
    def size_when_omitted(self) -> str:
        """The size made when the client names none: 720x1280 where offered, as OpenAI's default."""
        if self.default_size:
            return self.default_size
        return "720x1280" if "720x1280" in self.sizes else self.sizes[0]


class UpstreamSpec(BaseModel):
    """A configured account or worker at a provider: one [[upstreams]] table of onereel.toml."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    type: str = "openai_compatible"
    base_url: str
    api_key: SecretStr | None = None
    api_key_env: str | None = None
    max_concurrent: int | None = Field(default=None, ge=1)
    requests_per_second: float | None = Field(default=None, gt=0)
    options: dict[str, Any] = Field(default_factory=dict)  # the adapter's own: {"dialect": "openai"}
    models: tuple[ModelSpec, ...] = ()

    @property
    def credential(self) -> str:
        """The key, from the file or the named environment variable; empty where there is none."""
        if self.api_key is not None:
            return self.api_key.get_secret_value()
        return os.environ.get(self.api_key_env, "") if self.api_key_env else ""
