"""`make sdk`: every method of six official SDK versions, unmodified, against a real server. Prints the table."""

import argparse
import os
import sys
import time
from collections.abc import Sequence

from tests.sdk.install import SDKS, NoNode, Sdk, command_of
from tests.sdk.matrix import Column, bench, run
from tests.sdk.vendor import SPEC

ROW_WIDTH = 40


def main() -> int:
    """Run what was asked for; 1 if any cell failed."""
    options = _options()
    wanted = [sdk for sdk in SDKS if not options.sdk or sdk.name in options.sdk]
    commands, missing = _install(wanted)
    started = time.monotonic()
    with bench(list(commands)) as shared:
        columns = run(shared, commands, options.row)
        if any(cell.state == "FAIL" for column in columns for cell in column.cells.values()):
            print(f"--- the end of the server's log\n{shared.server.log_tail()}", file=sys.stderr)
    show(columns)
    print(f"{time.monotonic() - started:.0f} s after installation")
    for reason in missing:
        print(f"SKIPPED: {reason}")
    if not SPEC.exists():
        print(
            "SKIPPED: answers against the vendor's schema (no openai-videos.openapi.json beside this checkout)"
        )
    failed = sum(cell.state == "FAIL" for column in columns for cell in column.cells.values())
    passed = sum(cell.state == "ok" for column in columns for cell in column.cells.values())
    failed += len(missing) * bool(os.environ.get("CI"))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sdk.run", description=__doc__)
    names = [sdk.name for sdk in SDKS]
    parser.add_argument("--sdk", action="append", choices=names, help="only this version (repeatable)")
    parser.add_argument("--row", action="append", default=[], help="only rows whose name contains this")
    return parser.parse_args()


def _install(wanted: Sequence[Sdk]) -> tuple[dict[Sdk, tuple[str, ...]], list[str]]:
    commands, missing = {}, []
    for sdk in wanted:
        try:
            commands[sdk] = command_of(sdk)
        except NoNode as error:
            missing.append(f"{sdk.name}: {error}")
    return commands, missing


def show(columns: Sequence[Column]) -> None:
    """Print the table, then what went wrong."""
    rows = list(dict.fromkeys(row for column in columns for row in column.cells))
    widths = [len(column.sdk.name) + 2 for column in columns]
    heads = "".join(column.sdk.name.rjust(width) for column, width in zip(columns, widths, strict=True))
    print(f"\n{'':{ROW_WIDTH}}{heads}")
    for row in rows:
        states = (column.cells[row].state if row in column.cells else "" for column in columns)
        line = "".join(state.rjust(width) for state, width in zip(states, widths, strict=True))
        print(f"{row:{ROW_WIDTH}}{line}")
    print("'-': this version of the SDK does not have the method\n")
    for column in columns:
        bad = {row: cell for row, cell in column.cells.items() if cell.state == "FAIL"}
        for row, cell in bad.items():
            print(f"FAIL {column.sdk.name}  {row}: {cell.detail}")
        if bad and column.log:
            print(f"--- {column.sdk.name}\n{column.log[-4000:]}", file=sys.stderr)
        elif column.answers:
            print(f"{column.sdk.name}: {column.answers} answers fit their schema")


if __name__ == "__main__":
    sys.exit(main())
