"""Five fake upstreams of different promises and manners, and how the gateway is told of them and of two workers."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from providers.testing import FakeUpstream
from tests.chaos.checker import Upstream
from tests.chaos.money import PLAN
from tests.fakes import FakeProviders

TINY: Final = "onereel/tiny-random"
ARK: Final = "ark/doubao-seedance-1-5-pro-251215"
SECRET: Final = "of-the-workers"


@dataclass
class Kind:
    """A fake upstream: what it promises of a create that was not answered, and how it behaves."""

    name: str
    safety: str
    cap: int
    config: dict[str, Any] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    model: str = ""
    mount: str = ""


KINDS: Final = (
    Kind("swift", "key", 12, {"idempotency": True, "run_seconds": (0.3, 1.0), "answer_delay_ms": (0, 100)}),
    Kind("costed", "lookup", 8, {"lookup": True, "cost_usd": "0.30", "run_seconds": (0.5, 2.0)}),
    Kind("slow", "none", 8, {"run_seconds": (1.5, 4.0), "answer_delay_ms": (100, 500)}),
    Kind(
        "failing",
        "key",
        8,
        {"idempotency": True, "run_seconds": (0.3, 1.5)},
        faults=(
            "server_error",
            "drop_before",
            "ambiguous_drop",
            "ambiguous_504",
            "failed",
            "moderation",
            "drop_poll",
            "truncated_content",
            "rate_limited",
        ),
    ),
    Kind("calling", "none", 8, {"run_seconds": (0.5, 2.0)}, model=ARK, mount="ark"),
)
HANGING: Final = "swift"
"""The one that stands still for a while: it keeps its keys, so what it was asked before that is not made twice."""


class Upstreams:
    """The running fakes."""

    def __init__(self) -> None:
        self.fakes: dict[str, FakeUpstream] = {}

    def start(self) -> None:
        for kind in KINDS:
            make = FakeProviders if kind.mount else FakeUpstream
            delays = {"submit_delay_ms": (0, 200), "poll_after_ms": 300}
            self.fakes[kind.name] = make(**{**delays, **kind.config}).start()

    def stop(self) -> None:
        for fake in self.fakes.values():
            fake.stop()

    def pid(self, name: str) -> int:
        process = self.fakes[name].__dict__["_process"]
        return int(process.pid)

    def found(self) -> list[Upstream]:
        """What they counted, for the checker."""
        return [Upstream(kind.name, kind.cap, kind.safety, self.fakes[kind.name].stats()) for kind in KINDS]

    def write_config(self, path: Path, workers: dict[str, int]) -> None:
        """A table for each fake and each worker."""
        tables = [_table(kind, self.fakes[kind.name]) for kind in KINDS]
        tables += [_worker(name, port) for name, port in workers.items()]
        path.write_text(PLAN + "".join(tables))


def model_of(kind: Kind) -> str:
    return kind.model or f"acme/{kind.name}"


def _table(kind: Kind, fake: FakeUpstream) -> str:
    if kind.mount:
        where = f'type = "{kind.mount}"\nbase_url = "http://127.0.0.1:{fake.port}/{kind.mount}/api/v3"'
    else:
        where = f'base_url = "{fake.base_url}"'
    safety = "" if kind.mount else f'submit_safety = "{kind.safety}"'
    # one has no price of its own: what its upstream reports is charged, with the margin
    price = "" if "cost_usd" in kind.config else 'price_per_second_usd = "0.10"'
    return f"""
[[upstreams]]
name = "{kind.name}"
{where}
api_key = "secret"
max_concurrent = {kind.cap}
[[upstreams.models]]
id = "{model_of(kind)}"
{price}
upstream_cost_per_second_usd = "0.08"
{safety}
"""


def _worker(name: str, port: int) -> str:
    return f"""
[[upstreams]]
name = "{name}"
type = "local"
base_url = "http://127.0.0.1:{port}/v1"
api_key = "{SECRET}"
[[upstreams.models]]
id = "{TINY}"
price_per_second_usd = "0.10"
upstream_cost_per_second_usd = "0.02"
"""
