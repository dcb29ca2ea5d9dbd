"""Charts as functions: what is drawn fits, and no name can become a tag."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.dashboard.charts import COLOURS, Series, bars, ticks, top
from gateway.dashboard.pages_overview import _drawings
from gateway.usage.overview import Overview, Totals
from gateway.usage.timings import Span


@given(st.floats(0, 1e12, allow_nan=False))
def test_ticks_begin_at_nothing_and_reach_the_highest(highest: float) -> None:
    found = ticks(highest)
    assert found[0] == 0
    assert found[-1] >= highest * (1 - 1e-9)
    assert 2 <= len(found) <= 7


def test_what_is_too_much_for_colours_is_one_of_its_own() -> None:
    found = top([Series(f"m{n}", [1, 2]) for n in range(20)])
    assert len(found) == COLOURS
    assert (found[-1].name, found[-1].values) == ("13 others", [13, 26])


def test_names_are_texts_and_nothing_is_negative() -> None:
    svg = str(bars("<Spend>", [Series('"><script>', [0, 3]), Series("b", [1, 0])], ["<1>", "2"], str))
    assert "<script" not in svg
    assert "&lt;Spend&gt;" in svg
    assert '="-' not in svg
    assert svg.count('class="hit"') == 2


def test_a_user_called_none_is_not_those_without_a_name() -> None:
    groups = (Totals(None, completed=3, revenue=300), Totals("None", completed=1, revenue=100))
    spend, videos = {None: [300], "None": [100]}, {None: [3], "None": [1]}
    found = Overview(Span("1d", 0, 1), "user", (0,), groups, spend, videos, Totals(None), Totals(None))
    money, counts = map(str, _drawings(found, {"None": "None"}))
    assert "none named: $0.0003\nNone: $0.0001" in money
    assert "none named: 3\nNone: 1" in counts
