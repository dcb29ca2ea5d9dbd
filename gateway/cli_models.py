"""`onereel models`."""

import json
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
    headers = ("MODEL", "UPSTREAM", "SECONDS", "SIZES", "USD/SECOND", "ALIASES")
    click.echo(table(headers, [_row(model) for model in found]))


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    capabilities = model["capabilities"]
    prices = [price["usd"] if price["usd"] is not None else "not set" for price in model["prices"]]
    return (
        model["id"],
        ",".join(price["upstream"] for price in model["prices"]),
        ",".join(capabilities["seconds"]),
        ",".join(capabilities["sizes"]),
        ",".join(dict.fromkeys(prices)),
        ",".join(model["aliases"]) or "-",
    )
