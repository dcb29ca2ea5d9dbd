"""Between a command and its terminal: settings in, failures, tables and colours out."""

import os
import sys
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from gateway.settings import Settings

T = TypeVar("T")


class CommandError(click.ClickException):
    """A command that failed (exit code 1; wrong usage is 2). The message says what to do."""

    exit_code = 1


def load_settings(**overrides: Any) -> "Settings":
    """Read ONEREEL_* and onereel.toml. CommandError names every setting that is wrong."""
    from tomllib import TOMLDecodeError

    from pydantic import ValidationError

    from gateway.settings import Settings

    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise CommandError("These settings are wrong:\n" + "\n".join(lines)) from None
    except TOMLDecodeError as error:
        path = os.environ.get("ONEREEL_CONFIG", "onereel.toml")
        raise CommandError(f"{path} is not valid TOML: {error}") from None


def become_local(settings: "Settings", module: str, arguments: Sequence[str]) -> NoReturn:
    """Go on as a module of the local backend, in the interpreter that has what it needs. CommandError without the extra."""
    from importlib.util import find_spec

    python = settings.local.python or sys.executable
    if settings.local.python is None and find_spec("torch") is None:
        raise CommandError("This needs the extra 'local': pip install 'onereel[local]'")
    os.execv(python, [python, "-m", module, *arguments])  # nosec B606 # noqa: S606  (no shell is wanted)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; refusals of our services become a CommandError."""
    import asyncio

    from sqlalchemy.exc import SQLAlchemyError

    from gateway.errors import ApiError

    try:
        return asyncio.run(work)
    except ApiError as error:
        raise CommandError(error.message) from None
    except (OSError, SQLAlchemyError) as error:
        raise CommandError(
            f"{type(error).__name__}: {error}\n`onereel doctor` looks for the cause."
        ) from None


def say(message: str) -> None:
    """Tell the person something, on stderr."""
    click.echo(message, err=True)


def paint(text: str, colour: str) -> str:
    """Colour text for stdout, unless it is no terminal or NO_COLOR is set."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return click.style(text, fg=colour)


def listing(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns on a terminal; into a pipe go tabs, which no cell contains."""
    if sys.stdout.isatty():
        return table(headers, rows)
    return "\n".join("\t".join(line) for line in [tuple(headers), *rows])


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns with spaces: readable for people, one row a line for tools."""
    lines = [tuple(headers), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
