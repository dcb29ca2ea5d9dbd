"""Models that our own worker can serve: what each takes, and where its weights come from. Data, checked when read."""

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from providers.spec import ModelSpec

DEFAULT_MODEL: Final = "onereel/demo"

_FILE: Final = "local_models.toml"


class Distilled(BaseModel):
    """A LoRA of `repo` with which the model needs `steps` steps; `file_2` is for the second expert of two.

    `always`: the model is never run without it, whatever quality is asked for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    repo: str
    revision: str = "main"
    file: str
    file_2: str | None = None
    steps: int = Field(ge=1)
    guidance: float = Field(default=1.0, ge=1)
    always: bool = False


class Weights(BaseModel):
    """How the worker gets and runs a model. `origin`: part of the package, built at first start, or pulled from `repo`.

    `rate` is the native frames per second; `area` the pixels of a frame made at most, `multiple` what its sides
    are multiples of where that is more than the family's, `file_rate` the frames per second
    of the file, where it is not the native one. `memory_bytes`: what a document says it needs, None where none does.
    `storage`: weights kept in fewer bits than they are computed in. `pinned`: loaded and tried when the worker starts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    origin: Literal["package", "built", "hub"] = "hub"
    repo: str | None = None
    revision: str = "main"
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    rate: Decimal = Field(gt=0)
    file_rate: int | None = Field(default=None, ge=1, le=120)
    area: int = Field(gt=0)
    multiple: int | None = Field(default=None, ge=1)
    steps: int = Field(ge=1)
    guidance: float = Field(ge=1)
    strength: float = Field(default=0.7, gt=0, le=1)
    memory_bytes: int | None = Field(default=None, gt=0)
    storage: Literal["float8"] | None = None
    pinned: bool = False
    distilled: Distilled | None = None
    commercial_limits: str | None = None


class Preset(ModelSpec):
    """A model of the worker by its public name."""

    weights: Weights


@cache
def all_presets() -> Mapping[str, Preset]:
    """Read the file once, by public name; its [defaults] fill what a row does not say."""
    raw = tomllib.loads(resources.files("providers").joinpath(_FILE).read_text(encoding="utf-8"))
    defaults: dict[str, Any] = raw.get("defaults", {})
    found = [Preset.model_validate({**defaults, **row}) for row in raw["models"]]
    return {preset.id: preset for preset in found}
