"""Finding videos: the same answers on both databases, and never all prompts taken apart."""

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, event, insert, update

from gateway.clock import Clock
from gateway.db import Database
from gateway.db_open import open_database
from gateway.settings import Settings
from gateway.videos import search as module
from gateway.videos.search import Wanted, search
from gateway.videos.tables import videos
from gateway.words import says, words_of
from tests.bench.history import fill, plan_of, reads_whole
from tests.conftest import make_tables
from tests.postgres import create_database, execute

PROJECT = "proj_01920e5a7b"
PROMPTS = (
    "A cat on the mat",
    "a CAT, on-the-roof; at night",
    "concatenate everything",
    "snake_case and mp4, 3.5 seconds",
    "caf\N{LATIN SMALL LETTER E WITH ACUTE} in Paris, 35mm film",
    None,
    "it's \N{LEFT DOUBLE QUOTATION MARK}quoted\N{RIGHT DOUBLE QUOTATION MARK} & (odd) | signs:* !",
    "visit https://example.com/films?q=1e5abc today",
    "\N{CAT FACE} \N{CJK UNIFIED IDEOGRAPH-732B}\N{CJK UNIFIED IDEOGRAPH-5728}",
)
CASES = {
    "cat": [0, 1],
    "CAT mat": [0],
    "ca": [0, 1, 3, 4],
    "cat zebra": [],
    "on the": [0, 1],
    "case": [3],
    "5 seconds": [3],
    "caf\N{LATIN SMALL LETTER E WITH ACUTE}": [4],
    "35m": [4],
    "quoted": [6],
    "films example": [7],
    "1e5": [7],
    "\N{CJK UNIFIED IDEOGRAPH-732B}": [8],
    "proj 01920e5a7b": [],
    "'|&:*!() --": [],
    "": [0, 1, 2, 3, 4, 5, 6, 7, 8],
}


def row(n: int, prompt: str | None, **values: Any) -> dict[str, Any]:
    return {
        "id": f"video_{n:032x}",
        "organization_id": "org_1",
        "project_id": PROJECT,
        "key_id": "key_1",
        "operation": "generate",
        "model": "acme/fast",
        "prompt": prompt,
        "seconds": "4",
        "size": "1280x720",
        "request": {},
        "state": "completed",
        "created_at": 1_000_000 + n * 1000,
        "deadline": 0,
        "cost_status": "captured",
        **values,
    }


def write(rows: list[dict[str, Any]], conn: Connection) -> None:
    conn.execute(insert(videos), rows)


async def found(db: Database, wanted: Wanted) -> list[int]:
    data, _ = await db.read(lambda conn: search(conn, PROJECT, wanted))
    return [int(video["id"][6:], 16) for video in data]


@pytest.fixture(params=[400, 2])
def newest(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """All among the newest, and most beyond."""
    monkeypatch.setattr(module, "_NEWEST", request.param)
    return int(request.param)


@pytest.mark.usefixtures("newest")
async def test_words(db: Database) -> None:
    rows = [row(n, prompt) for n, prompt in enumerate(PROMPTS)]
    others = [row(100, "a cat", project_id="proj_2"), row(101, "a cat", deleted_at=1)]
    await db.write(partial(write, [{"deleted_at": None, **each} for each in rows + others]))
    for words, expected in CASES.items():
        assert await found(db, Wanted(words=words)) == expected[::-1], words


@pytest.mark.usefixtures("newest")
async def test_filters_and_pages(db: Database) -> None:
    rows = [
        row(
            n,
            "a cat" if n % 2 else "a dog",
            model="acme/rare" if n == 3 else "acme/fast",
            key_id=f"key_{n % 3}",
            state=("completed", "failed", "running", "storing", "queued")[n % 5],
            completed_at=2_000_000 if n % 5 < 2 else None,
            error_code="expired" if n % 5 == 1 else None,
        )
        for n in range(10)
    ]
    await db.write(partial(write, rows))
    expected = {
        Wanted(status="failed"): [6, 1],
        Wanted(status="in_progress"): [8, 7, 3, 2],
        Wanted(status="queued", words="cat"): [9],
        Wanted(model="acme/rare"): [3],
        Wanted(model="acme/rare", words="dog"): [],
        Wanted(key_id="key_1", words="cat"): [7, 1],
        Wanted(since=1007): [9, 8, 7],
        Wanted(until=1002): [1, 0],
        Wanted(since=1004, until=1007, words="dog"): [6, 4],
        Wanted(words="cat", after=f"video_{5:032x}"): [3, 1],
        Wanted(words="cat", limit=2): [9, 7],
    }
    for wanted, ids in expected.items():
        assert await found(db, wanted) == ids, wanted
    assert (await db.read(lambda conn: search(conn, PROJECT, Wanted(words="cat", limit=4))))[1]
    assert not (await db.read(lambda conn: search(conn, PROJECT, Wanted(words="cat", limit=5))))[1]
    await db.write(lambda conn: conn.execute(update(videos).values(prompt=None)))
    assert await found(db, Wanted(words="cat")) == []


@given(st.text(max_size=80), st.text(max_size=20))
def test_words_are_letters_and_digits(prompt: str, asked: str) -> None:
    words = words_of(asked)
    assert all(word.isalnum() for word in words)
    assert says(prompt, " ".join(words_of(prompt))) == 1


async def test_nothing_is_read_whole_and_no_prompt_taken_apart_beyond_the_newest(
    postgres_server: str,
) -> None:
    url = create_database(postgres_server, "found_words")
    await make_tables(url)
    db = open_database(Settings(database_url=url), Clock())
    seen: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "WITH")) and "videos" in statement:
            seen.append((statement, parameters))

    try:
        await fill(db, 20_000, 1000)
        execute(url, "VACUUM ANALYZE")
        event.listen(Engine, "before_cursor_execute", note)
        for wanted in (
            Wanted(),
            Wanted(words="zebra"),
            Wanted(words="cat", status="failed"),
            Wanted(words="number 1"),
            Wanted(status="failed"),
            Wanted(status="queued"),
            Wanted(status="in_progress"),
            Wanted(model="acme/none"),
            Wanted(key_id="key_none"),
            Wanted(key_id="key_none", words="cat", until=1),
        ):
            await db.read(partial(search, project_id="proj_default", wanted=wanted))
        event.remove(Engine, "before_cursor_execute", note)
        plans = [
            await db.read(partial(plan_of, statement=statement, parameters=parameters))
            for statement, parameters in seen
        ]
        assert any("ix_videos_words" in plan for plan in plans)
        assert any("ix_videos_failed" in plan for plan in plans)
        for plan in plans:
            assert not reads_whole(plan), plan
            assert not any("Filter" in line and "to_tsvector" in line for line in plan.splitlines()), plan
    finally:
        await db.close()
