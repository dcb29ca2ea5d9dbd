from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money import LARGEST, format_usd, parse_usd, to_decimal, to_micros
from billing.prices import billable_seconds

MICROS = st.integers(-LARGEST, LARGEST)


@given(MICROS)
def test_there_and_back_is_exact(micros: int) -> None:
    assert to_micros(to_decimal(micros)) == micros
    assert parse_usd(format_usd(micros)) == micros


@pytest.mark.parametrize(
    ("text", "micros"), [("0.4", 400_000), ("12.34", 12_340_000), ("0.000001", 1), ("-3", -3_000_000)]
)
def test_usd_text(text: str, micros: int) -> None:
    assert parse_usd(text) == micros


@pytest.mark.parametrize(
    "text", ["", "abc", "1.0000001", "NaN", "Infinity", "1e30", "10000000000", "1e999999", "-1e999999"]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_usd(text)


def test_half_a_micro_goes_up_once() -> None:
    assert to_micros(Decimal("0.0000005")) == 1
    assert to_micros(Decimal("0.00000049")) == 0


@given(st.decimals("0.01", "600", places=2), st.integers(0, 700_000))
def test_a_measured_file_can_only_lower_the_bill(billed: Decimal, measured_ms: int) -> None:
    seconds = billable_seconds(billed, measured_ms)
    assert seconds <= billed
    if Decimal(measured_ms) / 1000 >= billed - max(Decimal("0.5"), billed / 10):
        assert seconds == billed


def test_short_by_more_than_the_tolerance_is_billed_as_measured() -> None:
    assert billable_seconds(Decimal(8), 7300) == 8
    assert billable_seconds(Decimal(8), 7100) == Decimal("7.1")
    assert billable_seconds(Decimal(4), None) == 4
