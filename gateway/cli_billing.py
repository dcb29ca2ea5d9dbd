"""`onereel billing reconcile`: what Stripe and the ledger say of the same money."""

from typing import TYPE_CHECKING, Final

import click

from gateway.cli_terminal import CommandError, load_settings, run, say, table

if TYPE_CHECKING:
    from billing.stripe_reconcile import Difference
    from gateway.settings import Settings

_DAY_MS: Final = 24 * 3_600_000


@click.command()
@click.option("--days", type=click.IntRange(1, 365), default=30, show_default=True, help="How far back.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list of differences.")
def reconcile(days: int, as_json: bool) -> None:
    """Print every difference between the ledger and Stripe; exit code 1 if there are any. Changes nothing."""
    import json
    from dataclasses import asdict

    found = run(_reconcile(load_settings(), days))
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
    elif found:
        click.echo(
            table(("KIND", "OBJECT", "ORGANIZATION", "STRIPE USD", "LEDGER USD", "WHAT"), _rows(found))
        )
    if found:
        raise CommandError(f"Ledger and Stripe differ in {len(found)} places.")
    say(f"Ledger and Stripe agree over the last {days} days.")


def _rows(found: "list[Difference]") -> list[tuple[str, ...]]:
    from billing.money import format_usd

    def money(micros: int | None) -> str:
        return "-" if micros is None else format_usd(micros)

    return [
        (
            each.kind,
            each.object_id,
            each.organization_id or "-",
            money(each.stripe_micros),
            money(each.ledger_micros),
            each.detail,
        )
        for each in found
    ]


async def _reconcile(settings: "Settings", days: int) -> "list[Difference]":
    from billing.stripe_client import StripeError
    from gateway.billing.reconcile import reconcile as compare
    from gateway.billing.stripe_account import Account
    from gateway.clock import Clock
    from gateway.db_open import open_database
    from gateway.migrate import ensure_schema

    clock = Clock()
    await ensure_schema(settings)
    db = open_database(settings, clock)
    account = Account(db, clock, settings.stripe)
    now = clock.now_ms()
    since = now - now % _DAY_MS - days * _DAY_MS
    try:
        return await compare(
            db, account.stripe, meter_event_name=settings.stripe.meter_event_name, since=since, now=now
        )
    except StripeError as error:
        raise CommandError(f"Stripe does not answer: {error}") from None
    finally:
        await account.close()
        await db.close()
