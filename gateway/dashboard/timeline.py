"""The life of a video as one drawing: waiting, sent, rendering, stored, and every poll as a tick."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup, escape

_WIDTH: Final = 1000
_ROW: Final = 26
_BAR: Final = 16
_NARROWEST: Final = 3.0

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch of time in a row; `kind` is its colour: queued, sent, rendering, stored."""

    kind: str
    begin: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """The video itself, or one attempt."""

    label: str
    spans: Sequence[Span]
    ticks: Sequence[tuple[float, str]] = ()


def rows_of(video: Json, attempts: Sequence[Json], now: float) -> list[Row]:
    """Say what happened when. What goes on now ends now."""
    begin, end = video["created_at"], video["completed_at"] or now
    first = min((each["created_at"] for each in attempts), default=end)
    rows = [Row("Queue", [_span("queued", begin, first, "Waited for its turn")])]
    return rows + [_attempt(each, video, end) for each in attempts]


def _attempt(attempt: Json, video: Json, end: float) -> Row:
    sent, taken = attempt["created_at"], attempt["submitted_at"]
    over = attempt["finished_at"] or end
    spans = [_span("sent", sent, taken or over, "Sent to the upstream")]
    ticks = [(poll["at"], _poll(poll)) for poll in attempt["polls"]]
    if taken is not None:
        rendered = next((poll["at"] for poll in attempt["polls"] if poll["outcome"] == "completed"), over)
        spans.append(_span("rendering", taken, rendered, "Rendered"))
        stored = video["completed_at"] or end
        if attempt["status"] == "completed" and stored > rendered:
            spans.append(_span("stored", rendered, stored, "Fetched, checked and stored"))
    return Row(f"{attempt['number']}. {attempt['upstream']}", spans, ticks)


def _span(kind: str, begin: float, end: float, text: str) -> Span:
    end = max(begin, end)
    return Span(kind, begin, end, f"{text}: {end - begin:g} s")


def _poll(poll: Json) -> str:
    progress = f", {poll['progress']} %" if poll["progress"] is not None else ""
    return f"Asked: {str(poll['outcome']).replace('_', ' ')}{progress}"


def timeline(rows: Sequence[Row], begin: float, end: float) -> Markup:
    """Draw the rows. Everything in it is said in the tables beneath as well."""
    length = max(end - begin, 1.0)

    def x(at: float) -> float:
        return min(max((at - begin) / length, 0.0), 1.0) * _WIDTH

    parts = []
    for n, row in enumerate(rows):
        y = n * _ROW + (_ROW - _BAR) / 2
        for span in row.spans:
            width = min(max(x(span.end) - x(span.begin), _NARROWEST), _WIDTH)
            left = min(x(span.begin), _WIDTH - width)
            parts.append(
                f'<rect class="{span.kind}" x="{left:.1f}" y="{y:g}" width="{width:.1f}" height="{_BAR}">'
                f"<title>{escape(row.label)}: {escape(span.text)}</title></rect>"
            )
        parts += [
            f'<line class="poll" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{y - 3:g}" y2="{y + _BAR + 3:g}">'
            f"<title>{escape(text)}</title></line>"
            for at, text in row.ticks
        ]
    said = "; ".join(f"{row.label}: {', '.join(span.text for span in row.spans)}" for row in rows)
    return Markup(  # nosec B704 # noqa: S704  (every text in it is escaped)
        f'<svg class="timeline" viewBox="0 0 {_WIDTH} {len(rows) * _ROW}" height="{len(rows) * _ROW}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(said)}">{"".join(parts)}</svg>'
    )
