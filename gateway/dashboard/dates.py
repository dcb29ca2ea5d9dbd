"""Days as date inputs write them: 2026-12-31, in UTC."""

from datetime import UTC, datetime
from typing import Final

from gateway.errors import BadRequest

DAY_SECONDS: Final = 86_400


def day_start(text: str, param: str) -> int:
    """Unix seconds at which a day begins. BadRequest for what is no day."""
    try:
        return int(datetime.strptime(text.strip(), "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except (ValueError, OverflowError):
        raise BadRequest(f"'{text[:40]}' is no day: write it as 2026-12-31.", param=param) from None


def day_end(text: str, param: str) -> int:
    """Unix seconds of the last second of a day."""
    return day_start(text, param) + DAY_SECONDS - 1


def day_of(seconds: int | None) -> str:
    """Write the day of a moment; nothing for none."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
