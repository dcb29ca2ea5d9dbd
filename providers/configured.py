"""From what an operator says to a whole upstream: what a table leaves out, the catalogue of its type fills in."""

import pkgutil
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from providers import adapters
from providers.catalog_files import CatalogFile, CatalogModel, catalog_of
from providers.presets import all_presets
from providers.spec import ModelSpec, UpstreamSpec

LOCAL_IN_FLIGHT: Final = 2
"""One video is generated, one waits in the worker, so that it never stands still."""

_DEFAULT_TYPE: Final = "openai_compatible"
_PLACEHOLDER: Final = re.compile(
    r"//[A-Z]+\."
)  # https://RESOURCE.example: part of the address is the customer's own
_TABLES: Final = re.compile(r"^\[", re.MULTILINE)
_KEY_FILE: Final = "GOOGLE_APPLICATION_CREDENTIALS"  # by Google's convention the path of a file, not the key
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
    if table.get("type") == "local":
        return _local(table)
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
        "polls_per_second": catalog.polls_per_second,
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
    for name, switches in _switches().items():
        variables = next((each for each in switches if all(environment.get(v) for v in each)), None)
        if variables is None or name in types:
            continue
        table = _table(catalog_of(name), variables, environment)
        if not _PLACEHOLDER.search(str(table["base_url"])):
            found.append(configured(table))
    return found


@cache
def _switches() -> Mapping[str, Sequence[Sequence[str]]]:
    """The key variables of every provider that has an adapter, from the heads of the files: every command asks for them."""
    found = {}
    for entry in sorted(resources.files("providers.catalog").iterdir(), key=lambda each: each.name):
        if not entry.name.endswith(".toml"):
            continue
        name = entry.name.removesuffix(".toml")
        head = tomllib.loads(_TABLES.split(entry.read_text(encoding="utf-8"), maxsplit=1)[0])
        if head.get("adapter", name) in adapter_names():
            found[name] = head["env"]
    return found


@cache
def adapter_names() -> frozenset[str]:
    """The adapters there are, without importing any."""
    return frozenset(each.name for each in pkgutil.iter_modules(adapters.__path__))


def known_types() -> frozenset[str]:
    """Every type that an upstream may have."""
    return adapter_names() | _switches().keys() | {"local"}


def _catalog(provider_type: str) -> CatalogFile | None:
    try:
        return catalog_of(provider_type)
    except KeyError:
        return None


def _local(table: Mapping[str, Any]) -> dict[str, Any]:
    """A worker of ours: its models are those of `providers.presets`, and only those that are named."""
    entries = table.get("models") or ()
    return {
        "max_concurrent": LOCAL_IN_FLIGHT,
        **{name: value for name, value in table.items() if value is not None},
        "models": [_entry(entry, all_presets(), "the worker") for entry in entries],
    }


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
    table["base_url"] = _address(catalog, options, environment.get(catalog.base_url_env or "", ""))
    secret = [name for name in variables if name not in catalog.options_env.values()]
    if secret == [_KEY_FILE]:
        table["api_key"] = _key_file(environment[_KEY_FILE])
    elif len(secret) == 1:
        table["api_key_env"] = secret[0]
    else:
        table["api_key"] = ":".join(environment[name] for name in secret)
    return table


def _key_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"{_KEY_FILE} names {path}, which cannot be read ({error.strerror}): correct or unset it, "
            "or set ONEREEL_UPSTREAMS_FROM_ENV=false"
        ) from None


def _address(catalog: CatalogFile, options: Mapping[str, Any], given: str) -> str:
    """The given address, with the catalogue's path where it has none of its own."""
    known = catalog.regions.get(str(options.get("region")), catalog.base_url)
    if not given:
        return known
    return given if urlsplit(given).path.strip("/") else given.rstrip("/") + urlsplit(known).path


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


def _entry(entry: Any, by_name: Mapping[str, ModelSpec], title: str) -> Any:
    if isinstance(entry, str):
        if entry not in by_name:
            raise ValueError(f"models: {title} has no model '{entry}'; it has {', '.join(sorted(by_name))}")
        return by_name[entry]
    base = by_name.get(_name(entry)) if isinstance(entry, Mapping) else None
    return entry if base is None else _laid_over(base, entry)


def _laid_over(base: ModelSpec, entry: Mapping[str, Any]) -> ModelSpec:
    said = {name: value for name, value in entry.items() if name != "id"}
    typed = ModelSpec.model_validate({"id": base.id, "default_audio": base.default_audio, **said})
    changes: dict[str, Any] = {name: getattr(typed, name) for name in typed.model_fields_set}
    for rows, short in _EITHER:
        if rows in said:
            changes[short] = None
        elif short in said:
            changes[rows] = ()
    return base.model_copy(update=changes)
