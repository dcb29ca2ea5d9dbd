"""Models that our own worker can serve: what each takes, and where its weights come from. Data, checked when read."""

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from providers.spec import ModelSpec

DEFAULT_MODEL: Final = "onereel/demo"

_FILE: Final = "local_models.toml"

FamilyName = Literal[
    "cogvideox",
    "demo",
    "hunyuan_video",
    "kandinsky",
    "ltx",
    "ltx2",
    "mochi",
    "sana_video",
    "skyreels",
    "wan",
    "wan_vace",
]
"""Architectures that the worker can run: its local_backend/families."""


FeatureName = Literal["attention", "compile", "distilled", "first_block_cache", "nvenc"]
"""What the worker can be told to use: its local_backend/features.py."""


class Distilled(BaseModel):
    """A LoRA of `repo` with which the model needs `steps` steps; `file_2` is for the second expert of two, `shift` the
    scheduler's flow shift.

    `always`: the model is never run without it, whatever quality is asked for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    repo: str
    revision: str = "main"
    file: str
    file_2: str | None = None
    steps: int = Field(ge=1)
    guidance: float = Field(default=1.0, ge=1)
    shift: float | None = Field(default=None, gt=0)
    always: bool = False


class Weights(BaseModel):
    """How the worker gets and runs a model. `origin`: part of the package, built at first start, pulled from `repo` of
    the Hugging Face hub, or there already in `folder`.

    `rate` is the native frames per second; `area` the pixels of a frame made at most, `multiple` what its sides
    are multiples of where that is more than the family's, `file_rate` the frames per second
    of the file, where it is not the native one. `memory_bytes`: what a document says it needs, None where none does.
    `guidance_2` is that of the second expert of two; `timesteps` are those of a distilled model, one for each of its
    `steps`. `storage`: weights kept in fewer bits than they are computed in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: FamilyName
    origin: Literal["package", "built", "hub", "folder"] = "hub"
    repo: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    folder: Path | None = None
    revision: str = "main"
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    rate: Decimal = Field(gt=0)
    file_rate: int | None = Field(default=None, ge=1, le=120)
    area: int = Field(gt=0)
    multiple: int | None = Field(default=None, ge=1)
    steps: int = Field(ge=1)
    guidance: float = Field(ge=1)
    guidance_2: float | None = Field(default=None, ge=1)
    timesteps: tuple[float, ...] | None = None
    strength: float = Field(default=0.7, gt=0, le=1)
    memory_bytes: int | None = Field(default=None, gt=0)
    storage: Literal["float8"] | None = None
    distilled: Distilled | None = None
    commercial_limits: str | None = None

    @model_validator(mode="after")
    def _found_somewhere(self) -> Self:
        if self.origin == "hub" and self.repo is None:
            raise ValueError(
                "name the repo of the hub that has them, or an absolute folder with origin = 'folder'"
            )
        if self.origin == "folder" and (self.folder is None or not self.folder.is_absolute()):
            raise ValueError("origin 'folder' needs an absolute folder")
        return self


class Preset(ModelSpec):
    """A model of the worker by its public name."""

    weights: Weights

    @property
    def folder_name(self) -> str:
        """Of its weights, in the models folder."""
        return self.id.replace("/", "--")


@cache
def _file() -> Mapping[str, Any]:
    return tomllib.loads(resources.files("providers").joinpath(_FILE).read_text(encoding="utf-8"))


def preset(row: Mapping[str, Any]) -> Preset:
    """A row of the file, or of an operator's own models; the file's [defaults] fill what it does not say."""
    found = Preset.model_validate({**_file()["defaults"], **row})
    limits = found.weights.commercial_limits
    return found if limits is None or found.terms else found.model_copy(update={"terms": limits})


@cache
def all_presets() -> Mapping[str, Preset]:
    """Those of the file, by public name; read once."""
    return {found.id: found for found in map(preset, _file()["models"])}
