"""Adapters of the configured upstreams."""

from collections.abc import Callable

from providers.contract import Adapter
from providers.spec import UpstreamSpec


class Adapters:
    """One adapter per upstream, built when first used, again when the upstream is replaced."""

    def __init__(self, build: Callable[[UpstreamSpec], Adapter]) -> None:
        self._build = build
        self._built: dict[str, tuple[UpstreamSpec, Adapter]] = {}

    def __call__(self, upstream: UpstreamSpec) -> Adapter:
        """Give the adapter of an upstream."""
        built = self._built.get(upstream.name)
        if built is None or built[0] is not upstream:
            built = self._built[upstream.name] = upstream, self._build(upstream)
        return built[1]
