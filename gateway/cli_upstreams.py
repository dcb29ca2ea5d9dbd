"""`onereel upstreams`: through the running server, or on the database itself when no server runs."""

import json
import sys
from typing import Any

import click

from gateway.cli_terminal import CommandError, load_settings, paint, say, table

Json = dict[str, Any]


class Setting(click.ParamType[Any]):
    """name=value; the value is JSON where it reads as such, else text."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text."""
        name, separator, text = str(value).partition("=")
        if not separator or not name:
            self.fail(f"'{value}' is not name=value", param, ctx)
        try:
            return name, json.loads(text)
        except ValueError:
            return name, text


@click.group()
def upstreams() -> None:
    """Add, check, pause and remove upstreams: your accounts at providers."""


@upstreams.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the API's own objects.")
def list_upstreams(*, as_json: bool) -> None:
    """List every upstream: of onereel.toml, of the environment, and added here."""
    found = _call("GET", "/v1/upstreams")["data"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        say("There is no upstream yet: `onereel upstreams add`, or see the README.")
    headers = ("NAME", "TYPE", "STATUS", "BASE URL", "CREDENTIAL", "PRIORITY", "WEIGHT", "AT ONCE", "MODELS")
    click.echo(table(headers, [_row(each) for each in found]))


@upstreams.command()
@click.argument("name")
@click.option("--type", "kind", default="openai_compatible", show_default=True, help="The provider.")
@click.option("--base-url", help="Its address; default: the catalogue's.")
@click.option(
    "--model", "models", multiple=True, help="A model of the catalogue, once per model; default: all of them."
)
@click.option("--models-file", type=click.File(), help="Models as a JSON list, as in [[upstreams.models]].")
@click.option("--max-concurrent", type=click.IntRange(1), help="Videos at once.")
@click.option("--requests-per-second", type=float, help="Of creates and polls together.")
@click.option("--polls-per-second", type=float, help="A budget of the polls alone.")
@click.option("--priority", type=click.IntRange(0), help="Lower comes first.")
@click.option("--weight", type=click.IntRange(0), help="Its share among the same priority.")
@click.option("--option", "options", type=Setting(), multiple=True, help="Of the adapter, e.g. region=eu.")
@click.option("--no-key", is_flag=True, help="It needs no credential.")
def add(  # noqa: PLR0917  (one option each)
    name: str,
    kind: str,
    base_url: str | None,
    models: tuple[str, ...],
    models_file: Any,
    max_concurrent: int | None,
    requests_per_second: float | None,
    polls_per_second: float | None,
    priority: int | None,
    weight: int | None,
    options: tuple[tuple[str, Any], ...],
    *,
    no_key: bool,
) -> None:
    """Add an upstream. Its key is read from stdin, or asked for; it is kept encrypted."""
    fields = {
        "name": name,
        "type": kind,
        "base_url": base_url,
        "models": json.load(models_file) if models_file else list(models) or None,
        "max_concurrent": max_concurrent,
        "requests_per_second": requests_per_second,
        "polls_per_second": polls_per_second,
        "priority": priority,
        "weight": weight,
        "options": dict(options) or None,
        "api_key": None if no_key else _key(),
    }
    said = {field: value for field, value in fields.items() if value is not None}
    made = _call("POST", "/v1/upstreams", said)
    click.echo(f"{made['name']} offers {', '.join(made['models'])}.")


@upstreams.command()
@click.argument("name")
@click.option("--reason", default="", help="What others shall know of it.")
def pause(name: str, reason: str) -> None:
    """Send nothing new there. What has begun is ended."""
    _call("POST", f"/v1/upstreams/{name}/pause", {"reason": reason})
    click.echo(f"{name} is paused.")


@upstreams.command()
@click.argument("name")
def resume(name: str) -> None:
    """Send videos there again, whatever had stopped that."""
    _call("POST", f"/v1/upstreams/{name}/resume", {})
    click.echo(f"{name} takes videos.")


@upstreams.command()
@click.argument("name")
def rotate(name: str) -> None:
    """Use a new key, read from stdin or asked for. Videos that run are fetched with the old one."""
    made = _call("POST", f"/v1/upstreams/{name}/rotate", {"api_key": _key()})
    click.echo(f"{name} uses version {made['credential']['version']} of its key.")


@upstreams.command()
@click.argument("name")
def remove(name: str) -> None:
    """Take an upstream out. The videos it has begun are still fetched."""
    gone = _call("DELETE", f"/v1/upstreams/{name}")
    click.echo(f"{name} is removed; {gone['live_videos']} of its videos still run.")


@upstreams.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the API's own objects.")
def check(name: str | None, *, as_json: bool) -> None:
    """Ask each upstream (or one) something that costs nothing: proves address and credential."""
    path = f"/v1/upstreams/{name}/check" if name else "/v1/upstreams/check"
    found = _call("POST", path, {})["data"]
    if not found:
        raise CommandError("No [[upstreams]] are configured, and none was added.")
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        rows = [
            (each["name"], each["type"], _verdict(each), f"{each['latency_ms']} ms", each["detail"])
            for each in found
        ]
        click.echo(table(("NAME", "TYPE", "VERDICT", "LATENCY", "DETAIL"), rows))
    if not all(each["usable"] for each in found):
        raise CommandError("Not every upstream can be used.")


def _call(method: str, path: str, body: Json | None = None) -> Json:
    from gateway.cli_upstreams_access import call

    return call(load_settings(), method, path, body)


def _key() -> str:
    """Never from the command line: other users of the machine read that."""
    if sys.stdin.isatty():
        return str(click.prompt("Key", hide_input=True, err=True))
    key = sys.stdin.read().strip()
    if not key:
        raise CommandError("No key came on stdin. Pipe it in, or say --no-key.")
    return key


def _verdict(checked: Json) -> str:
    return paint(checked["verdict"], "green" if checked["usable"] else "red")


def _row(each: Json) -> tuple[str, ...]:
    return (
        each["name"],
        each["type"],
        _status(each),
        each["base_url"],
        _credential(each["credential"]),
        str(each["priority"]),
        "-" if each["weight"] is None else str(each["weight"]),
        str(each["max_concurrent"] or "-"),
        ",".join(each["models"]) or "-",
    )


def _status(each: Json) -> str:
    if each["pause"] is not None:
        return f"paused ({each['pause']['reason']})"
    return "active" if each["breaker"] == "closed" else f"breaker {each['breaker']}"


def _credential(credential: Json) -> str:
    if credential["version"] is not None:
        return f"version {credential['version']}"
    if credential["set"]:
        return "set"
    return f"missing ({credential['env']})" if credential["env"] else "none"
