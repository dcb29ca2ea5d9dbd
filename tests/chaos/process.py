"""One onereel process that expects to be killed: the real application, with its milestones written down.

Run by the driver as `python -m tests.chaos.process --port N`; the environment carries settings (ONEREEL_*) and
CHAOS_LOG (milestones), CHAOS_SKEW (seconds added to the wall clock), CHAOS_HOLD (longest pause at a milestone),
CHAOS_FAULT (a planted fault that the checker has to catch) and CHAOS_AIM (the statement after which to die: see
tests.chaos.aim).
"""

import argparse
import asyncio
import os
import random
import time
from typing import Any

import uvicorn
from sqlalchemy import Engine, event

from gateway.app import create_app
from gateway.clock import Clock
from gateway.jobs import outbox
from gateway.settings import Settings
from gateway.webhooks import sending
from tests.chaos import aim, faults

HELD = {
    "attempt.committed": 2.0,
    "submit.answered": 1.0,
    "store.begin": 3.0,
    "store.put": 2.0,
    "settle.begin": 2.0,
    "settle.done": 0.2,
}


class Milestones:
    """Appends `pid name video` lines, which survive the process, and lingers where a crash is worth most."""

    def __init__(self, path: str, hold: float) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._hold = hold

    async def __call__(self, name: str, video_id: str) -> None:
        os.write(self._file, f"{os.getpid()} {name} {video_id}\n".encode())
        if pause := self._hold * HELD.get(name, 0.0):
            await asyncio.sleep(random.uniform(0, pause))


def pause_inside_settle() -> None:
    """Stretch the settle transaction, so that some kills fall between its statements."""

    @event.listens_for(Engine, "after_cursor_execute")
    def _after(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith(("INSERT INTO ledger_lines", "DELETE FROM jobs")) and random.random() < 0.2:
            time.sleep(random.uniform(0, 0.004))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    serve(parser.parse_args().port)


def prepare() -> dict[str, Any]:
    """What the environment says; the arguments of `create_app` that carry it."""
    skew = float(os.environ.get("CHAOS_SKEW", "0"))
    outbox.__dict__["_LEASE_SECONDS"] = 6.0
    outbox.__dict__["TIMEOUT_SECONDS"] = sending.__dict__["TIMEOUT_SECONDS"] = 3.0
    outbox.__dict__["BACKOFF_SECONDS"] = (0.5,) * 60
    pause_inside_settle()
    faults.plant(os.environ.get("CHAOS_FAULT", ""))
    aim.take_aim(os.environ.get("CHAOS_AIM", ""), os.environ.get("CHAOS_AIM_LOG", ""))
    return {
        "clock": Clock(wall=lambda: time.time() + skew),
        "milestone": Milestones(os.environ["CHAOS_LOG"], float(os.environ.get("CHAOS_HOLD", "0.15"))),
    }


def serve(port: int) -> None:
    """Serve as the environment says, until killed."""
    app = create_app(Settings(), **prepare())
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_config=None, lifespan="on")


if __name__ == "__main__":
    main()
