"""Usage and costs as clients see them: OpenAI's pages of buckets, and CSV. Times in Unix seconds, exact numbers."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from billing.money import format_usd, to_decimal
from gateway.usage.costs import VIDEO_SECONDS
from gateway.usage.query import UsageQuery, cursor
from gateway.usage.read import Buckets, Row

Json = dict[str, Any]
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
USAGE_COLUMNS: Final = (
    "start_time",
    "end_time",
    "project_id",
    "api_key_id",
    "model",
    "user_id",
    "num_videos",
    "num_failed",
    "seconds",
)
COST_COLUMNS: Final = (
    "start_time",
    "end_time",
    "project_id",
    "api_key_id",
    "model",
    "user_id",
    "line_item",
    "amount",
    "currency",
    "quantity",
    "quantity_unit",
)


def seconds_of(milliseconds: int) -> int | Decimal:
    """A length as an exact JSON number."""
    whole, rest = divmod(milliseconds, 1000)
    return Decimal(milliseconds) / 1000 if rest else whole


def usage_result(row: Row) -> Json:
    """One result of /v1/organization/usage/videos; dimensions that are not grouped by are null."""
    return {
        "object": "organization.usage.videos.result",
        "num_videos": row.completed,
        "num_failed": row.failed,
        "seconds": seconds_of(row.billed_ms),
        **{name: row.group.get(name) for name in ("project_id", "api_key_id", "model", "user_id")},
    }


def cost_result(row: Row) -> Json:
    """One result of /v1/organization/costs: `value` is a number with six places, `exact` the same as text."""
    quantity, unit = _quantity(row)
    return {
        "object": "organization.costs.result",
        "amount": {
            "value": to_decimal(row.revenue),
            "currency": "usd",
            "exact": format_usd(row.revenue),
        },
        **{
            name: row.group.get(name)
            for name in ("line_item", "project_id", "api_key_id", "model", "user_id")
        },
        "quantity": quantity,
        "quantity_unit": unit,
    }


def _quantity(row: Row) -> tuple[int | Decimal | None, str | None]:
    if (row.group.get("line_item") or "").startswith(VIDEO_SECONDS):
        return seconds_of(row.billed_ms), "duration_seconds"
    return None, None


def page_json(query: UsageQuery, page: Buckets, result: Callable[[Row], Json]) -> bytes:
    """The page as OpenAI's envelope; every bucket is there, with no results where nothing happened."""
    results: dict[int, list[Json]] = {}
    for row in page.rows:
        results.setdefault(row.bucket, []).append(result(row))
    data = [
        {
            "object": "bucket",
            "start_time": start // 1000,
            "end_time": (start + query.length) // 1000,
            "results": results.get(start, []),
        }
        for start in range(page.first, page.end, query.length)
    ]
    return encoded_page(data, cursor(page.end) if page.end < query.end else None)


def encoded_page(data: Sequence[Json], next_page: str | None) -> bytes:
    """The envelope around any data."""
    return _ENCODER.encode(
        {"object": "page", "data": data, "has_more": next_page is not None, "next_page": next_page}
    )


def guarded(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Lines of a CSV file. Text is guarded, None is an empty field, numbers are written in full."""
    out = io.StringIO()
    csv.writer(out).writerows([[_field(value) for value in row] for row in rows])
    return out.getvalue()


def _field(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    return guarded(value) if isinstance(value, str) else str(value)


def iso(milliseconds: int) -> str:
    """A moment as 2026-01-31T00:00:00Z."""
    return f"{datetime.fromtimestamp(milliseconds // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def usage_lines(query: UsageQuery, rows: Iterable[Row]) -> Iterable[Sequence[object]]:
    """CSV rows in the order of USAGE_COLUMNS."""
    for row in rows:
        result = _timed(query, row, usage_result(row))
        yield [result[name] for name in USAGE_COLUMNS]


def cost_lines(query: UsageQuery, rows: Iterable[Row]) -> Iterable[Sequence[object]]:
    """CSV rows in the order of COST_COLUMNS."""
    for row in rows:
        money = {"amount": to_decimal(row.revenue), "currency": "usd"}
        result = _timed(query, row, cost_result(row)) | money
        yield [result[name] for name in COST_COLUMNS]


def _timed(query: UsageQuery, row: Row, result: Mapping[str, Any]) -> Json:
    return {**result, "start_time": iso(row.bucket), "end_time": iso(row.bucket + query.length)}
