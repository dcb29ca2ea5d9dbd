"""`onereel models`."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli_terminal import CommandError, listing, load_settings, say, table

if TYPE_CHECKING:
    from providers.catalog_files import CatalogFile, CatalogModel
    from providers.presets import Preset

_HEADERS = ("MODEL", "UPSTREAM", "SECONDS", "SIZES", "PRICE", "STATUS", "KNOWN BY", "LICENCE", "ALIASES")
_LOCAL_HEADERS = ("MODEL", "SERVED", "WEIGHTS", "FAMILY", "OPERATIONS", "LICENCE", "LIMITS")
_CATALOG_HEADERS = ("MODEL", "STATUS", "OPERATIONS", "SECONDS", "SHAPES", "AUDIO", "COST", "KNOWN BY", "SET")


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print the API's own answer.")
@click.option("--catalog", is_flag=True, help="List every model onereel knows, switched on or not.")
@click.pass_context
def models(ctx: click.Context, *, as_json: bool, catalog: bool) -> None:
    """List the models this installation offers."""
    if ctx.invoked_subcommand is None:
        _show(as_json=as_json, catalog=catalog)


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the API's own answer.")
@click.option("--catalog", is_flag=True, help="List every model onereel knows, switched on or not.")
def list_models(*, as_json: bool, catalog: bool) -> None:
    """List the models this installation offers."""
    _show(as_json=as_json, catalog=catalog)


@models.command()
@click.argument("name")
@click.option(
    "--accept-licence", is_flag=True, help="You have read its licence, which limits what it may be used for."
)
@click.option("--check", is_flag=True, help="Pull nothing: compare what is there with its checksums.")
def pull(name: str, *, accept_licence: bool, check: bool) -> None:
    """Bring the weights of a local model from the Hugging Face hub (HF_TOKEN, HF_ENDPOINT)."""
    from gateway.cli_terminal import become_local
    from gateway.local_worker import models_options

    settings = load_settings()
    chosen = models_options(settings.local, settings.data_dir)
    chosen += ["--accept-licence"] if accept_licence else []
    chosen += ["--check"] if check else []
    become_local(settings, "local_backend.pull", [*chosen, name])


@models.command("local")
def local_models() -> None:
    """List the models that the bundled worker can serve, and whether their weights are here."""
    settings = load_settings()
    folder = settings.local.models_dir or settings.data_dir / "models"
    rows = [
        (
            preset.id,
            "served" if preset.id in settings.local.models else "-",
            _whereabouts(preset, folder),
            preset.weights.family,
            ",".join(sorted(preset.operations)),
            preset.licence or "-",
            preset.weights.commercial_limits or "-",
        )
        for preset in settings.local.presets.values()
    ]
    click.echo(listing(_LOCAL_HEADERS, rows))


def _whereabouts(preset: "Preset", folder: Path) -> str:
    if preset.weights.origin == "folder":
        return str(preset.weights.folder)
    if preset.weights.origin != "hub":
        return "built in"
    return "here" if (folder / preset.folder_name).is_dir() else f"pull from {preset.weights.repo}"


def _show(*, as_json: bool, catalog: bool) -> None:
    if catalog:
        _show_catalog(as_json=as_json)
        return
    from gateway.cli_client import need_server

    found = need_server(load_settings()).get("/v1/models").body["data"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(table(_HEADERS, [_row(model) for model in found]))


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    capabilities = model["capabilities"]
    return (
        model["id"],
        ",".join(dict.fromkeys(price["upstream"] for price in model["prices"])),
        ",".join(capabilities["seconds"]) or "-",
        ",".join(capabilities["sizes"]) or "-",
        _price((row["unit"], row["usd"]) for row in model["prices"]),
        _status(model["status"], model["shutdown_date"], model["replacement"]),
        model["confidence"] or "operator",
        model["licence"] or "-",
        ",".join(model["aliases"]) or "-",
    )


def _show_catalog(*, as_json: bool) -> None:
    from providers.catalog_files import CatalogError, all_catalogs

    try:
        catalogs = all_catalogs()
    except CatalogError as error:
        raise CommandError(str(error)) from None
    if as_json:
        click.echo(json.dumps([file.model_dump(mode="json") for file in catalogs.values()], indent=2))
        return
    click.echo(listing(_CATALOG_HEADERS, list(_catalog_rows(catalogs))))
    for file in catalogs.values():
        if not file.models:
            say(f"{file.title}: its models are not listed here, name them in onereel.toml ({_switch(file)}).")


def _catalog_rows(catalogs: Mapping[str, "CatalogFile"]) -> Iterator[tuple[str, ...]]:
    for file in catalogs.values():
        switch = _switch(file)
        for model in file.models:
            yield _catalog_row(model, switch)


def _switch(file: "CatalogFile") -> str:
    """Name the environment variables that switch a provider on: "A or B+C"."""
    return " or ".join("+".join(names) for names in file.env)


def _catalog_row(model: "CatalogModel", switch: str) -> tuple[str, ...]:
    shapes = model.resolutions or model.sizes
    return (
        model.id,
        _status(model.status, model.shutdown_date, model.replacement),
        ",".join(sorted(model.operations)),
        _range(model.seconds),
        ",".join(shapes) or "-",
        model.audio or "?",
        _price((f"{row.currency} {row.unit}", f"{row.amount:f}") for row in model.upstream_costs),
        model.confidence,
        switch,
    )


def _status(status: str, shutdown: str | None, replacement: str | None) -> str:
    """Write "live", "retiring 2026-12-10", "retired 2026-09-24 -> xai/grok-imagine-video"."""
    instead = f"-> {replacement}" if replacement and (shutdown or status == "retired") else None
    return " ".join(filter(None, (status, shutdown, instead)))


def _range(seconds: Sequence[Decimal]) -> str:
    """Write the lengths; whole seconds without a gap as "3-15"."""
    lengths = sorted(seconds)
    if len(lengths) > 2 and [each - lengths[0] for each in lengths] == list(range(len(lengths))):
        return f"{lengths[0]:f}-{lengths[-1]:f}"
    return ",".join(f"{each:f}" for each in lengths) or "-"


def _price(rows: Iterable[tuple[str, str | None]]) -> str:
    """From the cheapest to the dearest row of each unit: "0.08-0.10/output_second"."""
    known: dict[str, list[Decimal]] = {}
    for unit, amount in rows:
        if amount is not None:
            known.setdefault(unit, []).append(Decimal(amount))
    texts = [
        f"{'-'.join(f'{each:f}' for each in sorted({min(a), max(a)}))}/{unit}" for unit, a in known.items()
    ]
    return ",".join(texts) or "not set"
