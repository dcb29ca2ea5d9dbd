"""The catalogue: which models every known provider offers, and how a provider is switched on. Data, checked when read."""

import tomllib
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from providers.contract import MediaRole, Operation, SubmitSafety
from providers.spec import Lengths, ModelSpec

_FOLDER: Final = "providers.catalog"
_INHERITED_BY_PRICES: Final = {
    "price_source": "source",
    "price_as_of": "as_of",
    "price_confidence": "confidence",
}


class CatalogError(ValueError):
    """A catalogue file is wrong: the message names the file, the model and the field."""


class CatalogModel(ModelSpec):
    """One row of a catalogue file. What it does not say is not offered: a fact that nobody documented has no default.

    The row names `upstream_model`; `id` is "<provider>/<upstream_model>" unless given. Its prices are
    `upstream_costs`, or `price = "unknown"`: then it is listed, and refuses to run while billing is on.
    """

    operations: frozenset[Operation] = frozenset({Operation.GENERATE})
    roles: frozenset[MediaRole] = frozenset()
    parameters: frozenset[str] = frozenset({"n"})
    seconds: Lengths = ()
    sizes: tuple[str, ...] = ()
    price: Literal["unknown"] | None = None
    notes: tuple[str, ...] = ()
    source: str = Field(min_length=1)
    as_of: date
    confidence: Literal["documented", "sdk", "measured", "unverified"]

    @model_validator(mode="after")
    def _priced_once(self) -> "CatalogModel":
        if bool(self.upstream_costs) == (self.price is not None):
            raise ValueError('give upstream_costs, or price = "unknown"')
        if self.prices or self.price_per_second_usd is not None:
            raise ValueError("a catalogue says what the provider takes: upstream_costs, not prices")
        if any(row.confidence is None for row in self.upstream_costs):
            raise ValueError("every price says how sure it is: confidence")
        if (self.status == "retiring") and self.shutdown_date is None:
            raise ValueError("a model that is retiring has a shutdown_date")
        return self


class CatalogFile(BaseModel):
    """One provider: how to reach it, which environment variables switch it on, and its models.

    `env` are alternatives, each the variables that are needed together; `env_named_by` tells whether the vendor or
    onereel chose the names. `regions` are addresses by name, `base_url` is that of `region`; `env_regions` are variables
    whose key belongs to another one. `adapter` is the type of the adapter where it is not the provider's own. `options`
    are what the adapter is given, `options_env` the variables an option is taken from. Times in seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    base_url: str
    region: str | None = None
    regions: Mapping[str, str] = Field(default_factory=dict)
    env: tuple[tuple[str, ...], ...] = Field(min_length=1)
    env_named_by: Literal["vendor", "onereel"]
    env_regions: Mapping[str, str] = Field(default_factory=dict)
    base_url_env: str | None = None
    adapter: str | None = None
    options: Mapping[str, Any] = Field(default_factory=dict)
    options_env: Mapping[str, str] = Field(default_factory=dict)
    auth: str
    submit_safety: SubmitSafety
    docs: str | None = None
    terms: str | None = None
    poll_seconds: Decimal | None = Field(default=None, gt=0)
    polls_per_second: Decimal | None = Field(default=None, gt=0)
    max_concurrent: int | None = Field(default=None, ge=1)
    requests_per_second: Decimal | None = Field(default=None, gt=0)
    credit_usd: Decimal | None = Field(default=None, gt=0)
    as_of: date
    verified: str
    notes: tuple[str, ...] = ()
    models: tuple[CatalogModel, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> "CatalogFile":
        ids = [model.id for model in self.models]
        if twice := {each for each in ids if ids.count(each) > 1}:
            raise ValueError(f"two models have the id '{min(twice)}'")
        if self.regions and self.regions.get(self.region or "") != self.base_url:
            raise ValueError("base_url must be that of region")
        if nowhere := set(self.env_regions.values()) - self.regions.keys():
            raise ValueError(f"env_regions: no such region: {', '.join(sorted(nowhere))}")
        for model in self.models:
            if unknown := set(model.regions) - self.regions.keys():
                raise ValueError(f"model '{model.id}': no such region: {', '.join(sorted(unknown))}")
        return self

    def find(self, upstream_model: str) -> CatalogModel | None:
        """Find a model by the name the upstream knows."""
        return next((model for model in self.models if model.upstream_id == upstream_model), None)

    def models_in(self, region: str | None) -> tuple[CatalogModel, ...]:
        """List the models that a region offers; None for the region of `base_url`."""
        where = region or self.region
        return tuple(model for model in self.models if not model.regions or where in model.regions)


@cache
def all_catalogs() -> Mapping[str, CatalogFile]:
    """Read every file once, by provider type. CatalogError."""
    names = sorted(
        entry.name.removesuffix(".toml")
        for entry in resources.files(_FOLDER).iterdir()
        if entry.name.endswith(".toml")
    )
    return {name: catalog_of(name) for name in names}


@cache
def catalog_of(provider_type: str) -> CatalogFile:
    """Read the file of one provider, once. KeyError for a type without a file, CatalogError for a wrong one."""
    file = resources.files(_FOLDER).joinpath(f"{provider_type}.toml")
    if not file.is_file():
        raise KeyError(provider_type)
    return read_catalog(file)


def read_catalog(file: Traversable) -> CatalogFile:
    """Read and check one file; every row has what the file's [defaults] say and the row does not."""
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogError(f"{file.name} is not valid TOML: {error}") from None
    defaults = raw.pop("defaults", {})
    rows = [_row(row, defaults, raw) for row in raw.get("models", ())]
    try:
        found = CatalogFile.model_validate(raw | {"models": rows})
    except ValidationError as error:
        raise CatalogError(_explained(file.name, rows, error)) from None
    if file.name != f"{found.provider}.toml":
        raise CatalogError(
            f"{file.name}: its provider is '{found.provider}', the file must be named after it"
        )
    return found


def _row(row: Mapping[str, Any], defaults: Mapping[str, Any], head: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {"as_of": head.get("as_of"), "terms": head.get("terms"), **defaults, **row}
    upstream, prefix = str(merged.get("upstream_model", "")), f"{head.get('provider')}/"
    merged.setdefault("id", upstream if upstream.startswith(prefix) else f"{prefix}{upstream}")
    of_prices = {
        name: merged.pop(key) for key, name in _INHERITED_BY_PRICES.items() if merged.get(key) is not None
    }
    if isinstance(merged.get("upstream_costs"), list):
        shared = {"as_of": merged["as_of"], **of_prices}
        merged["upstream_costs"] = [
            {**shared, **price} if isinstance(price, dict) else price for price in merged["upstream_costs"]
        ]
    return merged


def _explained(name: str, rows: list[dict[str, Any]], error: ValidationError) -> str:
    return f"{name}: " + "; ".join(_line(rows, each["loc"], each["msg"]) for each in error.errors())


def _line(rows: list[dict[str, Any]], loc: tuple[int | str, ...], message: str) -> str:
    where = list(loc)
    parts = []
    if len(where) > 1 and where[0] == "models" and isinstance(where[1], int):
        parts.append(f"model '{rows[where[1]].get('upstream_model') or where[1]}'")
        where = where[2:]
    if where:
        parts.append(f"field '{'.'.join(map(str, where))}'")
    return ", ".join([*parts, message.removeprefix("Value error, ")])
