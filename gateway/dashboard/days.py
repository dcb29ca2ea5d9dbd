"""Days as people write them in forms."""

from datetime import UTC, datetime

from gateway.errors import BadRequest


def day_of(text: str | None, param: str) -> int | None:
    """Unix seconds at which a UTC day such as 2026-11-27 begins, None for no day. BadRequest for what is none."""
    if not text:
        return None
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except (ValueError, OverflowError):
        raise BadRequest(f"'{param}' must be a day such as 2026-11-27.", param=param) from None
