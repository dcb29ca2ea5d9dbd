"""Charts as SVG, drawn on the server: no inline style, colours by class, values for the pointer and the keyboard.

Every number of a chart stands in a table beneath it too. `static/charts.js` shows the values of a bucket; without it the
browser shows them as titles.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

WIDTH: Final = 520
HEIGHT: Final = 220
_LEFT: Final = 56
_RIGHT: Final = 8
_TOP: Final = 12
_BOTTOM: Final = 26
COLOURS: Final = 8
"""Classes `c0` to `c7` of charts.css; the last is for the rest."""

Write = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of a chart: its name and a value per bucket."""

    name: str
    values: Sequence[float]


def top(series: Sequence[Series], most: int = COLOURS - 1) -> list[Series]:
    """The first ones as they are, and all others as one."""
    rest = [each.values for each in series[most:]]
    if not rest:
        return list(series)
    return [
        *series[:most],
        Series(f"{len(rest)} others", [sum(values) for values in zip(*rest, strict=True)]),
    ]


def ticks(highest: float, count: int = 4) -> list[float]:
    """Round numbers from 0 to at least `highest`."""
    if highest < 1e-9:
        return [0.0, 1.0]
    rough = highest / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= rough * 0.999)
    return [step * n for n in range(math.ceil(highest / step - 1e-9) + 1)]


def bars(title: str, series: Sequence[Series], labels: Sequence[str], write: Write) -> Markup:
    """Draw stacked bars over time; `labels` name the buckets, `write` writes a value for people."""
    sums = [sum(each.values[n] for each in series) for n in range(len(labels))]
    scale = ticks(max(sums, default=0))
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    step = width / max(1, len(labels))
    bar = max(1.0, min(step * 0.72, 46))

    def y(value: float) -> float:
        return _TOP + height * (1 - value / scale[-1])

    parts = [_axis(scale, write, y), _names(labels, step)]
    for n in range(len(labels)):
        x, below = _LEFT + step * n + (step - bar) / 2, 0.0
        for colour, each in enumerate(series):
            value = each.values[n]
            if value > 0:
                parts.append(
                    f'<rect class="c{colour}" x="{x:.1f}" y="{y(below + value):.1f}" width="{bar:.1f}" '
                    f'height="{max(0.5, y(below) - y(below + value)):.1f}"/>'
                )
                below += value
        parts.append(_bucket(labels[n], series, n, write, place=(_LEFT + step * n, step)))
    return _figure(title, series, "".join(parts), len(labels))


def _axis(scale: Sequence[float], write: Write, y: Callable[[float], float]) -> str:
    return "".join(
        f'<line class="rule" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        f'<text class="tick" x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{escape(write(value))}</text>'
        for value in scale
    )


def _names(labels: Sequence[str], step: float) -> str:
    every = max(1, math.ceil(len(labels) / 7))
    return "".join(
        f'<text class="tick" x="{_LEFT + step * (n + 0.5):.1f}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(label)}</text>"
        for n, label in enumerate(labels)
        if n % every == 0
    )


def _bucket(label: str, series: Sequence[Series], n: int, write: Write, *, place: tuple[float, float]) -> str:
    said = [f"{each.name}: {write(each.values[n])}" for each in series if each.values[n]]
    text = "\n".join([label, *(said or ["nothing"])])
    x, width = place
    return (
        f'<rect class="hit" x="{x:.1f}" y="{_TOP}" width="{width:.1f}" height="{HEIGHT - _TOP - _BOTTOM}" '
        f'data-values="{escape(text)}"><title>{escape(text)}</title></rect>'
    )


def _figure(title: str, series: Sequence[Series], drawn: str, count: int) -> Markup:
    key = "".join(
        f'<li><svg class="swatch" viewBox="0 0 10 10" aria-hidden="true"><rect class="c{n}" width="10" height="10" rx="2"/></svg>'
        f"{escape(each.name)}</li>"
        for n, each in enumerate(series)
    )
    told = escape(f"{title}, {count} bars. The table beneath has the same figures.")
    return Markup(  # nosec B704 # noqa: S704  (every text in it is escaped above)
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{told}" tabindex="0" data-chart>{drawn}</svg>'
        f'<ul class="key plain">{key}</ul></figure>'
    )
