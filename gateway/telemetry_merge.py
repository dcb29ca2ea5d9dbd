"""Several processes behind one port answer a scrape as one: their expositions merged into one text.

Counters and histograms are sums. A gauge follows the rule for what it says: what every process reads from the database
is the same in all, so the greatest counts; what is of one process adds up; what only one process can tell of itself
(its memory, its start) keeps the series apart, by the label `process`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]

OF_ONE_PROCESS: Final = frozenset(
    {
        "onereel_http_requests_in_flight",
        "onereel_jobs_running",
        "onereel_jobs_room",
        "onereel_database_connections",
        "onereel_database_queue",
    }
)
"""Gauges that add up over processes."""
LEAST: Final = frozenset({"onereel_redis_up"})
"""Gauges whose worst is the least: one process without Redis is worth knowing."""
APART: Final = "process_"
"""What the system says of a process: metrics with this prefix stay apart."""

_SUMMED: Final = frozenset({"counter", "histogram", "summary"})


def merged(expositions: Sequence[bytes]) -> bytes:
    """Merge the texts of sibling processes, told apart by their order; a single one stays as it is."""
    if len(expositions) == 1:
        return expositions[0]
    families: dict[str, _Family] = {}
    for process, text in enumerate(expositions):
        for metric in text_string_to_metric_families(text.decode()):
            families.setdefault(metric.name, _Family(metric)).add(metric, process)
    return "".join(family.text() for family in families.values()).encode()


class _Family:
    """One metric of all processes."""

    def __init__(self, first: Metric) -> None:
        self._name, self._type, self._help = first.name, first.type, first.documentation
        self._values: dict[tuple[str, Labels], float] = {}
        self._apart = first.name.startswith(APART)
        adds = first.type in _SUMMED or first.name in OF_ONE_PROCESS
        self._join: Callable[[float, float], float] = _added if adds else min if first.name in LEAST else max

    def add(self, metric: Metric, process: int) -> None:
        """Take in what one process says."""
        for sample in metric.samples:
            labels = {**sample.labels, "process": str(process)} if self._apart else sample.labels
            key = sample.name, tuple(labels.items())
            known = self._values.get(key)
            self._values[key] = sample.value if known is None else self._join(known, sample.value)

    def text(self) -> str:
        """The lines of it. A counter's are named as its samples are: Prometheus' text format wants that."""
        name = f"{self._name}_total" if self._type == "counter" else self._name
        head = f"# HELP {name} {_escaped(self._help)}\n# TYPE {name} {self._type}\n"
        return head + "".join(
            f"{sample}{_labels(labels)} {value!r}\n" for (sample, labels), value in self._ordered()
        )

    def _ordered(self) -> Iterable[tuple[tuple[str, Labels], float]]:
        """Series of one set of labels together, in the order in which they came: buckets, then count and sum."""
        places: dict[Labels, int] = {}
        for _, labels in self._values:
            places.setdefault(_without_le(labels), len(places))
        return sorted(self._values.items(), key=lambda item: places[_without_le(item[0][1])])


def _added(one: float, other: float) -> float:
    return one + other


def _without_le(labels: Labels) -> Labels:
    return tuple(pair for pair in labels if pair[0] != "le")


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in labels) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")
