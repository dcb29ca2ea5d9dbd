"""Lengths a model offers: a list, or a range that is written out."""

from decimal import Decimal, InvalidOperation
from typing import Any, Final

_MOST: Final = 1000
_RANGE: Final = frozenset({"min", "max", "step"})


def lengths(value: Any) -> Any:
    """Write `{min, max, step}` (step 1 where omitted) or a list of numbers as exact lengths. ValueError."""
    if isinstance(value, dict):
        return _range(value)
    return tuple(_number(each) for each in value) if isinstance(value, list | tuple) else value


def _range(value: dict[str, Any]) -> tuple[Decimal, ...]:
    if not {"min", "max"} <= value.keys() <= _RANGE:
        raise ValueError("a range is written {min, max, step}")
    least, most, step = (_number(value.get(name, 1)) for name in ("min", "max", "step"))
    if not 0 < least <= most or step <= 0 or (most - least) / step >= _MOST:
        raise ValueError(f"no range of lengths: from {least} to {most} in steps of {step}")
    return tuple(least + step * n for n in range(int((most - least) // step) + 1))


def _number(value: Any) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"'{value}' is no length in seconds") from None
