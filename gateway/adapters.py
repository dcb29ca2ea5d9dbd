"""Adapters of the configured upstreams."""

from collections.abc import Callable

from providers.contract import Adapter
from providers.spec import UpstreamSpec


class Adapters:
    """One adapter per upstream and credential, built when first used, again when the upstream is replaced."""

    def __init__(self, build: Callable[[UpstreamSpec], Adapter]) -> None:
        self._build = build
        self._built: dict[tuple[str, int | None], tuple[UpstreamSpec, Adapter]] = {}

    def __call__(self, upstream: UpstreamSpec) -> Adapter:
        """Give the adapter of an upstream."""
        key = upstream.name, upstream.credential_version
        built = self._built.get(key)
        if built is None or (built[0] is not upstream and built[0] != upstream):
            built = self._built[key] = upstream, self._build(upstream)
        return built[1]
