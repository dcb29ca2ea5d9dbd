"""Every kind of bad input gets its own clear answer, and leaves nothing behind: no row, no file, no call upstream."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, func, select

from gateway.clock import Clock
from gateway.db import Database
from gateway.db_open import open_database
from gateway.schema import METADATA
from gateway.settings import Settings
from providers.testing import FakeUpstream
from tests.e2e.bad_bodies import BODIES
from tests.e2e.bad_places import PLACES, RECORDS
from tests.e2e.bad_requests import FIELDS, INPUTS, LIMITS, Bad
from tests.postgres import create_database
from tests.server import Server

GROUPS = {"fields": FIELDS, "inputs": INPUTS, "bodies": BODIES, "places": PLACES, "records": RECORDS}


@dataclass(frozen=True)
class Target:
    """A server, its upstream, its database and a folder for whatever it may write outside of its data."""

    server: Server
    upstream: FakeUpstream
    database_url: str
    temporary: Path

    def files(self) -> set[Path]:
        """Every file that could be left over; SQLite's own come and go."""
        data = self.server.data_dir / "data"
        found = {path for folder in (data, self.temporary) for path in folder.rglob("*") if path.is_file()}
        return {path for path in found if not path.name.startswith("onereel.db")}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder, temporary = tmp_path_factory.mktemp("bad"), tmp_path_factory.mktemp("temporary")
    url = f"sqlite:///{folder / 'data' / 'onereel.db'}"
    if request.param == "postgresql":
        url = create_database(request.getfixturevalue("postgres_server"), "bad_input")
    env = {**LIMITS, "ONEREEL_DATABASE_URL": url, "TMPDIR": str(temporary)}
    with FakeUpstream() as upstream, Server(upstream=upstream, data_dir=folder, env=env) as server:
        yield Target(server, upstream, url, temporary)


WRITTEN_BESIDE = frozenset({"archive_mark", "processes"})
"""Tables that the server writes by itself, whatever is asked."""


def _rows(conn: Connection) -> dict[str, int]:
    tables = [
        table for metadata in METADATA for table in metadata.sorted_tables if table.name not in WRITTEN_BESIDE
    ]
    return {
        table.name: conn.execute(select(func.count()).select_from(table)).scalar_one() for table in tables
    }


def _judge(case: Bad, answer: httpx.Response) -> str | None:
    """What is wrong with an answer, if anything."""
    try:
        error: dict[str, Any] = answer.json()["error"]
    except (ValueError, KeyError):
        return f"HTTP {answer.status_code} without an error object: {answer.text[:200]}"
    if set(error) != {"message", "type", "param", "code"} or not answer.headers.get("x-request-id"):
        return f"not OpenAI's envelope: {error}"
    if answer.headers.get("x-should-retry") != "false":
        return "SDKs would send it again"
    expected = (case.status, case.code, case.param)
    found = (answer.status_code, error["code"], error["param"])
    if found != expected:
        return f"expected {expected}, got {found}: {error['message']}"
    return None if case.word in error["message"] else f"no '{case.word}' in: {error['message']}"


async def _problems(target: Target, db: Database, cases: Sequence[Bad]) -> list[str]:
    found = []
    headers = {"Authorization": f"Bearer {target.server.admin_key}"}
    rows, files = await db.read(_rows), target.files()
    async with httpx.AsyncClient(base_url=target.server.base_url, headers=headers, timeout=30) as client:
        for case in cases:
            problem = _judge(case, await client.request(case.method, case.path, **case.request()))
            if problem:
                found.append(f"{case.name}: {problem}")
            if (left := await db.read(_rows)) != rows:
                found.append(f"{case.name}: left rows {dict(left.items() - rows.items())}")
                rows = left
            if kept := target.files() - files:
                found.append(f"{case.name}: left {sorted(map(str, kept))}")
                files |= kept
    return found


@pytest.mark.parametrize("group", GROUPS)
async def test_refused_clearly_and_nothing_left(target: Target, group: str, clock: Clock) -> None:
    db = open_database(Settings(database_url=target.database_url, data_dir=target.temporary), clock)
    try:
        assert await _problems(target, db, GROUPS[group]) == []
    finally:
        await db.close()
    assert target.upstream.requests("POST") == []


def test_names_are_unique() -> None:
    names = [case.name for cases in GROUPS.values() for case in cases]
    assert len(names) == len(set(names))
