"""Price rows as an operator writes them: which one applies, and what is refused when the server starts."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from providers.contract import Operation
from providers.price_rows import AmbiguousPrice, PriceRow, cells
from providers.spec import ModelSpec

SAID = {"source": "https://acme.example/pricing", "as_of": "2026-11-01"}


def row(amount: str, **fields: Any) -> dict[str, Any]:
    return {"unit": "output_second", "amount": amount, **SAID, **fields}


def spec(*rows: dict[str, Any], **fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"id": "m", "prices": rows, **fields})


def applying(
    *rows: dict[str, Any],
    operation: Operation = Operation.GENERATE,
    audio: bool | None = None,
    tier: str = "default",
) -> list[tuple[int | None, str | None, str]]:
    parsed = [PriceRow.model_validate(each) for each in rows]
    return [
        (edge, None if seconds is None else str(seconds), str(found.amount))
        for edge, seconds, found in cells(parsed, operation, audio, tier)
    ]


def test_bands_come_smallest_first_and_end_where_the_rows_do() -> None:
    rows = (row("0.2", up_to_short_edge=1080), row("0.1", up_to_short_edge=720))
    assert applying(*rows) == [(720, None, "0.1"), (1080, None, "0.2")]
    assert applying(*rows, row("0.5")) == [(720, None, "0.1"), (1080, None, "0.2"), (None, None, "0.5")]


def test_the_narrower_row_wins_whatever_the_order() -> None:
    rows = (row("1"), row("2", audio=True), row("3", audio=True, operations=["edit"]))
    for order in (rows, rows[::-1]):
        assert applying(*order) == [(None, None, "1")]
        assert applying(*order, audio=False) == [(None, None, "1")]
        assert applying(*order, audio=True) == [(None, None, "2")]
        assert applying(*order, audio=True, operation=Operation.EDIT) == [(None, None, "3")]
    tiers = (row("1"), row("0.5", service_tiers=["flex"]))
    assert applying(*tiers, tier="flex") == [(None, None, "0.5")]
    assert applying(*tiers, tier="priority") == [(None, None, "1")]


def test_bands_of_size_and_length_make_a_grid() -> None:
    rows = [
        row("1", unit="clip", up_to_short_edge=720, up_to_seconds=5),
        row("2", unit="clip", up_to_short_edge=720, up_to_seconds=10),
        row("3", unit="clip", up_to_short_edge=1080, up_to_seconds=5),
    ]
    assert applying(*rows) == [(720, "5", "1"), (720, "10", "2"), (1080, "5", "3")]


def test_units_are_priced_each_by_its_own_rows() -> None:
    rows = [row("0.01", unit="input_image"), row("0.1", up_to_short_edge=720)]
    assert applying(*rows) == [(None, None, "0.01"), (720, None, "0.1")]


@pytest.mark.parametrize(
    "rows",
    [
        (row("1"), row("2")),
        (row("1", audio=True), row("2", up_to_short_edge=720)),
        (row("1", up_to_seconds=5), row("2", up_to_short_edge=720)),
        (row("1", operations=["edit", "remix"]), row("2", operations=["edit", "extend"])),
        (row("1", service_tiers=["flex"]), row("2", operations=["edit"])),
    ],
)
def test_two_rows_for_the_same_video_are_refused(rows: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(ValidationError, match="neither is the narrower one"):
        spec(*rows, default_audio=True)
    with pytest.raises(ValidationError, match="neither is the narrower one"):
        ModelSpec.model_validate({"id": "m", "upstream_costs": rows, "default_audio": True})


def test_a_row_for_what_both_cover_settles_it() -> None:
    both = row("3", audio=True, up_to_short_edge=720)
    rows = (row("1", audio=True), row("2", up_to_short_edge=720))
    assert spec(*rows, both, default_audio=True).price_rows[2].amount == 3
    with pytest.raises(AmbiguousPrice, match=r"1 USD \(audio True\) and 2 USD \(up_to_short_edge 720\)"):
        applying(*rows, audio=True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prices": [row("1")], "price_per_second_usd": "1"}, "give price_per_second_usd or prices"),
        (
            {"upstream_costs": [row("1")], "upstream_cost_per_second_usd": "1"},
            "give upstream_cost_per_second_usd or upstream_costs",
        ),
        ({"prices": [row("1", currency="CNY")]}, "prices are in USD"),
        ({"upstream_costs": [row("1"), row("1", unit="clip", currency="CNY")]}, "in one currency"),
        ({"prices": [row("1", unit="input_image")]}, "only input units"),
        ({"prices": [row("1", audio=True), row("2", audio=False)]}, "default_audio"),
        ({"prices": [row("1", unit="gpu_second")]}, "max_gpu_seconds"),
        ({"prices": [row("1", max_gpu_seconds=3)]}, "max_gpu_seconds"),
        ({"prices": [row("1", default_fps=24)]}, "million_tokens"),
        ({"prices": [row("-1")]}, "greater than or equal to 0"),
        ({"prices": [row("NaN")]}, "finite"),
        ({"prices": [row("1", operations=[])]}, "at least 1"),
        ({"prices": [row("1", colour="red")]}, "Extra inputs"),
        ({"prices": [{"unit": "clip", "amount": "1", "as_of": "2026-11-01"}]}, "source"),
        ({"prices": [{"unit": "clip", "amount": "1", "source": "x"}]}, "as_of"),
    ],
)
def test_what_makes_no_price_book_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelSpec.model_validate({"id": "m", **fields})


def test_the_short_form_is_one_row() -> None:
    short = ModelSpec(
        id="m", price_per_second_usd=Decimal("0.1"), upstream_cost_per_second_usd=Decimal("0.08")
    )
    (price,), (cost,) = short.price_rows, short.cost_rows
    assert (price.unit, price.amount, price.currency) == ("output_second", Decimal("0.1"), "USD")
    assert (cost.unit, cost.amount) == ("output_second", Decimal("0.08"))
    assert ModelSpec(id="m").price_rows == ModelSpec(id="m").cost_rows == ()
