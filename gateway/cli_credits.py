"""`onereel credits`: through the running server, or on the database itself when no server runs."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from gateway.cli_keys import Expiry
from gateway.cli_terminal import CommandError, load_settings, run, say, table

T = TypeVar("T")
Json = dict[str, Any]


@click.group()
def credits() -> None:  # noqa: A001  (the command's name)
    """Grant and list credit."""


@credits.command()
@click.argument("amount_usd")
@click.option("--reason", required=True, help="Why; kept in the ledger.")
@click.option("--organization", help="Whose credit; default: the default organization's.")
@click.option("--expires", "expires_at", type=Expiry(), help="Promotional credit that ends: 30d, 2027-01-31.")
def grant(amount_usd: str, reason: str, organization: str | None, expires_at: Any) -> None:
    """Give credit, in USD such as 25.00."""
    fields = {"amount_usd": amount_usd, "reason": reason, "organization": organization}
    if expires_at not in {None, "none"}:
        fields["expires_at"] = expires_at
    sent = {name: value for name, value in fields.items() if value is not None}
    made = run(_grant(sent))
    say(f"{made['organization_id']} now has {made['amount_usd']} USD more.")
    click.echo(made["id"])


@credits.command("list")
@click.option("--organization", help="Whose credit; default: the default organization's, or the key's own.")
@click.option("--json", "as_json", is_flag=True, help="Print the API's own objects.")
def list_credits(organization: str | None, *, as_json: bool) -> None:
    """List what was given, oldest first."""
    found = run(_list(organization))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    headers = ("ID", "ORGANIZATION", "USD", "LEFT", "EXPIRES", "REASON")
    click.echo(table(headers, [_row(credit) for credit in found]))


def _row(credit: Json) -> tuple[str, ...]:
    from datetime import UTC, datetime

    ends = credit["expires_at"]
    return (
        credit["id"],
        credit["organization_id"],
        credit["amount_usd"],
        credit["remaining_usd"] or "-",
        "never" if ends is None else datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%d %H:%M"),
        credit["reason"] or "",
    )


async def _grant(fields: Json) -> Json:
    from gateway.cli_client import find_server

    client = find_server(load_settings(), admin=True)
    if client is not None:
        return client.post("/v1/billing/credits", fields).body

    async def give(billing: Any, operator: Any) -> Json:
        from gateway.billing.forms import CreditForm
        from gateway.keys.forms import parse

        made: Json = await billing.give_credit(operator, parse(CreditForm, fields))
        return made

    return await _offline(give)


async def _list(organization: str | None) -> list[Json]:
    from gateway.cli_client import find_server

    client = find_server(load_settings(), admin=True)
    if client is not None:
        asked = {} if organization is None else {"organization": organization}
        return client.every("/v1/billing/credits", **asked)

    async def every(billing: Any, operator: Any) -> list[Json]:
        from gateway.keys.store import PageQuery

        found: list[Json] = []
        more = True
        while more:
            after = found[-1]["id"] if found else None
            page = await billing.credits(operator, PageQuery(100, after), organization)
            found += page.data
            more = page.has_more
        return found

    return await _offline(every)


async def _offline(work: Callable[[Any, Any], Awaitable[T]]) -> T:
    from gateway.cli_offline import offline_billing
    from gateway.errors import ApiError
    from gateway.keys.service import operator_principal

    try:
        async with offline_billing(load_settings()) as billing:
            return await work(billing, operator_principal())
    except ApiError as error:
        raise CommandError(error.message) from None
