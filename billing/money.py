"""Money is an integer of micro-USD inside, Decimal at the edges. There is one rounding rule: half up, once."""

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Final

MICROS: Final = 1_000_000
LARGEST: Final = 9_000_000_000_000_000
"""Nine billion USD: far above any amount, far below the edge of BIGINT."""

_LARGEST_EXPONENT: Final = 20


def to_micros(amount_usd: Decimal) -> int:
    """Micro-USD, rounded half up. ValueError for a value that is not finite or out of range."""
    if not amount_usd.is_finite():
        raise ValueError("an amount of money must be a finite number")
    too_much = (
        bool(amount_usd) and amount_usd.adjusted() > _LARGEST_EXPONENT
    )  # what is far beyond cannot even be multiplied
    micros = 0 if too_much else int((amount_usd * MICROS).to_integral_value(rounding=ROUND_HALF_UP))
    if too_much or abs(micros) > LARGEST:
        raise ValueError(f"an amount of money must lie within {LARGEST // MICROS} USD")
    return micros


def to_decimal(micros: int) -> Decimal:
    """USD with six places."""
    return (Decimal(micros) / MICROS).quantize(Decimal("0.000001"))


def format_usd(micros: int) -> str:
    """USD as text with six places, as in the API: "0.400000"."""
    return f"{to_decimal(micros):f}"


def parse_usd(text: str) -> int:
    """Micro-USD of "12.34". ValueError unless it is plain decimal with at most six places."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"'{text}' is not an amount in USD such as 12.34") from None
    if not amount.is_finite():
        raise ValueError("an amount of money must be a finite number")
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -6:
        raise ValueError(f"'{text}' has more than six decimal places")
    return to_micros(amount)
