"""A fake of every provider: what `providers.testing` is for OpenAI's API, for the others.

One module per provider with a class `Fake`. `python -m tests.fakes --port 0` serves them all, each under its
mount; tests use `FakeProviders`.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from providers.spec import UpstreamSpec
from providers.testing import FakeUpstream
from providers.testing_provider import FakeProvider

_NOT_A_FAKE = frozenset({"__main__", "demo"})


@cache
def fakes() -> Mapping[str, FakeProvider]:
    """Every fake by the upstream type it stands for."""
    found: dict[str, FakeProvider] = {}
    for info in pkgutil.iter_modules(__path__):
        if info.name not in _NOT_A_FAKE:
            fake: FakeProvider = importlib.import_module(f"{__name__}.{info.name}").Fake()
            found |= dict.fromkeys(fake.types or (fake.mount,), fake)
    return dict(sorted(found.items()))


class FakeProviders(FakeUpstream):
    """All fakes in one process on 127.0.0.1; its `base_url` is that of OpenAI's."""

    module: ClassVar[str] = "tests.fakes"

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.port}"

    def upstream(self, type_: str, **changes: Any) -> UpstreamSpec:
        """An [[upstreams]] table for the fake of this type."""
        fake = fakes()[type_]
        options = {name: self._placed(value) for name, value in fake.options.items()}
        values: dict[str, Any] = {
            "name": type_.replace("_", "-"),
            "type": type_,
            "base_url": f"{self.origin}/{fake.mount}{fake.base_path}",
            "api_key": fake.credential,
            "options": options,
        }
        return UpstreamSpec(**{**values, **changes})

    def _placed(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return value.replace("{origin}", self.origin).replace("{foreign}", f"http://{self.foreign_host}")
