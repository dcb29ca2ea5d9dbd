"""What is charged and booked at the end of a video, whatever the configuration says by then."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select, update

from billing.exchange import ExchangeRate
from billing.prices import Shape
from billing.tables import entries, lines
from gateway.db import Database, now_ms
from gateway.jobs import costs
from gateway.jobs.charges import fee_of
from gateway.jobs.tables import jobs
from gateway.settings import Billing, Settings
from gateway.videos.quoting import priced, warnings_of
from gateway.videos.routing import Catalogue, Route
from gateway.videos.tables import videos
from providers.contract import Completed, ErrorKind, ReportedCost
from providers.spec import UpstreamSpec
from providers.testing import FakeUpstream
from tests.gateway.jobs.bench import PRICE, Engine, engine, upstream

SAID = {"source": "https://acme.example/pricing", "as_of": "2026-11-01"}
YUAN = ExchangeRate.model_validate(
    {"currency": "CNY", "usd_per_unit": "0.14", "as_of": "2026-11-01", "source": "a bank"}
)
SHAPE = Shape(Decimal(4), 1280, 720)


@pytest.fixture(scope="module")
def fake_process() -> Iterator[FakeUpstream]:
    with FakeUpstream(poll_after_ms=50) as server:
        yield server


@pytest.fixture
def fake(fake_process: FakeUpstream) -> FakeUpstream:
    fake_process.reset()
    return fake_process


def row(amount: str, unit: str = "output_second", **fields: Any) -> dict[str, Any]:
    return {"unit": unit, "amount": amount, **SAID, **fields}


def priced_by(fake: FakeUpstream, *rows: dict[str, Any], name: str = "acme", **changes: Any) -> UpstreamSpec:
    spec = {"price_per_second_usd": None, "prices": list(rows), **changes.pop("spec", {})}
    return upstream(name, fake.base_url, spec=spec, **changes)


def routes(*upstreams: UpstreamSpec, rates: tuple[ExchangeRate, ...] = ()) -> tuple[Route, ...]:
    settings = Settings(upstreams=upstreams, billing=Billing(exchange_rates=rates))
    return Catalogue(settings).find("acme/fast")


async def add(
    made: Engine, *upstreams: UpstreamSpec, prompt: str = "a cat", margin: str | None = None, **changes: Any
) -> str:
    """Accept a video at the price that these upstreams have now."""
    asked = None if margin is None else Decimal(margin)
    price = priced(routes(*upstreams), SHAPE, asked, "prepaid")
    return await made.add(prompt, prices=price.packed, **changes)


async def captured(made: Engine, video_id: str) -> int:
    """What the ledger says was taken, 0 where all of it was released."""
    query = (
        select(lines.c.amount)
        .join(entries, entries.c.id == lines.c.entry_id)
        .where(entries.c.subject == video_id, entries.c.kind == "capture", lines.c.account == "revenue")
    )
    taken = await made.db.read(lambda conn: conn.execute(query).scalar())
    return abs(taken) if taken else 0


async def cancelled(made: Engine, video_id: str) -> Any:
    async def running() -> bool:
        return bool((await made.video(video_id)).state == "running")

    def write(conn):
        conn.execute(update(videos).where(videos.c.id == video_id).values(cancel_requested=True))
        conn.execute(update(jobs).where(jobs.c.id == video_id).values(due=now_ms(), parked_for=None))

    await made.until(running)
    await made.db.write(write)
    made.ctx.hints.jobs.set()
    return (await made.finish(video_id))[0]


async def test_gpu_seconds_bill_the_attempt_that_delivered(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    fake.config(gpu_seconds="12.5")
    spec = priced_by(
        fake,
        row("0.01", "gpu_second", max_gpu_seconds=40),
        spec={"upstream_costs": [row("0.002", "gpu_second", max_gpu_seconds=40)]},
    )
    async with engine(db, tmp_path, [spec]) as made:
        (video,) = await made.finish(await add(made, spec))
        assert (video.state, video.cost_micros) == ("completed", 125_000)
        (attempt,) = await made.attempts(video.id)
        assert (attempt.gpu_ms, attempt.cost_micros, attempt.cost_source) == (12_500, 25_000, "estimated")
        fake.config(gpu_seconds="99")
        (video,) = await made.finish(await add(made, spec))
        assert video.cost_micros == 4 * PRICE == video.hold_micros
        await made.check()


async def test_what_was_agreed_counts_not_what_the_configuration_says_now(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    then = priced_by(fake, row("0.03"))
    async with engine(db, tmp_path, [priced_by(fake, row("9.99"))]) as made:
        (video,) = await made.finish(await add(made, then))
        assert (video.state, video.cost_micros, video.hold_micros) == ("completed", 120_000, 4 * PRICE)
        assert await captured(made, video.id) == 120_000
        await made.check()


async def test_cost_times_margin_follows_the_reported_cost_up_to_the_hold(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    spec = priced_by(fake, spec={"upstream_costs": [row("0.05")]})
    async with engine(db, tmp_path, [spec]) as made:
        charged = []
        for told in (None, "0.10", "5"):
            fake.config(cost_usd=told)
            (video,) = await made.finish(await add(made, spec, margin="1.5"))
            (attempt,) = await made.attempts(video.id)
            charged.append((video.cost_micros, attempt.cost_micros, attempt.cost_source, attempt.cost_amount))
        assert charged == [
            (300_000, 200_000, "estimated", "0.20"),
            (150_000, 100_000, "reported", "0.1"),
            (400_000, 5_000_000, "reported", "5"),
        ]
        await made.check()


async def test_an_explicit_price_stays_whatever_the_upstream_reports(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    fake.config(cost_usd="0.01")
    spec = priced_by(fake, row("0.05"), spec={"upstream_costs": [row("0.04")]})
    async with engine(db, tmp_path, [spec]) as made:
        (video,) = await made.finish(await add(made, spec, margin="1.5"))
        assert video.cost_micros == 200_000
        (attempt,) = await made.attempts(video.id)
        assert (attempt.cost_micros, attempt.cost_currency, attempt.cost_rate) == (10_000, "USD", "1")
        await made.check()


@pytest.mark.parametrize(("fee", "taken"), [(0, 0), (50_000, 50_000), (9_000_000, 4 * PRICE)])
async def test_a_cancel_fee_is_taken_once_the_attempt_has_begun(
    db: Database, tmp_path: Path, fake: FakeUpstream, fee: int, taken: int
) -> None:
    fake.config(run_seconds=[30.0, 30.0])
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        video_id = await made.add(cancel_fee_micros=fee)
        video = await cancelled(made, video_id)
        assert (video.state, video.error_code, video.cost_micros) == ("failed", "cancelled", taken)
        assert video.cost_status == ("captured" if taken else "released")
        assert ("USD were charged" in video.error_message) is bool(taken)
        assert await captured(made, video_id) == taken
        await made.check()


async def test_a_cancel_before_anything_was_sent_is_free(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        (video,) = await made.finish(await made.add(cancel_fee_micros=50_000, cancel_requested=True))
        assert (video.error_code, video.cost_status, video.cost_micros) == ("cancelled", "released", 0)
        (video,) = await made.finish(await made.add("a cat [fault:cancelled]", cancel_fee_micros=50_000))
        assert (video.error_code, video.cost_status, video.cost_micros) == ("cancelled", "released", 0)
        await made.check()


@pytest.mark.parametrize(
    ("charges", "passed_on", "taken", "booked"),
    [
        ("yes", True, 200_000, 160_000),
        ("yes", False, 0, 160_000),
        ("no", True, 0, None),
        ("unknown", True, 0, None),
    ],
)
@pytest.mark.parametrize("fault", ["moderation", "moderation_submit"])
async def test_a_rejection_is_charged_only_where_the_upstream_does_and_the_operator_passes_it_on(
    db: Database,
    tmp_path: Path,
    fake: FakeUpstream,
    fault: str,
    *,
    charges: str,
    passed_on: bool,
    taken: int,
    booked: int | None,
) -> None:
    spec = priced_by(
        fake,
        row("0.05"),
        spec={"upstream_costs": [row("0.04")], "charges_on_rejection": charges},
        pass_on_rejection_charges=passed_on,
    )
    async with engine(db, tmp_path, [spec]) as made:
        (video,) = await made.finish(await add(made, spec, prompt=f"a cat [fault:{fault}]"))
        assert (video.state, video.error_code, video.cost_micros) == ("failed", "moderation_blocked", taken)
        assert await captured(made, video.id) == taken
        (attempt,) = await made.attempts(video.id)
        assert (attempt.cost_micros, attempt.state) == (booked, "failed")
        (failed,) = await made.finish(await add(made, spec, prompt="a cat [fault:failed]"))
        assert (failed.cost_status, failed.cost_micros) == ("released", 0)
        await made.check()


async def test_a_passed_on_charge_was_told_when_the_video_was_accepted(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    now = priced_by(fake, row("0.05"), spec={"charges_on_rejection": "yes"}, pass_on_rejection_charges=True)
    async with engine(db, tmp_path, [now]) as made:
        then = priced_by(fake, row("0.05"))
        (video,) = await made.finish(await add(made, then, prompt="a cat [fault:moderation]"))
        assert (video.cost_status, video.cost_micros) == ("released", 0)
        await made.check()


def test_no_other_end_costs_anything(fake: FakeUpstream) -> None:
    spec = priced_by(fake, row("5"), spec={"charges_on_rejection": "yes"}, pass_on_rejection_charges=True)
    request = {
        "seconds": "4",
        "size": "1280x720",
        "models": ["acme/fast"],
        "cancel_fee_micros": 7,
        "prices": priced(routes(spec), SHAPE, None, "prepaid").packed,
    }

    def fee(code: str, kind: ErrorKind | None, state: str = "running", *, cancel: bool = True) -> int:
        attempt = SimpleNamespace(upstream="acme", upstream_model="fast-1", state=state)
        video = SimpleNamespace(
            request=request, hold_micros=4 * PRICE, operation="generate", cancel_requested=cancel
        )
        return fee_of(video, attempt, code, kind)

    assert warnings_of(routes(spec), "a fox", "1280x720", []) == [
        "What the moderation of 'acme' refuses is charged all the same."
    ]
    assert fee("moderation_blocked", ErrorKind.MODERATION_BLOCKED) == 4 * PRICE
    assert fee("cancelled", None) == 7
    assert fee("cancelled", ErrorKind.CANCELLED, cancel=False) == 0
    for state in ("intent", "unknown", "refused", "failed", "completed", "cancelled"):
        assert fee("cancelled", None, state) == 0
    for kind in set(ErrorKind) - {ErrorKind.MODERATION_BLOCKED}:
        assert fee("provider_error", kind) == 0
    for code in ("expired", "submission_unknown", "input_media", "provider_error"):
        assert fee(code, None) == 0


def test_costs_are_kept_in_the_currency_they_come_in(fake: FakeUpstream) -> None:
    spec = priced_by(fake, spec={"upstream_costs": [row("0.5", currency="CNY")]})
    video = SimpleNamespace(request={"seconds": "4", "size": "1280x720", "models": []}, operation="generate")

    def told(cost: ReportedCost | None, *rates: ExchangeRate) -> tuple[Any, ...]:
        found = costs.cost_of(routes(spec, rates=rates)[0], video, Completed({}, cost))
        assert found is not None
        return tuple(costs.columns(found).values())

    yuan = ReportedCost(None, amount=Decimal("1.7"), currency="CNY")
    assert told(yuan, YUAN) == (238_000, "reported", "1.7", "CNY", "0.14")
    assert told(yuan) == (None, "reported", "1.7", "CNY", None)
    assert told(None, YUAN) == (280_000, "estimated", "2.0", "CNY", "0.14")
    assert told(ReportedCost(90_000), YUAN) == (90_000, "reported", "0.09", "USD", "1")
    # what is no amount of money says nothing
    for absurd in (ReportedCost(-1), ReportedCost(10**30), ReportedCost(None)):
        assert told(absurd, YUAN)[1] == "estimated"
    for text in ("NaN", "Infinity", "-1", "1e60"):
        assert told(ReportedCost(None, amount=Decimal(text), currency="CNY"))[1] == "estimated"
    third = told(ReportedCost(None, amount=Decimal(f"0.{'3' * 60}"), currency="CNY"), YUAN)
    assert third[2] == "0.333333333333"


def test_a_report_in_another_currency_than_the_prices_is_converted(fake: FakeUpstream) -> None:
    spec = priced_by(fake, spec={"upstream_costs": [row("0.5")]}, credit_usd=Decimal("0.01"))
    (route,) = routes(spec, rates=(YUAN,))
    for cost, micros in (
        (ReportedCost(None, amount=Decimal(48), currency="credit"), 480_000),
        (ReportedCost(None, amount=Decimal(2), currency="CNY"), 280_000),
        (ReportedCost(None, amount=Decimal(2), currency="USD"), 2_000_000),
    ):
        told = costs.reported(route, cost)
        assert told is not None
        assert (told.micros, told.currency) == (micros, cost.currency)


def test_what_was_reported_is_not_replaced_by_an_estimate(fake: FakeUpstream) -> None:
    attempt = SimpleNamespace(
        cost_micros=1, cost_source="reported", cost_amount="0.000001", cost_currency="USD", cost_rate="1"
    )
    (route,) = routes(priced_by(fake, spec={"upstream_costs": [row("0.5")]}))
    estimate = route.book.estimate(SHAPE)
    assert costs.columns_of(attempt, estimate)["cost_micros"] == 1
    assert costs.columns_of(attempt, None)["cost_source"] == "reported"
    again = route.book.booked(Decimal(2), "reported")
    assert costs.columns_of(attempt, again)["cost_micros"] == 2_000_000
    attempt.cost_source = "estimated"
    assert costs.columns_of(attempt, estimate)["cost_micros"] == 2_000_000
