"""From what an operator says to a whole upstream: what a table leaves out, the catalogue of its type fills in."""

import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from providers import adapters
from providers.catalog_files import CatalogFile, CatalogModel, all_catalogs, catalog_of
from providers.spec import ModelSpec, UpstreamSpec

_DEFAULT_TYPE: Final = "openai_compatible"
_EITHER: Final = (
    ("prices", "price_per_second_usd"),
    ("upstream_costs", "upstream_cost_per_second_usd"),
)
"""Two ways to say one thing: the one that is given takes the other's place."""


def configured(table: Mapping[str, Any]) -> UpstreamSpec:
    """Make an upstream of an [[upstreams]] table. pydantic's ValidationError names the field."""
    return UpstreamSpec.model_validate(expanded(table))


def expanded(table: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in what the catalogue knows: address, limits, options and models. ValueError for a model it does not have.

    `models` may be names, then only those are offered; or tables, then each is laid over the model of that name, or
    added where there is none. `options.region` chooses the address and the models of a region.
    """
    catalog = _catalog(str(table.get("type", _DEFAULT_TYPE)))
    if catalog is None:
        return _plain(table)
    options = {**catalog.options, **(table.get("options") or {})}
    region = options.get("region")
    if region is not None and catalog.regions and region not in catalog.regions:
        raise ValueError(
            f"{catalog.title} has no region '{region}': use {', '.join(sorted(catalog.regions))}"
        )
    filled: dict[str, Any] = {
        "base_url": catalog.regions.get(str(region), catalog.base_url),
        "max_concurrent": catalog.max_concurrent,
        "requests_per_second": catalog.requests_per_second,
        "credit_usd": catalog.credit_usd,
    }
    given = {name: value for name, value in table.items() if value is not None}
    models = _models(table.get("models") or (), catalog.models_in(region), catalog.title)
    return {**filled, **given, "options": options, "models": models}


def from_environment(
    environment: Mapping[str, str], configured_already: Sequence[UpstreamSpec]
) -> list[UpstreamSpec]:
    """Switch on every provider whose key variables are set, with its whole catalogue.

    One that is configured by hand is left alone. A credential of several parts is joined with colons.
    """
    types = {each.type for each in configured_already} | {each.name for each in configured_already}
    found = []
    for name, catalog in all_catalogs().items():
        if name in types or (catalog.adapter or name) not in adapter_names():
            continue
        variables = next((each for each in catalog.env if all(environment.get(v) for v in each)), None)
        if variables is not None:
            found.append(configured(_table(catalog, variables, environment)))
    return found


@cache
def adapter_names() -> frozenset[str]:
    """The adapters there are, without importing any."""
    return frozenset(each.name for each in pkgutil.iter_modules(adapters.__path__))


def known_types() -> frozenset[str]:
    """Every type that an upstream may have."""
    catalogued = {name for name, each in all_catalogs().items() if (each.adapter or name) in adapter_names()}
    return adapter_names() | catalogued | {"local"}


def _catalog(provider_type: str) -> CatalogFile | None:
    try:
        return catalog_of(provider_type)
    except KeyError:
        return None


def _plain(table: Mapping[str, Any]) -> dict[str, Any]:
    names = [each for each in table.get("models") or () if isinstance(each, str)]
    if names:
        raise ValueError(
            f"models: '{names[0]}' is only a name, and no catalogue says what it can do; write a [[upstreams.models]] "
            "table"
        )
    return dict(table)


def _table(catalog: CatalogFile, variables: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    options = {
        option: environment[name] for option, name in catalog.options_env.items() if environment.get(name)
    }
    regions = [catalog.env_regions[name] for name in variables if name in catalog.env_regions]
    table: dict[str, Any] = {"name": catalog.provider, "type": catalog.provider, "options": options}
    if regions:
        options.setdefault("region", regions[0])
    if catalog.base_url_env and environment.get(catalog.base_url_env):
        table["base_url"] = environment[catalog.base_url_env]
    secret = [name for name in variables if name not in catalog.options_env.values()]
    if len(secret) == 1:
        table["api_key_env"] = secret[0]
    else:
        table["api_key"] = ":".join(environment[name] for name in secret)
    return table


def _models(entries: Sequence[Any], known: Sequence[CatalogModel], title: str) -> list[Any]:
    by_name = {model.upstream_id: model for model in known} | {model.id: model for model in known}
    if any(isinstance(entry, str) for entry in entries):
        return [_entry(entry, by_name, title) for entry in entries]
    laid = [_entry(entry, by_name, title) for entry in entries]
    said = {_name(entry) for entry in entries}
    rest = [model for model in known if not {model.id, model.upstream_id} & said]
    return [*laid, *rest]


def _name(entry: Any) -> Any:
    return (
        entry.id if isinstance(entry, ModelSpec) else entry.get("id") if isinstance(entry, Mapping) else None
    )


def _entry(entry: Any, by_name: Mapping[str, CatalogModel], title: str) -> Any:
    if isinstance(entry, str):
        if entry not in by_name:
            raise ValueError(f"models: {title} has no model '{entry}'; it has {', '.join(sorted(by_name))}")
        return by_name[entry]
    base = by_name.get(_name(entry)) if isinstance(entry, Mapping) else None
    return entry if base is None else _laid_over(base, entry)


def _laid_over(base: CatalogModel, entry: Mapping[str, Any]) -> CatalogModel:
    said = {name: value for name, value in entry.items() if name != "id"}
    typed = ModelSpec.model_validate({"id": base.id, "default_audio": base.default_audio, **said})
    changes: dict[str, Any] = {name: getattr(typed, name) for name in typed.model_fields_set}
    for rows, short in _EITHER:
        if rows in said:
            changes[short] = None
        elif short in said:
            changes[rows] = ()
    return base.model_copy(update=changes)
