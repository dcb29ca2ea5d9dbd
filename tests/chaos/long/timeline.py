"""A plot of a run as SVG: completions in each second, and the faults below them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

WIDTH, HEIGHT, LEFT, TOP, FLOOR = 1200, 420, 60, 30, 290
COLOURS: Final = {
    "kill": "#c0392b",
    "stop": "#8e44ad",
    "postgresql": "#2471a3",
    "redis": "#d35400",
    "storage": "#117a65",
    "upstream": "#7d6608",
}


@dataclass(frozen=True)
class Mark:
    """A fault: what it was, from when to when (lifted), and when it was made good. Seconds of the run; `ways` are seconds
    from the lifting to each thing that had to come back, the last one last."""

    kind: str
    begun: float
    lifted: float
    recovered: float | None
    ways: Mapping[str, float] = field(default_factory=dict)
    load: float = 0.0
    """Of the machine, as its load average of a minute: what a way back is to be read against."""

    @property
    def back(self) -> float:
        """How long the way back was."""
        return float("inf") if self.recovered is None else self.recovered - self.lifted


def plot(ended: Sequence[float], marks: Sequence[Mark], seconds: float) -> str:
    """Draw it. `ended` are the moments at which videos came to their end."""
    bins = [0] * (int(seconds) + 1)
    for moment in ended:
        bins[min(len(bins) - 1, max(0, int(moment)))] += 1
    top = max(1, *bins)

    def x(moment: float) -> float:
        return LEFT + (WIDTH - LEFT - 20) * moment / max(1.0, seconds)

    def y(count: float) -> float:
        return FLOOR - (FLOOR - TOP) * count / top

    body = [f'<line x1="{LEFT}" y1="{FLOOR}" x2="{WIDTH - 20}" y2="{FLOOR}" stroke="#444"/>']
    body += [
        f'<text x="{LEFT - 8}" y="{y(count) + 4:.0f}" text-anchor="end">{count}</text>'
        for count in sorted({0, top // 2, top})
    ]
    body += [
        f'<text x="{x(moment):.0f}" y="{FLOOR + 16}" text-anchor="middle">{moment // 60} min</text>'
        for moment in range(0, int(seconds) + 1, 60)
    ]
    for n, mark in enumerate(marks):
        colour = COLOURS.get(mark.kind.split()[0], "#555")
        row = FLOOR + 28 + 12 * (n % 6)
        end = mark.recovered if mark.recovered is not None else mark.lifted
        said = f"{mark.kind}, {mark.begun:.0f} s, down {mark.lifted - mark.begun:.1f} s, "
        said += "not recovered" if mark.recovered is None else f"recovered in {end - mark.lifted:.1f} s"
        width = max(2.0, x(mark.lifted) - x(mark.begun))
        after = max(1.0, x(end) - x(mark.lifted))
        body.append(
            f'<g><title>{escape(said)}</title><rect x="{x(mark.begun):.1f}" y="{row}" width="{width:.1f}" '
            f'height="9" fill="{colour}"/><rect x="{x(mark.lifted):.1f}" y="{row}" width="{after:.1f}" '
            f'height="9" fill="{colour}" opacity="0.35"/></g>'
        )
    points = " ".join(f"{x(moment + 0.5):.1f},{y(count):.1f}" for moment, count in enumerate(bins))
    body.append(f'<polyline points="{points}" fill="none" stroke="#1a5276" stroke-width="1.2"/>')
    for n, (name, colour) in enumerate(COLOURS.items()):
        place = LEFT + 130 * n
        body.append(f'<rect x="{place}" y="{HEIGHT - 18}" width="10" height="10" fill="{colour}"/>')
        body.append(f'<text x="{place + 15}" y="{HEIGHT - 9}">{name}</text>')
    title = "Videos that ended in each second; below them faults, and paler the way back"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="11"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
        f'<text x="{LEFT}" y="18" font-size="13">{title}</text>{"".join(body)}</svg>\n'
    )
