"""Finding the adapter for an upstream: every module of `providers.adapters` names its `PROVIDER`."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from typing import get_args

from providers import adapters
from providers.catalog_files import catalog_of
from providers.contract import Account, Adapter, SubmitSafety
from providers.http import HttpDoor
from providers.spec import UpstreamSpec

AdapterFactory = Callable[[Account, HttpDoor], Adapter]

_LOCAL = "local"
_LOCAL_ADAPTER = "openai_compatible"


class UnknownProviderError(ValueError):
    """An [[upstreams]] table names a type that no adapter serves."""


@cache
def adapter_factories() -> Mapping[str, AdapterFactory]:
    """Every known upstream type with what builds its adapter. Imports all adapters once."""
    found: dict[str, AdapterFactory] = {}
    for module_info in pkgutil.iter_modules(adapters.__path__):
        module = importlib.import_module(f"{adapters.__name__}.{module_info.name}")
        found[module.PROVIDER] = module.build
    found[_LOCAL] = found[_LOCAL_ADAPTER]
    return dict(sorted(found.items()))


def build_adapter(upstream: UpstreamSpec, http: HttpDoor) -> Adapter:
    """Bind the adapter of `upstream.type` to this account. Raises UnknownProviderError."""
    factory = adapter_factories().get(_adapter_of(upstream.type))
    if factory is None:
        known = ", ".join(adapter_factories())
        raise UnknownProviderError(
            f"upstream '{upstream.name}' has the unknown type '{upstream.type}'; known types are {known}",
        )
    return factory(account_of(upstream), http)


def _adapter_of(provider_type: str) -> str:
    """The adapter that a type is served by: its own, or the one that its catalogue names."""
    try:
        return catalog_of(provider_type).adapter or provider_type
    except KeyError:
        return provider_type


def account_of(upstream: UpstreamSpec) -> Account:
    """The account as its adapter sees it; a submit_safety that all its models declare becomes the account's."""
    options = dict(upstream.options)
    if upstream.type == _LOCAL:
        options.setdefault("dialect", _LOCAL)
    declared = {model.submit_safety for model in upstream.models}
    if len(declared) == 1 and None not in declared:
        options.setdefault("submit_safety", declared.pop())
    elif "lookup" in declared:
        options.setdefault("client_reference", True)
    if options.get("submit_safety", "none") not in get_args(SubmitSafety):
        raise ValueError(f"upstream '{upstream.name}': options.submit_safety must be key, lookup or none")
    return Account(
        upstream.name,
        upstream.base_url,
        upstream.credential,
        options,
        upstream.address,
        traced=upstream.traced,
    )
