"""The arithmetic of prices: units, bands, what a file that falls short costs, and what is kept of an agreement."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.agreed import pack, unpack
from billing.prices import (
    Agreed,
    Observed,
    Rate,
    Shape,
    UnknownPrice,
    billable_seconds,
    charge_micros,
    lines_of,
    lowered,
    price_micros,
)

SECOND = Rate("output_second", Decimal("0.10"))
BANDS = (
    Rate("output_second", Decimal("0.05"), up_to_edge=480),
    Rate("output_second", Decimal("0.10"), up_to_edge=720),
    Rate("output_second", Decimal("0.25"), up_to_edge=1080),
)
HD = Shape(Decimal(8), 1280, 720)

amounts = st.decimals("0", "50", places=4)
lengths = st.decimals("0.1", "600", places=1)
sides = st.integers(16, 4096)
shapes = st.builds(Shape, lengths, sides, sides, fps=st.integers(1, 60))
edges = st.lists(st.integers(16, 4096), min_size=1, max_size=4, unique=True).map(sorted)
observations = st.builds(
    Observed,
    st.none() | st.integers(-1000, 700_000),
    st.none() | st.integers(0, 5000),
    st.none() | st.decimals("0", "1000", places=3),
    st.none() | st.decimals("-5", "1000", places=3),
)


@st.composite
def rising(draw: st.DrawFn) -> tuple[Rate, ...]:
    """A table with bands, dearer from band to band, the last one without bound."""
    bounds: list[int | None] = [*draw(edges), None]
    prices = sorted(draw(st.lists(amounts, min_size=len(bounds), max_size=len(bounds))))
    unit = draw(st.sampled_from(["output_second", "clip", "million_tokens"]))
    return tuple(Rate(unit, price, edge) for edge, price in zip(bounds, prices, strict=True))


@st.composite
def tables(draw: st.DrawFn) -> tuple[Rate, ...]:
    """Any table that covers everything, monotone or not, with a part per GPU second or none."""
    bounds: list[int | None] = [*draw(edges), None]
    rates = [Rate("output_second", draw(amounts), edge) for edge in bounds]
    if draw(st.booleans()):
        most = draw(st.decimals("1", "500", places=1))
        rates.append(Rate("gpu_second", draw(amounts), max_gpu_seconds=most))
    return tuple(rates)


@pytest.mark.parametrize(
    ("rate", "shape", "micros"),
    [
        (SECOND, HD, 800_000),
        (Rate("clip", Decimal("0.35")), HD, 350_000),
        (Rate("input_image", Decimal("0.01")), replace(HD, input_images=3), 30_000),
        (Rate("input_second", Decimal("0.02")), replace(HD, input_seconds=Decimal("2.5")), 50_000),
        (Rate("gpu_second", Decimal("0.001"), max_gpu_seconds=Decimal(90)), HD, 90_000),
        # 1280 x 720 x 24 x 5 / 1024 = 108000 tokens, and with one frame more 108900
        (Rate("million_tokens", Decimal(7), fps=24), Shape(Decimal(5), 1280, 720), 756_000),
        (Rate("million_tokens", Decimal(7), fps=24, extra_frames=1), Shape(Decimal(5), 1280, 720), 762_300),
        (Rate("million_tokens", Decimal(7), fps=24), Shape(Decimal(5), 1280, 720, fps=12), 378_000),
        # the frames of an input clip are counted too
        (
            Rate("million_tokens", Decimal(7), fps=24),
            Shape(Decimal(3), 1280, 720, input_seconds=Decimal(2)),
            756_000,
        ),
    ],
)
def test_every_unit_is_counted(rate: Rate, shape: Shape, micros: int) -> None:
    assert price_micros([rate], shape) == micros


def test_units_add_up_and_the_sum_is_rounded_once() -> None:
    rates = [
        Rate("output_second", Decimal("0.0000001")),
        Rate("input_image", Decimal("0.0000004")),
        Rate("clip", Decimal(1)),
    ]
    lines = lines_of(rates, Shape(Decimal(1), 640, 480, input_images=1))
    assert [line.amount for line in lines] == [Decimal("1E-7"), Decimal("4E-7"), 1]
    assert price_micros(rates, Shape(Decimal(1), 640, 480, input_images=1)) == 1_000_001


@pytest.mark.parametrize(
    ("shape", "micros"),
    [
        (Shape(Decimal(1), 854, 480), 50_000),
        (Shape(Decimal(1), 480, 854), 50_000),
        (Shape(Decimal(1), 855, 481), 100_000),
        (Shape(Decimal(1), 1920, 1080), 250_000),
    ],
)
def test_the_smallest_band_that_contains_the_short_edge_applies(shape: Shape, micros: int) -> None:
    assert price_micros(BANDS, shape) == micros


@pytest.mark.parametrize(
    ("rates", "shape"),
    [
        ((), HD),
        (BANDS, Shape(Decimal(8), 3840, 2160)),
        ((Rate("clip", Decimal(1), up_to_seconds=Decimal(5)),), Shape(Decimal(8), 640, 480)),
        ((SECOND, Rate("clip", Decimal(1), up_to_edge=480)), HD),
        ((SECOND,), Shape(Decimal(0), 640, 480)),
        ((SECOND,), Shape(Decimal(-1), 640, 480)),
        ((SECOND,), Shape(Decimal("NaN"), 640, 480)),
        ((SECOND,), Shape(Decimal("Infinity"), 640, 480)),
        ((SECOND,), Shape(Decimal(4), 0, 480)),
        ((Rate("million_tokens", Decimal(7)),), HD),
        ((Rate("million_tokens", Decimal(7), fps=24),), replace(HD, input_seconds=None)),
        ((SECOND, Rate("input_second", Decimal(1))), replace(HD, input_seconds=None)),
        ((Rate("gpu_second", Decimal(1)),), HD),
        ((Rate("furlong", Decimal(1)),), HD),
    ],
)
def test_what_is_not_known_is_an_error_never_zero(rates: tuple[Rate, ...], shape: Shape) -> None:
    with pytest.raises(UnknownPrice):
        price_micros(rates, shape)


@given(rising(), shapes, lengths, sides)
def test_a_longer_or_larger_video_never_costs_less(
    rates: tuple[Rate, ...], shape: Shape, more: Decimal, side: int
) -> None:
    price = price_micros(rates, shape)
    assert price_micros(rates, replace(shape, seconds=shape.seconds + more)) >= price
    larger = replace(shape, width=shape.width + side, height=shape.height + side)
    assert price_micros(rates, larger) >= price


@given(tables(), shapes, observations, st.none() | st.decimals("0.1", "5", places=2), st.integers(0, 10**9))
def test_no_observation_charges_more_than_was_held(
    rates: tuple[Rate, ...], shape: Shape, observed: Observed, margin: Decimal | None, hold: int
) -> None:
    charged = charge_micros(Agreed(rates, margin), shape, observed, hold)
    assert 0 <= charged <= hold
    if margin is None:
        assert charged <= price_micros(rates, shape)


@given(tables(), shapes, observations)
def test_what_is_kept_charges_as_what_was_agreed(
    rates: tuple[Rate, ...], shape: Shape, observed: Observed
) -> None:
    agreed = Agreed(rates, Decimal("1.2"), "CNY", Decimal("0.14"))
    kept = unpack(json.loads(json.dumps(pack(agreed, shape))))
    hold = price_micros(rates, shape)
    assert charge_micros(kept, shape, observed, hold) == charge_micros(agreed, shape, observed, hold)
    assert price_micros(kept.rates, shape) == hold


def test_a_short_file_is_billed_by_its_own_length() -> None:
    agreed = Agreed((SECOND,))
    for measured, micros in ((8000, 800_000), (7300, 800_000), (7100, 710_000), (9000, 800_000)):
        assert charge_micros(agreed, HD, Observed(measured), 800_000) == micros
    assert charge_micros(agreed, HD, Observed(0), 800_000) == 0


def test_a_short_clip_falls_into_the_lower_band_of_lengths() -> None:
    rates = (
        Rate("clip", Decimal("0.20"), up_to_seconds=Decimal(5)),
        Rate("clip", Decimal("0.35"), up_to_seconds=Decimal(10)),
    )
    assert charge_micros(Agreed(rates), HD, Observed(8000), 350_000) == 350_000
    assert charge_micros(Agreed(rates), HD, Observed(4800), 350_000) == 200_000


def test_a_smaller_file_is_billed_in_its_own_band() -> None:
    shape = Shape(Decimal(4), 1920, 1080)
    for edge, micros in ((1080, 1_000_000), (1072, 1_000_000), (720, 400_000), (256, 200_000)):
        assert charge_micros(Agreed(BANDS), shape, Observed(None, edge), 1_000_000) == micros
    upside_down = (Rate("output_second", Decimal(1), up_to_edge=480), SECOND)
    assert charge_micros(Agreed(upside_down), HD, Observed(None, 480), 9_000_000) == 800_000


def test_tokens_of_a_smaller_file_are_its_own_pixels() -> None:
    rates = (Rate("million_tokens", Decimal(7), fps=24),)
    shape = Shape(Decimal(5), 1280, 720)
    assert charge_micros(Agreed(rates), shape, Observed(None, 704), 756_000) == 756_000
    assert charge_micros(Agreed(rates), shape, Observed(None, 360), 756_000) == 189_000


def test_gpu_seconds_bill_what_was_measured_and_never_more_than_the_maximum() -> None:
    agreed = Agreed((Rate("gpu_second", Decimal("0.01"), max_gpu_seconds=Decimal(60)),))
    held = price_micros(agreed.rates, HD)
    assert held == 600_000
    for measured, micros in ((None, 600_000), ("12.5", 125_000), ("60", 600_000), ("61", 600_000), ("0", 0)):
        seconds = None if measured is None else Decimal(measured)
        assert charge_micros(agreed, HD, Observed(gpu_seconds=seconds), held) == micros


def test_the_reported_cost_sets_the_price_only_where_the_rule_is_cost_times_margin() -> None:
    told = Observed(reported=Decimal("0.40"))
    assert charge_micros(Agreed((SECOND,)), HD, told, 800_000) == 800_000
    assert charge_micros(Agreed((SECOND,), Decimal("1.25")), HD, told, 800_000) == 500_000
    dear = Observed(reported=Decimal(100))
    assert charge_micros(Agreed((SECOND,), Decimal("1.25")), HD, dear, 800_000) == 800_000
    absurd = Observed(reported=Decimal("1e30"))
    assert charge_micros(Agreed((SECOND,), Decimal("1.25")), HD, absurd, 800_000) == 800_000
    short = Observed(duration_ms=2000, reported=Decimal("0.40"))
    assert charge_micros(Agreed((SECOND,), Decimal("1.25")), HD, short, 800_000) == 200_000
    yuan = Observed(reported=Decimal(2), currency="CNY")
    assert (
        charge_micros(Agreed((SECOND,), Decimal("1.5"), "CNY", Decimal("0.14")), HD, yuan, 800_000) == 420_000
    )
    assert charge_micros(Agreed((SECOND,), Decimal("1.5")), HD, yuan, 800_000) == 800_000


def test_only_what_may_still_be_needed_is_kept() -> None:
    packed = pack(Agreed(BANDS), HD)
    assert packed == {"rates": [["output_second", "0.05", 480], ["output_second", "0.10", 720]]}


@given(shapes, observations)
def test_what_is_billed_is_never_more_than_what_was_asked(shape: Shape, observed: Observed) -> None:
    billed = lowered(shape, observed)
    assert billed.seconds <= shape.seconds
    assert billed.short_edge <= shape.short_edge
    assert billed.pixels <= shape.pixels
    assert billed.seconds == billable_seconds(shape.seconds, observed.duration_ms)
