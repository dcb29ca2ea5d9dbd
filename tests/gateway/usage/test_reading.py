"""Groups, filters, buckets and pages over films with known times."""

import csv
import io
from collections import Counter
from typing import Any

import pytest

from gateway.clock import Clock
from gateway.errors import BadRequest
from gateway.principal import Principal
from gateway.usage.query import COSTS, USAGE, Asked, Report, parse
from gateway.usage.read import Row, grain_of
from gateway.usage.service import UsageService
from tests.gateway.usage.conftest import DAY, ELSEWHERE, HERE, PRICE, START, Cinema, Film

FILMS = [
    Film(at=START),  # the first second of 2026, in UTC
    Film(at=START - 1, model="acme/slow"),
    Film(at=START + 3600, user="ann", key_id="key_b", seconds=8),
    Film(at=START + 3660, user="bob", project_id="proj_b", key_id="key_c", completed=False),
    Film(at=START + 3 * DAY, user="ann", model="=HYPERLINK(1)"),
    Film(at=START + 3 * DAY, organization_id=ELSEWHERE, user="ann"),
]
WHOLE: dict[str, Any] = {"start_time": START - DAY, "end_time": START + 4 * DAY}


@pytest.fixture
async def shown(cinema: Cinema) -> Cinema:
    await cinema.place(*FILMS)
    return cinema


def told(rows: list[Row]) -> list[tuple[Any, ...]]:
    return [
        (row.bucket // 1000 - START, *row.group.values(), row.completed, row.failed, row.billed_ms)
        for row in rows
    ]


async def test_days_begin_at_midnight_utc(shown: Cinema) -> None:
    assert told(await shown.rows(**WHOLE)) == [
        (-DAY, 1, 0, 4000),
        (0, 2, 1, 12_000),
        (3 * DAY, 1, 0, 4000),
    ]


async def test_hours_and_minutes(shown: Cinema) -> None:
    hours = await shown.rows(**WHOLE, bucket_width="1h", limit=168)
    assert told(hours) == [(-3600, 1, 0, 4000), (0, 1, 0, 4000), (3600, 1, 1, 8000), (3 * DAY, 1, 0, 4000)]
    minutes = await shown.rows(
        start_time=START + 3590, end_time=START + 3665, bucket_width="1m", lists={"group_by": ["user_id"]}
    )
    assert told(minutes) == [(3600, "ann", 1, 0, 8000), (3660, "bob", 0, 1, 0)]


GROUPS = [
    ("project_id", {"proj_a": 3, "proj_b": 0}),
    ("api_key_id", {"key_a": 2, "key_b": 1, "key_c": 0}),
    ("model", {"acme/fast": 2, "=HYPERLINK(1)": 1}),
    ("user_id", {None: 1, "ann": 2, "bob": 0}),
]


@pytest.mark.parametrize(("name", "expected"), GROUPS)
@pytest.mark.parametrize("width", ["1d", "1h"])
async def test_each_dimension_in_each_width(
    shown: Cinema, name: str, expected: dict[str, int], width: str
) -> None:
    rows = await shown.rows(
        start_time=START, end_time=START + 4 * DAY, bucket_width=width, limit=31 if width == "1d" else 168,
        lists={"group_by": [name]},
    )  # fmt: skip
    found: Counter[str | None] = Counter()
    for row in rows:
        found[row.group[name]] += row.completed
    assert found == expected


async def test_users_with_keys_or_models_are_counted_from_the_videos(shown: Cinema) -> None:
    rows = await shown.rows(**WHOLE, lists={"group_by": ["user_id", "model"]})
    assert told(rows) == [
        (-DAY, None, "acme/slow", 1, 0, 4000),
        (0, None, "acme/fast", 1, 0, 4000),
        (0, "ann", "acme/fast", 1, 0, 8000),
        (0, "bob", "acme/fast", 0, 1, 0),
        (3 * DAY, "ann", "=HYPERLINK(1)", 1, 0, 4000),
    ]


FILTERED = [
    ({"project_ids": ["proj_b"]}, [(0, 0, 1, 0)]),
    ({"api_key_ids": ["key_b", "key_c"]}, [(0, 1, 1, 8000)]),
    ({"models": ["acme/slow"]}, [(-DAY, 1, 0, 4000)]),
    ({"user_ids": ["ann"]}, [(0, 1, 0, 8000), (3 * DAY, 1, 0, 4000)]),
    ({"user_ids": ["ann"], "project_ids": ["proj_b"]}, []),
    ({"user_ids": ["ann"], "models": ["acme/fast"]}, [(0, 1, 0, 8000)]),
    ({"project_ids": ["proj_of_someone_else"]}, []),
]


@pytest.mark.parametrize(("lists", "expected"), FILTERED)
async def test_filters(shown: Cinema, lists: dict[str, list[str]], expected: list[Any]) -> None:
    assert told(await shown.rows(**WHOLE, lists=lists)) == expected


async def test_another_organization_sees_its_own_only(shown: Cinema) -> None:
    for lists in (
        {},
        {"group_by": ["user_id"]},
        {"group_by": ["user_id", "model"]},
        {"project_ids": ["proj_a"]},
    ):
        rows = await shown.rows(organization_id=ELSEWHERE, **WHOLE, lists=lists)
        assert [row.completed for row in rows] == [1]
    assert await shown.rows(organization_id="org_third", **WHOLE) == []


async def test_line_items(shown: Cinema) -> None:
    rows = await shown.rows(COSTS, **WHOLE, lists={"group_by": ["line_item"]})
    assert [(row.group["line_item"], row.revenue, row.billed_ms) for row in rows] == [
        ("video seconds, acme/slow", 4 * PRICE, 4000),
        ("video seconds, acme/fast", 12 * PRICE, 12_000),
        ("video seconds, =HYPERLINK(1)", 4 * PRICE, 4000),
    ]
    chosen = {"line_items": ["video seconds, acme/slow"]}
    assert [row.revenue for row in await shown.rows(COSTS, **WHOLE, lists=chosen)] == [4 * PRICE]


class Pages:
    """Follows next_page to the end."""

    def __init__(self, service: UsageService) -> None:
        self.service = service
        self.principal = Principal(HERE, "proj_a", "key_a", frozenset())

    async def all(self, **asked: Any) -> list[dict[str, Any]]:
        import msgspec

        found: list[dict[str, Any]] = []
        while True:
            page = msgspec.json.decode(await self.service.usage_page(self.principal, Asked(**asked)))
            found.append(page)
            if not page["has_more"]:
                assert page["next_page"] is None
                return found
            asked["page"] = page["next_page"]


async def test_cursors_walk_over_empty_buckets(shown: Cinema, clock: Clock) -> None:
    pages = await Pages(UsageService(shown.db, clock)).all(**WHOLE, limit=1)
    assert [[bucket["start_time"] - START for bucket in page["data"]] for page in pages] == [
        [-DAY], [0], [DAY], [2 * DAY], [3 * DAY],
    ]  # fmt: skip
    assert [len(page["data"][0]["results"]) for page in pages] == [1, 1, 0, 0, 1]


async def test_a_page_of_very_many_results_ends_early(shown: Cinema, clock: Clock) -> None:
    grouped = {**WHOLE, "limit": 31, "lists": {"group_by": ["user_id", "api_key_id"]}}
    pages = await Pages(UsageService(shown.db, clock, most_results=2)).all(**grouped)
    assert [[len(bucket["results"]) for bucket in page["data"]] for page in pages] == [[1], [3], [0, 0, 1]]


async def test_nothing_is_shown_of_the_future(cinema: Cinema, clock: Clock) -> None:
    pages = Pages(UsageService(cinema.db, clock))
    now = clock.now_ms() // 1000
    [page] = await pages.all(start_time=now - DAY, end_time=now + 400 * DAY)
    assert len(page["data"]) == 2
    [page] = await pages.all(start_time=now + 5 * DAY)
    assert (page["data"], page["has_more"]) == ([], False)


async def read_csv(lines: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join([piece async for piece in lines]))))


async def test_csv_is_whole_and_no_spreadsheet_runs_it(shown: Cinema, clock: Clock) -> None:
    await shown.place(
        Film(at=START, user='=cmd|" /C"!A0, "x"'), Film(at=START, user="@x"), Film(at=START, user="x\ny")
    )
    service, principal = UsageService(shown.db, clock), Principal(HERE, "proj_a", "key_a", frozenset())
    asked = Asked(**WHOLE, lists={"group_by": ["user_id"]})
    rows = await read_csv(service.usage_csv(principal, asked))
    assert {row["user_id"] for row in rows} == {"", "ann", "bob", '\'=cmd|" /C"!A0, "x"', "'@x", "x\ny"}
    assert {row["start_time"] for row in rows} == {
        "2025-12-31T00:00:00Z",
        "2026-01-01T00:00:00Z",
        "2026-01-04T00:00:00Z",
    }
    assert sum(int(row["num_videos"]) for row in rows) == 7
    costs = await read_csv(service.costs_csv(principal, Asked(**WHOLE, lists={"group_by": ["model"]})))
    assert [(row["model"], row["amount"], row["currency"]) for row in costs] == [
        ("acme/slow", "0.400000", "usd"),
        ("acme/fast", "2.400000", "usd"),
        ("'=HYPERLINK(1)", "0.400000", "usd"),
    ]


async def test_focus(shown: Cinema, clock: Clock) -> None:
    service, principal = UsageService(shown.db, clock), Principal(HERE, "proj_a", "key_a", frozenset())
    rows = await read_csv(await service.costs_focus(principal, Asked(**WHOLE)))
    first = rows[0]
    assert (first["ChargePeriodStart"], first["ChargePeriodEnd"]) == (
        "2025-12-31T00:00:00Z",
        "2026-01-01T00:00:00Z",
    )
    assert (first["BillingPeriodStart"], first["BillingPeriodEnd"]) == (
        "2025-12-01T00:00:00Z",
        "2026-01-01T00:00:00Z",
    )
    assert (first["BilledCost"], first["ConsumedQuantity"], first["ConsumedUnit"]) == (
        "0.400000",
        "4",
        "Seconds",
    )
    assert (first["SkuId"], first["SubAccountId"], first["BillingAccountId"]) == ("acme/slow", "proj_a", HERE)
    assert first["Tags"] == '{"onereel/api_key_id":"key_a"}'
    never_null = [name for name in first if name not in {"ChargeClass", "SubAccountName"}]
    assert [name for row in rows for name in never_null if not row[name]] == []
    assert sum(float(row["BilledCost"]) for row in rows) == pytest.approx(2.0)


REFUSED: list[tuple[Report, dict[str, Any], str]] = [
    (USAGE, {"bucket_width": "1w"}, "bucket_width"),
    (COSTS, {"bucket_width": "1m"}, "bucket_width"),
    (USAGE, {"end_time": START}, "end_time"),
    (USAGE, {"limit": 32}, "limit"),
    (USAGE, {"bucket_width": "1m", "limit": 1441}, "limit"),
    (USAGE, {"lists": {"group_by": ["line_item"]}}, "group_by"),
    (USAGE, {"lists": {"models": ["m"] * 101}}, "models"),
    (USAGE, {"lists": {"models": [""]}}, "models"),
    (USAGE, {"page": "page_1"}, "page"),
    (USAGE, {"page": f"page_{START + 1}"}, "page"),
    (USAGE, {"page": "page_²"}, "page"),
    (USAGE, {"page": "nonsense"}, "page"),
]


@pytest.mark.parametrize(("report", "asked", "param"), REFUSED)
def test_what_cannot_be_answered_is_named(report: Report, asked: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(report, Asked(**{"start_time": START, **asked}), (START + 9 * DAY) * 1000)
    assert refused.value.param == param


def test_a_file_has_no_pages_and_an_end() -> None:
    now = (START + 4000 * DAY) * 1000
    wrong: list[dict[str, Any]] = [
        {"limit": 1},
        {"page": "page_1"},
        {"bucket_width": "1h"},
        {"start_time": 0},
    ]
    for asked in wrong:
        with pytest.raises(BadRequest):
            parse(USAGE, Asked(**{"start_time": START, **asked}), now, whole=True)


SOURCES = [
    ("1d", ["model", "api_key_id"], "d"),
    ("1h", ["project_id"], "h"),
    ("1d", ["user_id", "project_id"], "u"),
    ("1h", ["user_id"], None),
    ("1d", ["user_id", "model"], None),
    ("1m", [], None),
]


@pytest.mark.parametrize(("width", "names", "grain"), SOURCES)
def test_the_coarsest_source_that_can_tell(width: str, names: list[str], grain: str | None) -> None:
    asked = Asked(START, bucket_width=width, lists={"group_by": names})
    assert grain_of(parse(USAGE, asked, (START + DAY) * 1000)) == grain
