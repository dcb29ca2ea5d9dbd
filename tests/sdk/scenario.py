"""Every method of one openai-python version against a real server: run by that version's own interpreter.

Reads its orders as JSON on stdin (`matrix.orders`), writes one JSON line per row of the table on stdout. Needs nothing
but the standard library and openai.
"""

import json
import sys
import time
import traceback
from typing import Any

from tests.sdk import rows_errors, rows_others, rows_videos
from tests.sdk.rows import ROWS, Scenario

MODULES = [each.__name__ for each in (rows_videos, rows_others, rows_errors)]  # the order of their rows


def exists(client: Any, path: str) -> bool:
    """Whether this version of the SDK has the method."""
    for name in path.split("."):
        client = getattr(client, name, None)
    return client is not None


def main() -> None:
    """Run every row that this version can."""
    scenario = Scenario(json.load(sys.stdin))
    only = scenario.orders["only"]
    for name, needs, run in sorted(ROWS, key=lambda row: MODULES.index(row[2].__module__)):
        if only and not any(each in name for each in only):
            continue
        scenario.upstream, scenario.files = [], []
        started = time.monotonic()
        state, detail = "ok", ""
        if not exists(scenario.client, needs):
            state = "absent"
        else:
            try:
                run(scenario)
            except Exception as error:
                state, detail = "fail", f"{type(error).__name__}: {error}"
                traceback.print_exc()
        line = {
            "row": name,
            "state": state,
            "detail": detail,
            "seconds": round(time.monotonic() - started, 2),
            "upstream": scenario.upstream,
            "files": scenario.files,
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
