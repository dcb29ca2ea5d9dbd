"""`onereel keys`: through the running server, or on the database itself when no server runs."""

import json
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

import click

from gateway.cli_terminal import CommandError, load_settings, say, table

P = ParamSpec("P")
R = TypeVar("R")
Json = dict[str, Any]

_SECONDS_OF = {"m": 60, "h": 3600, "d": 86400, "w": 604800}


class Limit(click.ParamType[Any]):
    """A whole number from 1, or `none` for no limit."""

    name = "number|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text."""
        if value == "none":
            return value
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"'{value}' is neither a whole number from 1 nor 'none'", param, ctx)
        return int(value)


class Expiry(click.ParamType[Any]):
    """A time to come: 90m, 12h, 30d, 4w from now, an ISO date or time (UTC unless it says), or `none`."""

    name = "30d|date|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text as Unix seconds."""
        import time
        from datetime import UTC, datetime

        if value == "none":
            return value
        if value[:-1].isdecimal() and value[-1] in _SECONDS_OF:
            return int(time.time()) + int(value[:-1]) * _SECONDS_OF[value[-1]]
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"'{value}' is no time: write 30d, 2027-01-31 or none", param, ctx)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _options(
    *options: Callable[[Callable[P, R]], Callable[P, R]],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    def decorate(command: Callable[P, R]) -> Callable[P, R]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_PROJECT = click.option("--project", help="The project's id; needed only where there are several.")
_LIMITS = _options(
    click.option(
        "--scope", "scopes", multiple=True, help="What the key may do, once per scope, e.g. videos.read."
    ),
    click.option("--model", "models", multiple=True, help="A model it may use, once per model, or 'all'."),
    click.option("--requests-per-minute", type=Limit(), help="Creates a minute."),
    click.option("--concurrent-videos", type=Limit(), help="Videos that may run at once."),
    click.option("--expires", "expires_at", type=Expiry(), help="30d, 12h, 2027-01-31, or none."),
)


@click.group()
def keys() -> None:
    """Make, list, limit and revoke API keys."""


@keys.command()
@click.option("--name", default="cli", show_default=True, help="What the key is for.")
@_LIMITS
@_PROJECT
def create(name: str, project: str | None, **limits: Any) -> None:
    """Make a key. Its value is printed on stdout, this once."""
    from gateway.cli_keys_access import create_key

    fields = {field: value for field, value in _fields(limits).items() if value is not None}
    made = create_key(load_settings(), project, {"name": name, **fields})
    say(f"{made['id']}  {made['name']}  in {made['project_id']}: {', '.join(made['scopes'])}")
    click.echo(made["value"])


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the API's own objects.")
@_PROJECT
def list_keys(project: str | None, *, as_json: bool) -> None:
    """List keys, redacted, of one project or of all."""
    from gateway.cli_keys_access import all_keys

    found = all_keys(load_settings(), project)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    headers = ("ID", "NAME", "KEY", "PROJECT", "SCOPES", "MODELS", "PER MINUTE", "AT ONCE", "EXPIRES")
    click.echo(table(headers, [_row(key) for key in found]))


@keys.command()
@click.argument("key_id")
@click.option("--name", help="A new name.")
@_LIMITS
@_PROJECT
def limit(key_id: str, project: str | None, name: str | None, **limits: Any) -> None:
    """Change a key's limits; 'none' lifts one. Holds within a second."""
    from gateway.cli_keys_access import change_key

    changes = _fields(limits) | ({"name": name} if name is not None else {})
    if not changes:
        raise click.UsageError("Name at least one change, e.g. --requests-per-minute 60.")
    click.echo(
        table(("ID", "NAME", "KEY"), [_row(change_key(load_settings(), project, key_id, changes))[:3]])
    )


@keys.command()
@click.argument("key_id")
@_PROJECT
def revoke(key_id: str, project: str | None) -> None:
    """End a key for good. Holds within a second."""
    from gateway.cli_keys_access import revoke_key

    revoke_key(load_settings(), project, key_id)
    click.echo(f"{key_id} is revoked.")


def _fields(limits: Json) -> Json:
    """Turn options into the API's fields; only what was given, None where a limit is lifted."""
    fields: Json = {}
    if limits["scopes"]:
        fields["scopes"] = _split(limits["scopes"])
    if limits["models"]:
        models = _split(limits["models"])
        if "all" in models and models != ["all"]:
            raise CommandError("--model all stands alone.")
        fields["models"] = None if models == ["all"] else models
    for name in ("requests_per_minute", "concurrent_videos", "expires_at"):
        if limits[name] is not None:
            fields[name] = None if limits[name] == "none" else limits[name]
    return fields


def _split(values: Iterable[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _row(key: Json) -> tuple[str, ...]:
    from datetime import UTC, datetime

    expires = key["expires_at"]
    return (
        key["id"],
        key["name"],
        key["redacted_value"],
        key["project_id"],
        "operator" if "operator" in key["scopes"] else ",".join(key["scopes"]),  # which has every other
        "all" if key["models"] is None else ",".join(key["models"]),
        str(key["requests_per_minute"] or "-"),
        str(key["concurrent_videos"] or "-"),
        "-" if expires is None else f"{datetime.fromtimestamp(expires, UTC):%Y-%m-%d %H:%MZ}",
    )
