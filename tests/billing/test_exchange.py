from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.exchange import ExchangeRate, next_change, usd_per_unit

TODAY = date(2026, 11, 25)


def rate(days: int, usd: str, currency: str = "CNY") -> ExchangeRate:
    return ExchangeRate(
        currency=currency, usd_per_unit=Decimal(usd), as_of=TODAY + timedelta(days=days), source="a bank"
    )


def test_the_newest_rate_that_is_not_of_the_future_applies() -> None:
    rates = [rate(-30, "0.13"), rate(-1, "0.14"), rate(1, "0.15"), rate(0, "9", "EUR")]
    assert usd_per_unit(rates, "CNY", TODAY) == Decimal("0.14")
    assert usd_per_unit(rates, "CNY", TODAY + timedelta(days=1)) == Decimal("0.15")
    assert usd_per_unit(rates, "CNY", TODAY - timedelta(days=31)) is None
    assert usd_per_unit(rates, "JPY", TODAY) is None
    assert usd_per_unit([], "USD", TODAY) == 1
    assert next_change(rates, TODAY) == TODAY + timedelta(days=1)
    assert next_change(rates, TODAY + timedelta(days=1)) is None


@given(st.dictionaries(st.integers(-50, 50), st.integers(1, 999), min_size=1))
def test_the_order_of_the_rates_does_not_matter(known: dict[int, int]) -> None:
    rates = [rate(days, f"0.{usd:03}") for days, usd in known.items()]
    past = [days for days in known if days <= 0]
    expected = Decimal(f"0.{known[max(past)]:03}") if past else None
    assert usd_per_unit(rates, "CNY", TODAY) == usd_per_unit(rates[::-1], "CNY", TODAY) == expected


@pytest.mark.parametrize("change", [{"usd_per_unit": 0}, {"currency": "credit"}, {"source": ""}, {"x": 1}])
def test_a_rate_is_checked(change: dict[str, object]) -> None:
    fields = {"currency": "CNY", "usd_per_unit": "0.14", "as_of": "2026-11-01", "source": "a bank"}
    assert ExchangeRate.model_validate(fields).usd_per_unit == Decimal("0.14")
    with pytest.raises(ValueError):
        ExchangeRate.model_validate(fields | change)
