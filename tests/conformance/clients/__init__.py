"""The vendors' clients, a module for each provider that has one which installs."""

import importlib
import pkgutil
from functools import cache

from tests.conformance.official import OfficialClient


@cache
def clients() -> dict[str, type[OfficialClient]]:
    """Every client by its name: the provider's type, or what its class adds to it."""
    for info in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{info.name}")
    found = [leaf for kind in OfficialClient.__subclasses__() for leaf in _leaves(kind)]
    return {f"{kind.provider}-{kind.__name__}": kind for kind in found}


def _leaves(kind: type[OfficialClient]) -> list[type[OfficialClient]]:
    below = [leaf for child in kind.__subclasses__() for leaf in _leaves(child)]
    return below or [kind]
