"""`onereel models`."""

import json
from decimal import Decimal
from typing import Any

import click

from gateway.cli_terminal import load_settings, table


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print the API's own answer.")
@click.pass_context
def models(ctx: click.Context, *, as_json: bool) -> None:
    """List the models this installation offers."""
    if ctx.invoked_subcommand is None:
        _show(as_json=as_json)


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the API's own answer.")
def list_models(*, as_json: bool) -> None:
    """List the models this installation offers."""
    _show(as_json=as_json)


def _show(*, as_json: bool) -> None:
    from gateway.cli_client import need_server

    found = need_server(load_settings()).get("/v1/models").body["data"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    headers = ("MODEL", "UPSTREAM", "SECONDS", "SIZES", "PRICE", "ALIASES")
    click.echo(table(headers, [_row(model) for model in found]))


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    capabilities = model["capabilities"]
    return (
        model["id"],
        ",".join(dict.fromkeys(price["upstream"] for price in model["prices"])),
        ",".join(capabilities["seconds"]),
        ",".join(capabilities["sizes"]),
        _price(model["prices"]),
        ",".join(model["aliases"]) or "-",
    )


def _price(rows: list[dict[str, Any]]) -> str:
    """From the cheapest to the dearest row of each unit: "0.08-0.10/output_second"."""
    known: dict[str, list[Decimal]] = {}
    for row in rows:
        if row["usd"] is not None:
            known.setdefault(row["unit"], []).append(Decimal(row["usd"]))
    texts = [
        f"{'-'.join(f'{each:f}' for each in sorted({min(a), max(a)}))}/{unit}" for unit, a in known.items()
    ]
    return ",".join(texts) or "not set"
