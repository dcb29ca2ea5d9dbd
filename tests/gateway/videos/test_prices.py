"""Prices from the configuration to the quote and the row: rules, currencies, what is refused, what is kept."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from billing.exchange import ExchangeRate
from billing.prices import Shape, UnknownPrice, price_micros
from gateway.db import Database
from gateway.errors import BadRequest
from gateway.principal import Principal, Scope
from gateway.settings import Billing, Settings
from gateway.videos.price_book import compile_book
from gateway.videos.quoting import priced, shape_of, with_audio
from gateway.videos.routing import Catalogue, Route
from gateway.videos.stored import StoredRequest
from providers.spec import ModelSpec, UpstreamSpec
from tests.gateway.videos.conftest import World, build, new_principal

SAID = {"source": "https://acme.example/pricing", "as_of": "2026-11-01"}
TODAY = date(2026, 11, 25)
HD = Shape(Decimal(8), 1280, 720)
YUAN = ExchangeRate(currency="CNY", usd_per_unit=Decimal("0.14"), as_of=date(2026, 11, 1), source="a bank")


def row(amount: str, unit: str = "output_second", **fields: Any) -> dict[str, Any]:
    return {"unit": unit, "amount": amount, **SAID, **fields}


def upstream(name: str, *models: dict[str, Any], **fields: Any) -> UpstreamSpec:
    specs = [{"parameters": ["seed", "audio", "fps"], **model} for model in models]
    return UpstreamSpec.model_validate(
        {"name": name, "base_url": "http://127.0.0.1:9/v1", "models": specs, **fields}
    )


def routes(*upstreams: UpstreamSpec, rates: tuple[ExchangeRate, ...] = ()) -> tuple[Route, ...]:
    billing = Billing(exchange_rates=rates)
    return Catalogue(Settings(upstreams=upstreams, billing=billing), today=lambda: TODAY).find("m")


def price(*upstreams: UpstreamSpec, margin: str | None = None, **changes: Any) -> int:
    shape = replace(HD, **changes)
    asked = None if margin is None else Decimal(margin)
    return priced(routes(*upstreams, rates=(YUAN,)), shape, asked, "prepaid").video_micros


def test_an_explicit_price_wins_over_cost_times_margin() -> None:
    costs = [row("0.05")]
    explicit = upstream("a", {"id": "m", "prices": [row("0.10")], "upstream_costs": costs})
    derived = upstream("a", {"id": "m", "upstream_costs": costs})
    assert price(explicit, margin="3") == 800_000
    assert price(derived, margin="3") == 1_200_000
    with pytest.raises(BadRequest) as refused:
        price(derived)
    assert (refused.value.code, refused.value.param) == ("price_unknown", "model")


def test_costs_in_other_currencies_are_converted() -> None:
    yuan = upstream("a", {"id": "m", "upstream_costs": [row("0.6", currency="CNY")]})
    assert price(yuan, margin="1.5") == 1_008_000  # 8 x 0.6 x 0.14 x 1.5
    credit = {"id": "m", "upstream_costs": [row("12", "clip", currency="credit")]}
    assert price(upstream("a", credit, credit_usd="0.01"), margin="2") == 240_000
    with pytest.raises(BadRequest, match="credit_usd is not set"):
        price(upstream("a", credit), margin="2")
    with pytest.raises(BadRequest, match="no rate for CNY"):
        priced(routes(yuan), HD, Decimal(2), "prepaid")


@given(st.integers(0, 10**8), st.integers(1, 10**8), st.integers(1, 1000), st.integers(1, 6000))
def test_conversion_is_exact_up_to_one_rounding(amount: int, usd: int, margin: int, tenths: int) -> None:
    """Against integers: amount and rate in millionths, margin in hundredths, length in tenths."""
    spec = ModelSpec.model_validate(
        {"id": "m", "upstream_costs": [row(str(Decimal(amount) / 10**6), currency="CNY")]}
    )
    rate = YUAN.model_copy(update={"usd_per_unit": Decimal(usd) / 10**6})
    book = compile_book(upstream("a"), spec, [rate], TODAY)
    got = book.price(replace(HD, seconds=Decimal(tenths) / 10), Decimal(margin) / 100).micros
    product, unit = amount * usd * margin * tenths, 10**9  # in 10^-15 USD, of which 10^9 are a micro-USD
    assert got == (2 * product + unit) // (2 * unit)


def test_a_newer_exchange_rate_applies_from_its_day_on() -> None:
    day = [TODAY]
    later = YUAN.model_copy(update={"usd_per_unit": Decimal("0.20"), "as_of": date(2026, 11, 26)})
    settings = Settings(
        upstreams=(upstream("a", {"id": "m", "upstream_costs": [row("1", currency="CNY")]}),),
        billing=Billing(exchange_rates=(YUAN, later)),
    )
    catalogue = Catalogue(settings, today=lambda: day[0])

    def now() -> int:
        return priced(catalogue.resolve("m").routes, HD, Decimal(1), "prepaid").video_micros

    assert now() == 1_120_000
    day[0] = date(2026, 11, 26)
    assert now() == 1_600_000
    day[0] = TODAY
    running = Catalogue(settings, today=lambda: day[0])
    day[0] = date(2026, 11, 27)
    (route,) = running.find("m")
    assert route.book.rate == Decimal("0.20")


def test_two_rates_of_one_day_are_refused() -> None:
    with pytest.raises(ValidationError, match="two exchange rates of CNY are dated 2026-11-01"):
        Billing(exchange_rates=(YUAN, YUAN))


def test_above_every_band_the_price_is_unknown() -> None:
    only = upstream("a", {"id": "m", "prices": [row("0.1", up_to_short_edge=720)]})
    assert price(only) == 800_000
    with pytest.raises(BadRequest, match="short edge of 1080 pixels"):
        price(only, width=1920, height=1080)


def test_a_route_without_a_price_is_left_out_and_the_dearest_is_held() -> None:
    unknown = upstream("a", {"id": "m"})
    cheap, dear = (
        upstream(name, {"id": "m", "upstream_model": "x", "price_per_second_usd": usd})
        for name, usd in (("b", "0.10"), ("c", "0.30"))
    )
    agreed = priced(routes(unknown, cheap, dear), HD, None, "prepaid")
    assert [each.route.upstream.name for each in agreed.routes] == ["b", "c"]
    assert agreed.video_micros == 2_400_000
    assert {key: value["rates"] for key, value in agreed.packed["routes"].items()} == {
        "b/x": [["output_second", "0.1"]],
        "c/x": [["output_second", "0.3"]],
    }
    free = priced(routes(unknown, cheap), HD, None, "off")
    assert [each.route.upstream.name for each in free.routes] == ["a", "b"]
    stored = StoredRequest(seconds=Decimal(8), size="1280x720", models=["m"], prices=free.packed)
    assert stored.agreed("a", "m") is None
    known = stored.agreed("b", "x")
    assert known is not None
    assert known.rates[0].amount == Decimal("0.1")


def test_a_route_that_came_later_costs_what_the_dearest_agreed_one_does() -> None:
    both = [upstream(n, {"id": "m", "price_per_second_usd": usd}) for n, usd in (("a", "0.1"), ("b", "0.3"))]
    packed = priced(routes(*both), HD, None, "prepaid").packed
    stored = StoredRequest(seconds=Decimal(8), size="1280x720", models=["m"], prices=packed)
    assert stored.agreed("new", "m") == stored.agreed("b", "m") != stored.agreed("a", "m")
    assert stored.is_agreed("a", "m")
    assert not stored.is_agreed("new", "m")


def test_what_the_previous_release_wrote_is_read() -> None:
    stored = StoredRequest.model_validate(
        {
            "v": 1,
            "seconds": "4",
            "size": "1280x720",
            "models": ["m"],
            "price_per_second_micros": 100_000,
            "rates": {"b/m": 25_000},
        }
    )
    amounts = [agreed.rates[0].amount for name in "ab" if (agreed := stored.agreed(name, "m"))]
    assert amounts == [Decimal("0.1"), Decimal("0.025")]
    sourced = stored.model_copy(update={"size": "NonexNone"})
    agreed = sourced.agreed("a", "m")
    assert agreed is not None
    assert price_micros(agreed.rates, sourced.shape("edit")) == 400_000


def test_a_source_of_unknown_size_has_no_price() -> None:
    shape = shape_of(Decimal(4), "NonexNone", "edit", tier="default", parameters={}, media=[])
    with pytest.raises(BadRequest, match="cannot be priced"):
        priced(routes(upstream("a", {"id": "m", "price_per_second_usd": "0.1"})), shape, None, "prepaid")


def test_sound_is_said_before_it_is_priced() -> None:
    prices = [row("0.1", audio=False), row("0.2", audio=True)]
    loud = upstream("a", {"id": "m", "prices": prices, "default_audio": True})
    deaf = upstream("b", {"id": "m", "prices": [row("0.1")], "parameters": ["seed"]})
    found, parameters = with_audio(routes(loud, deaf), {"seed": 1})
    assert ([route.upstream.name for route in found], parameters) == (["a"], {"seed": 1, "audio": True})
    found, parameters = with_audio(routes(loud, deaf), {"audio": False})
    assert parameters == {"audio": False}
    always = upstream("a", {"id": "m", "prices": prices, "default_audio": True, "parameters": []})
    found, parameters = with_audio(routes(always, deaf), {})
    assert (len(found), parameters) == (2, {})
    assert price(always) == 1_600_000


def test_tokens_need_a_frame_rate() -> None:
    tokens = {"id": "m", "prices": [row("7", "million_tokens", default_fps=24)]}
    assert price(upstream("a", tokens), seconds=Decimal(5)) == 756_000
    assert price(upstream("a", tokens), seconds=Decimal(5), fps=12) == 378_000
    book = compile_book(
        upstream("a"),
        ModelSpec.model_validate({"id": "m", "prices": [row("7", "million_tokens")]}),
        [],
        TODAY,
    )
    with pytest.raises(UnknownPrice, match="frame rate"):
        book.price(HD, None)


async def world_with(db: Database, world: World, *models: dict[str, Any], **settings: Any) -> World:
    folder = world.folder / "again"
    folder.mkdir()
    made = Settings(data_dir=folder, upstreams=(upstream("acme", *models),), **settings)
    return await build(db, world.clock, folder, made)


async def test_a_quote_shows_every_part_of_the_price(db: Database, world: World, png: bytes) -> None:
    model = {
        "id": "m",
        "sizes": ["1280x720"],
        "prices": [row("0.1"), row("0.01", "input_image")],
        "upstream_costs": [row("0.5", currency="CNY")],
    }
    made = await world_with(db, world, model, billing=Billing(exchange_rates=(YUAN,)))
    body = {"prompt": "x", "seconds": 8, "n": 2, "input_reference": made.upload(png)}
    quote = await made.service.quote(made.principal, body)
    (shown,) = quote["routes"]
    assert shown["price"] == {
        "currency": "usd",
        "amount": "0.810000",
        "rule": "explicit",
        "lines": [
            {"unit": "output_second", "quantity": "8", "unit_price": "0.1", "amount": "0.800000"},
            {"unit": "input_image", "quantity": "1", "unit_price": "0.01", "amount": "0.010000"},
        ],
    }
    assert quote["hold"]["amount"] == "1.620000"
    assert "upstream_cost" not in shown
    operator = replace(made.principal, scopes=frozenset({Scope.OPERATOR}))
    (shown,) = (await made.service.quote(operator, body))["routes"]
    assert shown["upstream_cost"] == {
        "usd": "0.560000",
        "currency": "cny",
        "amount": "4",
        "usd_per_unit": "0.14",
    }
    await made.service._creation._inputs._media.close()


async def test_each_video_of_a_group_is_held_at_its_price(db: Database, world: World) -> None:
    made = await world_with(db, world, {"id": "m", "prices": [row("0.35", "clip")]})
    video = await made.create({"model": "m", "n": 3})
    assert video["cost"]["amount"] == "0.350000"
    assert [(await made.row(each)).hold_micros for each in video["group"]] == [350_000] * 3
    with pytest.raises(BadRequest) as refused:
        await made.create({"model": "m", "n": 3, "max_cost": "1.04"})
    assert refused.value.code == "max_cost_exceeded"
    await made.service._creation._inputs._media.close()


async def test_the_margin_is_the_callers(db: Database, world: World) -> None:
    made = await world_with(db, world, {"id": "m", "upstream_costs": [row("0.1")]})

    async def cost(margin: str | None) -> str:
        who: Principal = replace(made.principal, margin=None if margin is None else Decimal(margin))
        quote = await made.service.quote(who, {"prompt": "x", "seconds": 4})
        return str(quote["hold"]["amount"])

    assert [await cost(margin) for margin in ("1.25", "2", None)] == ["0.500000", "0.800000", "0.000000"]
    quote = await made.service.quote(new_principal(), {"prompt": "x"})
    assert quote["routes"][0]["price"] is None
    assert "not known" in quote["warnings"][-1]
    await made.service._creation._inputs._media.close()


async def test_provider_options_cannot_make_more_than_is_paid_for(db: Database, world: World) -> None:
    plain = {"id": "m", "prices": [row("0.1")]}
    made = await world_with(db, world, plain, {**plain, "id": "open", "provider_options": ["cfg"]})
    payer = replace(made.principal, billing_mode="prepaid")
    for fields, param in (
        ({"model": "m", "provider_options": {"duration": 15}}, "provider_options"),
        ({"model": "open", "provider_options": {"cfg": 1, "duration": 15}}, "provider_options"),
        ({"model": "open", "provider_options": {"cfg": 1}, "fallbacks": ["m"]}, "fallbacks[0]"),
    ):
        with pytest.raises(BadRequest) as refused:
            await made.service.quote(payer, {"prompt": "x", **fields})
        assert (refused.value.param, refused.value.code) == (param, "unsupported_value")
    body = {"prompt": "x", "model": "open", "provider_options": {"cfg": 1}}
    assert (await made.service.quote(payer, body))["hold"]["amount"] == "0.400000"
    await made.service.quote(
        made.principal, {"prompt": "x", "model": "m", "provider_options": {"duration": 15}}
    )
    await made.service._creation._inputs._media.close()
