"""The table of one run."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from tests.bench.measures import Bench

US: Final = "onereel"
PEER: Final = "LiteLLM"


class Goal(NamedTuple):
    """What a ratio to the peer should be: `>=` or `<=` a number."""

    measure: str
    figure: str
    unit: str
    sign: str
    value: float


GOALS: Final = (
    Goal("create c32", "rate", "/s", ">=", 10),
    Goal("create c1", "rate", "/s", ">=", 2.5),
    Goal("status c32", "rate", "/s", ">=", 15),
    Goal("content", "mb", "MB/s", ">=", 16),
    Goal("whole way", "rate", "/s", ">=", 3),
    Goal("start", "seconds", "s", "<=", 0.25),
    Goal("start", "idle_mb", "MB", "<=", 0.35),
)
_DRAIN_GOAL: Final = 2.0
_GROWTH_GOAL_MB: Final = 60


def table(bench: Bench) -> str:
    """Medians, ratios and goals as text."""
    lines = [f"{'measure':<24}{'onereel':>12}{'LiteLLM':>12}{'nginx':>12}{'ratio':>9}  goal"]
    lines += [line for goal in GOALS for line in _goal(bench, goal)]
    lines += _cpu(bench)
    lines += _money(bench)
    lines += _extra(bench)
    lines += _polling(bench)
    return "\n".join(lines)


def _goal(bench: Bench, goal: Goal) -> Iterator[str]:
    samples = bench.samples.get(goal.measure, {})
    if US not in samples:
        return
    cells = "".join(_cell(bench, goal.measure, name, goal.figure) for name in (US, PEER, "nginx"))
    name = f"{goal.measure} {goal.unit}" if goal.figure != "idle_mb" else f"idle memory {goal.unit}"
    ratio = bench.ratio(goal.measure, goal.figure, US, PEER) if PEER in samples else None
    yield f"{name:<24}{cells}{_verdict(ratio, goal.sign, goal.value)}"


def _cell(bench: Bench, measure: str, system: str, figure: str) -> str:
    if system not in bench.samples.get(measure, {}):
        return f"{'-':>12}"
    return f"{bench.median(measure, system, figure):>12.2f}"


def _verdict(ratio: float | None, sign: str, value: float) -> str:
    if ratio is None:
        return f"{'-':>9}  {sign} {value:g}"
    met = ratio >= value if sign == ">=" else ratio <= value
    return f"{ratio:>8.2f}x  {sign} {value:g}x {'met' if met else 'MISSED'}"


def _cpu(bench: Bench) -> Iterator[str]:
    for measure in ("create c32", "create c1", "status c32", "whole way"):
        if US in bench.samples.get(measure, {}):
            cells = "".join(_cell(bench, measure, name, "cpu_us") for name in (US, PEER, "nginx"))
            yield f"{measure + ' CPU us':<24}{cells}"


def _extra(bench: Bench) -> Iterator[str]:
    if US in bench.samples.get("content", {}):
        growth = bench.median("content", US, "growth_mb")
        cells = "".join(_cell(bench, "content", name, "growth_mb") for name in (US, PEER, "nginx"))
        met = "met" if growth <= _GROWTH_GOAL_MB else "MISSED"
        yield f"{'content memory +MB':<24}{cells}{'':>9}  <= {_GROWTH_GOAL_MB} MB {met}"
    for connections in (32, 1):
        busy = f"draining c{connections}"
        if US not in bench.samples.get(busy, {}):
            continue
        pairs = zip(bench.samples[busy][US], bench.samples[f"idle c{connections}"][US], strict=True)
        ratios = sorted(mine["p99"] / idle["p99"] for mine, idle in pairs)
        idle = bench.median(f"idle c{connections}", US, "p99")
        text = f"{bench.median(busy, US, 'p99'):.1f} ms, idle {idle:.1f} ms; "
        text += f"{bench.median(busy, US, 'rate'):.0f} creates/s, idle {bench.median(f'idle c{connections}', US, 'rate'):.0f}; "
        text += f"{bench.median(busy, US, 'drained_per_s'):.0f} drained/s"
        yield f"create p99 c{connections} draining: {text}{_verdict(ratios[len(ratios) // 2], '<=', _DRAIN_GOAL)}"


def _money(bench: Bench) -> Iterator[str]:
    """What is left of the create rate with prepaid credit, plan and budgets, and how that compares to the peer."""
    for connections in (32, 1):
        measure = f"money c{connections}"
        samples = bench.samples.get(measure, {})
        if "paying" not in samples:
            continue
        rates = "".join(f"{bench.median(measure, name, 'rate'):>12.2f}" for name in (US, "paying"))
        kept = bench.ratio(measure, "rate", "paying", US)
        cpu = bench.ratio(measure, "cpu_us", "paying", US)
        peer = f", {bench.ratio(measure, 'rate', 'paying', PEER):.1f}x {PEER}" if PEER in samples else ""
        yield f"{measure + ': plain, paying /s':<24}{rates}  keeps {kept:.0%} (goal 70%), CPU {cpu:.2f}x{peer}"


def _polling(bench: Bench) -> Iterator[str]:
    """Lags against the time between two polls that interval and budget ask for; cores by CPU time."""
    for measure, samples in bench.samples.items():
        if "polling" not in samples:
            continue
        get = {name: bench.median(measure, "polling", name) for name in samples["polling"][0]}
        yield (
            f"polling {measure}: {get['polls_per_s']:.0f} polls/s, {get['cores']:.2f} cores "
            f"(process {get['cores_main']:.2f}), {get['rss_main_mb']:.0f} MB RSS (with media workers {get['pss_mb']:.0f} MB PSS)"
        )
        slowest = get["lag_p95_of_slowest_upstream_s"]
        yield (
            f"  lag p50 {get['lag_p50_s']:.1f} s, p95 {get['lag_p95_s']:.1f} s, of the slowest upstream {slowest:.1f} s, "
            f"longest {get['lag_max_s']:.1f} s{_verdict(slowest / get['fair_s'], '<=', 1.3)} of {get['fair_s']:.1f} s"
        )
        yield (
            f"  poll budget used {get['budget_used_least']:.0%} to {get['budget_used_most']:.0%}, "
            f"p99 of the seconds {get['busy_second_p99']:.0%}, busiest {get['busiest_second']:.0%}; "
            f"load of the machine {get['load']:.1f}, the upstreams stood still for {get['upstream_late_s']:.2f} s at most"
        )
