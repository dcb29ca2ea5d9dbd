"""The command line. Data goes to stdout, messages to stderr; exit codes: 0 done, 1 failed, 2 wrong usage."""

import importlib
from pathlib import Path

import click

from gateway.cli_terminal import CommandError, load_settings, run

_GROUPS = {
    "billing": ("gateway.cli_billing_group", "Compare the books with Stripe and with the upstreams."),
    "credits": ("gateway.cli_credits", "Grant and list credit."),
    "keys": ("gateway.cli_keys", "Make, list, limit and revoke API keys."),
    "models": ("gateway.cli_models", "List the models this installation offers."),
    "secrets": ("gateway.cli_secrets", "Look after what is stored encrypted."),
    "upstreams": (
        "gateway.cli_upstreams",
        "Add, check, pause and remove upstreams: your accounts at providers.",
    ),
}


class _LateGroup(click.Group):
    """Loads a group of commands when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every command."""
        return sorted({*super().list_commands(ctx), *_GROUPS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command by its name."""
        if cmd_name not in _GROUPS:
            return super().get_command(ctx, cmd_name)
        command = getattr(importlib.import_module(_GROUPS[cmd_name][0]), cmd_name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without loading any."""
        rows = []
        for name in self.list_commands(ctx):
            own = super().get_command(ctx, name)
            rows.append((name, own.get_short_help_str(100) if own else _GROUPS[name][1]))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="onereel")
def main() -> None:
    """One base URL for every video model.

    Settings come from ONEREEL_* variables and onereel.toml (ONEREEL_CONFIG names another file).
    """


@main.command()
@click.option("--host", help="Address to listen on (ONEREEL_HOST, 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port, 0 for any free one (ONEREEL_PORT, 8080).")
@click.option("--roles", help="What it does: api, jobs or both (ONEREEL_ROLES, api,jobs).")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Processes behind the port; needs PostgreSQL (ONEREEL_WORKERS, 1).",
)
def serve(host: str | None, port: int | None, roles: str | None, workers: int | None) -> None:
    """Run the server: API, jobs and, where installed, the local worker."""
    chosen = [each.strip() for each in roles.split(",")] if roles is not None else None
    settings = load_settings(host=host, port=port, roles=chosen, workers=workers)
    from gateway.cli_serve import serve as run_server

    run_server(settings)


@main.command()
@click.argument("prompt")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: the id, .mp4."
)
@click.option("--model", help="Default: the installation's default model.")
@click.option("--seconds", help="Length of the video.")
@click.option("--size", help="WIDTHxHEIGHT in pixels.")
@click.option("--image", help="First frame: a file, or an https URL.")
@click.option("--seed", type=int, help="Same seed and model, same video.")
def generate(  # noqa: PLR0917  (one option each)
    prompt: str,
    output: Path | None,
    model: str | None,
    seconds: str | None,
    size: str | None,
    image: str | None,
    seed: int | None,
) -> None:
    """Make a video from a prompt and print where it was saved."""
    from gateway.cli_client import need_server
    from gateway.cli_generate import make_video

    fields = {"prompt": prompt, "model": model, "seconds": seconds, "size": size, "seed": seed}
    chosen = {name: value for name, value in fields.items() if value is not None}
    click.echo(make_video(need_server(load_settings()), chosen, image, output))


@main.command(
    add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_extra_args": True}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def worker(arguments: tuple[str, ...]) -> None:
    """Run the bundled diffusion worker by itself, as [local] says; options (--help lists them) come over that."""
    from gateway.cli_terminal import become_local
    from gateway.local_worker import worker_options

    settings = load_settings()
    options = worker_options(settings.local, settings.data_dir)
    become_local(settings, "local_backend", [*options, *arguments])


@main.group()
def db() -> None:
    """Look after the database."""


@db.command()
def upgrade() -> None:
    """Bring the database to this release's schema. `serve` does it too."""
    from gateway.lock import DataLock
    from gateway.migrate import ensure_schema

    settings = load_settings()
    lock = DataLock(settings.data_dir)
    if not settings.resolved_database_url.startswith("postgresql") and not lock.acquire():
        raise CommandError(
            "A server uses this database; stop it first. It upgrades by itself when it starts."
        )
    try:
        click.echo(run(ensure_schema(settings)))
    finally:
        lock.release()


@db.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def backup(folder: Path) -> None:
    """Copy database, files and keys of an installation on SQLite into a new FOLDER; the server may run."""
    from gateway.backup import BackupError, back_up

    try:
        click.echo(
            f"{back_up(load_settings(), folder)} bytes in {folder}. It holds keys: keep it as safe as they are."
        )
    except BackupError as error:
        raise CommandError(str(error)) from None


@db.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def restore(folder: Path) -> None:
    """Put a backup into an empty data directory."""
    from gateway.backup import BackupError
    from gateway.backup import restore as put_back
    from gateway.lock import DataLock

    settings = load_settings()
    lock = DataLock(settings.data_dir)
    if not lock.acquire():
        raise CommandError("A server runs on this data directory: stop it, and name an empty one.")
    try:
        click.echo(
            f"{put_back(settings, folder)} files restored. Check them: onereel doctor; onereel ledger verify"
        )
    except BackupError as error:
        raise CommandError(str(error)) from None
    finally:
        lock.release()


@main.group()
def ledger() -> None:
    """Look after the books."""


@ledger.command()
def verify() -> None:
    """Check the books: entries, balances, holds, and what every video was charged."""
    from gateway.cli_offline import verify_ledger

    problems = run(verify_ledger(load_settings()))
    for problem in problems:
        click.echo(problem)
    if problems:
        raise CommandError(f"The ledger has {len(problems)} problems.")
    click.echo("The ledger is consistent.")


@main.command()
@click.argument("email")
def recover(email: str) -> None:
    """Print a link by which the person with this EMAIL chooses a new dashboard password, good once, within the hour."""
    from gateway.cli_recover import recovery_link

    click.echo(recovery_link(load_settings(), email))


@main.command()
def doctor() -> None:
    """Check this installation and say how to fix what is wrong."""
    from gateway.cli_doctor import examine

    if not examine():
        raise CommandError("Something needs fixing.")


if __name__ == "__main__":
    main()
