"""Public links on both databases, and that a video's page reads no large table from end to end."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, insert, update

from gateway.audit.tables import audit_log
from gateway.billing.trail import MoneyTrail
from gateway.clock import Clock
from gateway.db import Database
from gateway.db_open import open_database
from gateway.errors import BadRequest, Forbidden, NotFound
from gateway.principal import Principal, Scope
from gateway.settings import Settings
from gateway.videos.attempts import attempts_of
from gateway.videos.search import asked_for
from gateway.videos.sharing import Sharing
from gateway.videos.tables import share_links, videos
from gateway.webhooks.store import deliveries_of_video
from tests.bench.history import fill, plan_of, reads_whole
from tests.conftest import make_tables
from tests.gateway.videos.test_search import PROJECT, row
from tests.postgres import create_database, execute

NOW = 1_800_000_000
ID = f"video_{1:032x}"
PERSON = Principal("org_1", PROJECT, "user_1", frozenset({Scope.VIDEOS_READ, Scope.VIDEOS_WRITE}))
STRANGER = Principal("org_2", "proj_2", "user_2", PERSON.scopes)
READER = Principal("org_1", PROJECT, "user_3", frozenset({Scope.VIDEOS_READ}))


class Moving:
    """A clock that the test moves on."""

    now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Moving:
    return Moving()


@pytest.fixture
def clock(wall: Moving) -> Clock:
    return Clock(wall=wall, monotonic=wall)


@pytest.fixture
async def sharing(db: Database, clock: Clock) -> Sharing:
    rows = [row(1, "a cat"), row(2, "a dog", state="running")]
    await db.write(lambda conn: conn.execute(insert(videos), rows))
    return Sharing(db, clock)


async def test_a_link_is_good_for_its_time(sharing: Sharing, wall: Moving, db: Database) -> None:
    token = await sharing.share(PERSON, ID, "1h", with_prompt=False)
    told = await sharing.share(PERSON, ID, "30d", with_prompt=True)
    assert (await sharing.find(token)).video["prompt"] is None
    found = await sharing.find(told)
    assert (found.project_id, found.video["prompt"], found.expires_at) == (
        PROJECT,
        "a cat",
        NOW + 30 * 86_400,
    )
    kept = await db.read(lambda conn: conn.execute(share_links.select()).mappings().all())
    assert token not in str(kept)
    assert [link["with_prompt"] for link in await sharing.links(PERSON, ID)] == [True, False]
    wall.now += 3601
    with pytest.raises(NotFound):
        await sharing.find(token)
    assert [link["with_prompt"] for link in await sharing.links(PERSON, ID)] == [True]
    await db.write(lambda conn: conn.execute(update(videos).values(deleted_at=1)))
    with pytest.raises(NotFound):
        await sharing.find(told)


async def test_a_withdrawn_link_is_over_and_both_are_noted(sharing: Sharing, db: Database) -> None:
    token = await sharing.share(PERSON, ID, "1d", with_prompt=False)
    (link,) = await sharing.links(PERSON, ID)
    with pytest.raises(NotFound):
        await sharing.revoke(STRANGER, link["id"])
    await sharing.find(token)
    await sharing.revoke(PERSON, link["id"])
    assert await sharing.links(PERSON, ID) == []
    with pytest.raises(NotFound):
        await sharing.find(token)
    noted = await db.read(lambda conn: [each.type for each in conn.execute(audit_log.select())])
    assert noted == ["share_link.created", "share_link.deleted"]


async def test_who_may_share_what(sharing: Sharing) -> None:
    refused: list[tuple[Principal, str, str, Any]] = [
        (STRANGER, ID, "1h", NotFound),
        (READER, ID, "1h", Forbidden),
        (PERSON, ID, "9y", BadRequest),
        (PERSON, f"video_{2:032x}", "1h", BadRequest),
        (PERSON, "video_9", "1h", NotFound),
    ]
    for who, video_id, lifetime, error in refused:
        with pytest.raises(error):
            await sharing.share(who, video_id, lifetime, with_prompt=False)
    assert await sharing.links(STRANGER, ID) == []
    with pytest.raises(NotFound):
        await sharing.find("nothing")


async def test_a_page_reads_no_large_table_from_end_to_end(postgres_server: str) -> None:
    url = create_database(postgres_server, "one_page")
    await make_tables(url)
    db = open_database(Settings(database_url=url), Clock())
    who = Principal("org_default", "proj_default", "user_1", frozenset({Scope.OPERATOR}))
    seen: dict[str, Any] = {}

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.setdefault(statement, parameters)

    try:
        await fill(db, 20_000, 1000)
        execute(url, "VACUUM ANALYZE")
        video_id = f"video_{20:032x}"
        request = {"seconds": "8", "size": "1280x720", "models": ["acme/fast"]}
        await db.write(
            lambda conn: conn.execute(update(videos).where(videos.c.id == video_id).values(request=request))
        )
        event.listen(Engine, "before_cursor_execute", note)
        try:
            reads: list[Callable[[Connection], Any]] = [
                lambda conn: asked_for(conn, "proj_default", video_id),
                lambda conn: attempts_of(conn, video_id, operator=True),
                lambda conn: deliveries_of_video(conn, "proj_default", video_id, 100),
            ]
            for read in reads:
                await db.read(read)
            assert len(await MoneyTrail(db).of(who, video_id)) == 2
            await Sharing(db, Clock()).links(who, video_id)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        selects = {statement: given for statement, given in seen.items() if statement.startswith("SELECT")}
        assert len(selects) >= 7
        for statement, parameters in selects.items():
            plan = await db.read(partial(plan_of, statement=statement, parameters=parameters))
            assert not reads_whole(plan), f"{statement}\n{plan}"
    finally:
        await db.close()
