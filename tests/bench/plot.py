"""Lines over time as SVG, one panel below the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH, LEFT, RIGHT, TOP, HEIGHT, GAP = 900, 60, 130, 40, 110, 34
COLOURS: Final = ("#1a5276", "#c0392b", "#117a65", "#b9770e", "#6c3483", "#515a5a")


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure: a name with its unit, and lines of (x, y) by their names."""

    name: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


def panels(title: str, drawn: Sequence[Panel]) -> str:
    """Draw them; y begins at zero, so that what is flat looks flat."""
    last = max(x for panel in drawn for line in panel.lines.values() for x, _ in line)
    body = [_panel(panel, TOP + n * (HEIGHT + GAP), max(last, 1e-9)) for n, panel in enumerate(drawn)]
    high = TOP + len(drawn) * (HEIGHT + GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {high}" font-family="sans-serif" '
        f'font-size="11"><rect width="{WIDTH}" height="{high}" fill="white"/>'
        f'<text x="{LEFT}" y="18" font-size="13">{escape(title)}</text>{"".join(body)}</svg>\n'
    )


def _panel(panel: Panel, top: float, last: float) -> str:
    most = 1.1 * max(1.0, *(y for line in panel.lines.values() for _, y in line))
    floor, right = top + HEIGHT, WIDTH - RIGHT
    parts = [
        f'<text x="{LEFT}" y="{top - 4}" font-weight="bold">{escape(panel.name)}</text>',
        f'<line x1="{LEFT}" y1="{floor}" x2="{right}" y2="{floor}" stroke="#777"/>',
        f'<text x="{LEFT - 6}" y="{floor}" text-anchor="end">0</text>',
        f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{most:.0f}</text>',
        f'<text x="{LEFT}" y="{floor + 13}" text-anchor="middle">0</text>',
        f'<text x="{right}" y="{floor + 13}" text-anchor="middle">{last:.0f}</text>',
    ]
    for n, (name, line) in enumerate(panel.lines.items()):
        colour = COLOURS[n % len(COLOURS)]
        points = " ".join(
            f"{LEFT + (right - LEFT) * x / last:.1f},{floor - HEIGHT * y / most:.1f}" for x, y in line
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(
            f'<text x="{right + 8}" y="{top + 12 + 14 * n}" fill="{colour}">{escape(name)}: {line[-1][1]:.0f}</text>'
        )
    return "".join(parts)
