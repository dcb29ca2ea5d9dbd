"""Queue delay against utilization as a picture, from the simulation and one measured run. By hand:

python -m tests.bench.queue_plot .bench/queueing-TIME.json docs/images/queue-delay.svg
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tests.bench.queueing import Station, Summary, steady
from tests.bench.service import Service

SERVICE: Final = Service(60.0, 0.5)
WORKER_POLL: Final = 0.25
"""Seconds after which the bundled worker says to ask again."""
UTILIZATIONS: Final = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97)
VIDEOS: Final = 20_000

_WIDTH: Final = 1000
_HEIGHT: Final = 440
_LOW: Final = 0.01
_HIGH: Final = 20.0
_COLOURS: Final = ("#b5462f", "#c98a1b", "#4b8b3b", "#2f6db5")
_STYLE: Final = (
    "text{font-family:system-ui,sans-serif;fill:#1d2733;font-size:12px}.t{font-size:14px;font-weight:600}"
    ".s{fill:#4a5a6a}.g{stroke:#e3e8ee}.a{stroke:#6b7c8d}.l{fill:none;stroke-width:2}"
)


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of the picture."""

    label: str
    colour: str
    dashed: bool
    points: Sequence[tuple[float, Summary]]
    service: float


@dataclass(frozen=True, slots=True)
class Panel:
    """Where one of the two diagrams lies."""

    left: float
    title: str
    name: str
    width: float = 400.0
    top: float = 60.0
    height: float = 280.0

    def x(self, utilization: float) -> float:
        """Utilization 0.3 to 1 from left to right."""
        return self.left + (utilization - 0.3) / 0.7 * self.width

    def y(self, share: float) -> float:
        """Delay over service time, by its logarithm, within what is drawn."""
        kept = min(_HIGH, max(_LOW, share))
        return self.top + self.height * (1 - math.log(kept / _LOW) / math.log(_HIGH / _LOW))


def curves(added: Station) -> list[Curve]:
    """What is simulated, with what the gateway added in the measured run."""
    worker = replace(added, service=SERVICE, poll_after=WORKER_POLL, answer=0.01)
    found = [
        _curve(f"{places} GPU{'s' if places > 1 else ''}", colour, replace(worker, places=places))
        for places, colour in zip((1, 4, 16, 64), _COLOURS, strict=True)
    ]
    upstream = replace(worker, places=16, poll_after=None, answer=0.3)
    return [*found, _curve("16 places, polled in the gateway's rhythm", _COLOURS[2], upstream, dashed=True)]


def _curve(label: str, colour: str, station: Station, *, dashed: bool = False) -> Curve:
    print(f"... {label}", file=sys.stderr, flush=True)
    points = [(each, steady(station, each, VIDEOS, seed=7)) for each in UTILIZATIONS]
    return Curve(label, colour, dashed, points, station.service.mean)


def picture(drawn: Sequence[Curve], run: dict[str, Any]) -> str:
    """The SVG."""
    panels = (Panel(70, "mean", "mean"), Panel(560, "95th percentile", "p95"))
    title = (
        "Queue delay against utilization of GPUs or upstream places; simulated curves and one measured run."
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">',
        f'<style>{_STYLE}</style><rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
    ]
    for panel in panels:
        parts += [*_axes(panel), *(_line(panel, curve) for curve in drawn), *_run(panel, run)]
    parts += [*_legend(drawn, run), "</svg>"]
    return "\n".join(parts) + "\n"


def _axes(panel: Panel) -> list[str]:
    right, bottom = panel.left + panel.width, panel.top + panel.height
    parts = [
        f'<text x="{panel.left}" y="{panel.top - 30}" class="t">Queue delay over service time, {panel.title}</text>'
    ]
    for share in (0.01, 0.1, 1.0, 10.0):
        y = panel.y(share)
        parts.append(f'<path class="g" d="M{panel.left} {y:.1f}H{right}"/>')
        parts.append(
            f'<text x="{panel.left - 8}" y="{y + 4:.1f}" text-anchor="end" class="s">{share:g}</text>'
        )
    for tenth in range(3, 11):
        x = panel.x(tenth / 10)
        parts.append(f'<path class="g" d="M{x:.1f} {panel.top}V{bottom}"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" class="s">{tenth * 10} %</text>'
        )
    parts.append(f'<path class="a" fill="none" d="M{panel.left} {panel.top}V{bottom}H{right}"/>')
    middle = panel.left + panel.width / 2
    words = "utilization: arrivals x service time / places"
    parts.append(f'<text x="{middle}" y="{bottom + 38}" text-anchor="middle" class="s">{words}</text>')
    return parts


def _line(panel: Panel, curve: Curve) -> str:
    value: Callable[[Summary], float] = (lambda s: s.mean) if panel.name == "mean" else (lambda s: s.p95)
    shares = [(each, value(summary) / curve.service) for each, summary in curve.points]
    points = " ".join(f"{panel.x(at):.1f},{panel.y(share):.1f}" for at, share in shares if share <= _HIGH)
    dashes = ' stroke-dasharray="6 4"' if curve.dashed else ""
    return f'<polyline class="l" stroke="{curve.colour}"{dashes} points="{points}"/>'


def _run(panel: Panel, run: dict[str, Any]) -> list[str]:
    service, x = run["station"]["service"]["mean"], panel.x(run["utilization"])
    real, same = (panel.y(run[name][panel.name] / service) for name in ("measured", "simulated"))
    return [
        f'<circle cx="{x:.1f}" cy="{same:.1f}" r="7" fill="none" stroke="#1d2733" stroke-width="1.6"/>',
        f'<circle cx="{x:.1f}" cy="{real:.1f}" r="3.5" fill="#1d2733"/>',
    ]


def _legend(drawn: Sequence[Curve], run: dict[str, Any]) -> list[str]:
    y, parts, x = _HEIGHT - 34, [], 70.0
    for curve in drawn:
        dashes = ' stroke-dasharray="6 4"' if curve.dashed else ""
        parts.append(f'<path class="l" stroke="{curve.colour}"{dashes} d="M{x} {y}h26"/>')
        parts.append(f'<text x="{x + 32}" y="{y + 4}">{curve.label}</text>')
        x += 60 + 6.6 * len(curve.label)
    words = (
        f"dot: measured, {run['station']['places']} places, {run['videos']} videos; ring: the same run simulated. "
        f"Lines: service {SERVICE.mean:g} s, variation {SERVICE.variation:.2f}"
    )
    return [*parts, f'<text x="70" y="{y + 24}" class="s">{words}</text>']


def main() -> None:
    """Simulate and draw."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.queue_plot")
    parser.add_argument("run", type=Path, help="what tests.bench.queueing wrote")
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    run = json.loads(options.run.read_text())
    added = Station(**run["station"] | {"service": Service(**run["station"]["service"])})
    drawn = curves(added)
    for curve in drawn:
        print(curve.label)
        for at, summary in curve.points:
            print(
                f"  {at:.0%}: mean {summary.mean / curve.service:.3f}, p95 {summary.p95 / curve.service:.3f}"
            )
    options.picture.write_text(picture(drawn, run))


if __name__ == "__main__":
    main()
