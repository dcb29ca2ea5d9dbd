"""`onereel secrets`: what is stored encrypted."""

import click

from gateway.cli_terminal import CommandError, load_settings, run


@click.group()
def secrets() -> None:
    """Look after what is stored encrypted."""


@secrets.command()
def rotate() -> None:
    """Encrypt every stored secret under the newest key of ONEREEL_SECURITY__ENCRYPTION_KEYS; servers may run."""
    from gateway.clock import Clock
    from gateway.crypto import open_secret_box
    from gateway.db_open import open_database
    from gateway.migrate import ensure_schema
    from gateway.secret_rotation import Rotation, rotate_secrets

    settings = load_settings()

    async def work() -> Rotation:
        await ensure_schema(settings)
        db = open_database(settings, Clock())
        try:
            return await rotate_secrets(db, open_secret_box(settings))
        finally:
            await db.close()

    found = run(work())
    click.echo(f"{found.rotated} re-encrypted, {found.newest} were under the newest key already.")
    if found.unreadable:
        raise CommandError(
            f"{found.unreadable} can be read by no configured key: keep every key, add the missing one, run it again."
        )
    if found.rotated:
        click.echo("Run it again: only when it says 0 re-encrypted may the older keys go.")
    else:
        click.echo("No secret needs an older key.")
