"""Where each adapter's fake upstream is: what `test_conformance` runs every adapter against."""

from collections.abc import Callable, Mapping
from typing import Final

from providers.spec import UpstreamSpec
from providers.testing import FakeUpstream

CREDENTIAL: Final = "sk-conformance-credential"


def openai_videos(fake: FakeUpstream) -> UpstreamSpec:
    return UpstreamSpec(name="acme", type="openai_compatible", base_url=fake.base_url, api_key=CREDENTIAL)


def local_worker(fake: FakeUpstream) -> UpstreamSpec:
    return UpstreamSpec(name="worker", type="local", base_url=fake.base_url, api_key=CREDENTIAL)


UPSTREAMS: Final[Mapping[str, Callable[[FakeUpstream], UpstreamSpec]]] = {
    "local": local_worker,
    "openai_compatible": openai_videos,
}
"""Per adapter type: how the fake is configured as an upstream of that type."""
