"""/v1/files with the stock SDK and by hand: what is kept, what is refused, and that nothing stays behind."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx
import openai
import pytest
from sqlalchemy import Connection, func, select, update

from gateway.clock import Clock
from gateway.db import Database
from gateway.files.service import safe_filename
from gateway.files.tables import files
from gateway.http.download import content_disposition
from tests.gateway.asgi import asgi_client
from tests.gateway.media_app import HEADERS, TOKEN, Parts, add_project, media_app, settings_in
from tests.gateway.media_files import make_image, make_video

PNG = make_image("PNG")


@pytest.fixture
async def parts(db: Database, clock: Clock, tmp_path: Path, database_url: str) -> AsyncIterator[Parts]:
    async with media_app(settings_in(tmp_path, database_url, file_bytes=300_000), clock, db) as built:
        yield built


@pytest.fixture
async def client(parts: Parts) -> AsyncIterator[httpx.AsyncClient]:
    async with asgi_client(parts.app, headers=HEADERS) as http:
        yield http


@pytest.fixture
async def sdk(parts: Parts) -> AsyncIterator[openai.AsyncOpenAI]:
    async with asgi_client(parts.app) as http:
        yield openai.AsyncOpenAI(
            api_key=TOKEN,
            base_url="http://127.0.0.1/v1",
            http_client=cast("Any", http),
            max_retries=0,
            _strict_response_validation=True,
        )


async def upload(client: httpx.AsyncClient, data: bytes = PNG, **form: str) -> httpx.Response:
    fields = {"purpose": "vision", **form}
    return await client.post("/v1/files", data=fields, files={"file": ("a.png", data, "text/plain")})


async def row_of(parts: Parts, file_id: str) -> Any:
    return await parts.db.read(lambda conn: conn.execute(select(files).where(files.c.id == file_id)).one())


async def nothing_left(parts: Parts) -> bool:
    def count(conn: Connection) -> int:
        return conn.execute(select(func.count()).select_from(files)).scalar_one()

    folders = (parts.settings.data_dir / "storage", parts.settings.data_dir / "uploads")
    left = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return not left and await parts.db.read(count) == 0


async def test_the_whole_life_of_a_file_with_the_sdk(sdk: openai.AsyncOpenAI, parts: Parts) -> None:
    made = await sdk.files.create(
        file=("cat.png", PNG), purpose="vision", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert (made.object, made.bytes, made.filename, made.purpose) == ("file", len(PNG), "cat.png", "vision")
    assert made.status == "processed"
    assert made.expires_at == made.created_at + 3600
    row = await row_of(parts, made.id)
    assert row.media_type == "image/png"
    assert (row.facts["kind"], row.facts["width"], row.facts["height"]) == ("image", 64, 48)
    assert await sdk.files.retrieve(made.id) == made
    assert [each.id async for each in sdk.files.list()] == [made.id]
    assert (await sdk.files.content(made.id)).content == PNG
    gone = await sdk.files.delete(made.id)
    assert (gone.id, gone.deleted) == (made.id, True)
    with pytest.raises(openai.NotFoundError):
        await sdk.files.retrieve(made.id)
    assert await nothing_left(parts)


async def test_a_video_gets_its_facts(client: httpx.AsyncClient, parts: Parts, tmp_path: Path) -> None:
    answer = await upload(client, make_video(tmp_path / "a.mp4").read_bytes(), purpose="user_data")
    row = await row_of(parts, answer.json()["id"])
    assert row.media_type == "video/mp4"
    assert (row.facts["kind"], row.facts["duration_ms"]) == ("video", 2000)
    content = await client.get(f"/v1/files/{row.id}/content", headers={"Range": "bytes=4-7"})
    assert (content.status_code, content.content) == (206, b"ftyp")


async def test_anything_else_is_kept_unread(client: httpx.AsyncClient, parts: Parts) -> None:
    answer = await upload(client, b'{"custom_id": "1"}\n', purpose="batch")
    row = await row_of(parts, answer.json()["id"])
    assert (row.media_type, row.facts) == ("application/octet-stream", {})
    content = await client.get(f"/v1/files/{row.id}/content")
    assert content.content == b'{"custom_id": "1"}\n'
    assert content.headers["content-type"] == "application/octet-stream"
    assert content.headers["x-content-type-options"] == "nosniff"
    head = await client.head(f"/v1/files/{row.id}/content")
    assert head.headers["content-length"] == "19"


@pytest.mark.parametrize(
    ("data", "form", "param"),
    [
        (b"\xff\xd8\xff" + bytes(500), {}, "file"),
        (PNG[:40], {}, "file"),
        (b"", {}, "file"),
        (PNG, {"purpose": "world domination"}, "purpose"),
        (
            PNG,
            {"expires_after[anchor]": "created_at", "expires_after[seconds]": "5"},
            "expires_after[seconds]",
        ),
        (PNG, {"expires_after[anchor]": "now", "expires_after[seconds]": "3600"}, "expires_after[anchor]"),
        (PNG, {"expires_after[seconds]": "3600"}, "expires_after[anchor]"),
    ],
)
async def test_bad_uploads(
    client: httpx.AsyncClient, parts: Parts, data: bytes, form: dict[str, str], param: str
) -> None:
    answer = await upload(client, data, **form)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert await nothing_left(parts)


async def test_a_file_is_needed(client: httpx.AsyncClient) -> None:
    for answer in (
        await client.post("/v1/files", json={"purpose": "vision"}),
        await client.post("/v1/files", json={"purpose": "vision", "file": {"path": "/etc/passwd"}}),
        await client.post("/v1/files", files={"purpose": (None, "vision")}),
    ):
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "file"


async def test_a_file_over_the_limit(client: httpx.AsyncClient, parts: Parts) -> None:
    answer = await upload(client, bytes(400_000))
    assert answer.status_code == 413
    assert await nothing_left(parts)


async def test_a_failing_storage_is_a_503_and_leaves_nothing(client: httpx.AsyncClient, parts: Parts) -> None:
    blocker = parts.settings.data_dir / "storage" / "files"
    blocker.write_text("in the way")
    answer = await upload(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_unavailable")
    blocker.unlink()
    rows = await parts.db.read(lambda conn: conn.execute(select(files.c.deleted_at)).scalars().all())
    assert all(rows)
    assert (await client.get("/v1/files")).json()["data"] == []
    assert (await upload(client)).status_code == 200


async def test_an_idempotency_key_makes_one_file(client: httpx.AsyncClient) -> None:
    client.headers["Idempotency-Key"] = "once"
    answers = await asyncio.gather(*(upload(client) for _ in range(3)))
    assert len({answer.text for answer in answers}) == 1
    assert (await upload(client, make_image("JPEG"))).json()["error"]["code"] == "idempotency_key_reused"
    assert len((await client.get("/v1/files")).json()["data"]) == 1


async def test_listing(client: httpx.AsyncClient) -> None:
    ids = [(await upload(client, purpose=each)).json()["id"] for each in ("vision", "batch", "vision")]
    listed = (await client.get("/v1/files")).json()
    assert [each["id"] for each in listed["data"]] == ids[::-1]
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == (ids[2], ids[0], False)
    page = (await client.get("/v1/files", params={"limit": 2, "order": "asc"})).json()
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (ids[:2], True)
    rest = (await client.get("/v1/files", params={"after": ids[1], "order": "asc"})).json()
    assert [each["id"] for each in rest["data"]] == ids[2:]
    chosen = (await client.get("/v1/files", params={"purpose": "batch"})).json()
    assert [each["id"] for each in chosen["data"]] == [ids[1]]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=x", "limit"),
        ("after=file_1", "after"),
        ("purpose=x", "purpose"),
        ("order=up", "order"),
    ],
)
async def test_bad_lists(client: httpx.AsyncClient, query: str, param: str) -> None:
    answer = await client.get(f"/v1/files?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_files_belong_to_a_project(client: httpx.AsyncClient, parts: Parts) -> None:
    await add_project(parts.db, "proj_other")
    file_id = (await upload(client)).json()["id"]
    foreign = {"X-Onereel-Project": "proj_other"}
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/content"), ("HEAD", "/content")):
        answer = await client.request(method, f"/v1/files/{file_id}{path}", headers=foreign)
        assert answer.status_code == 404
    assert (await client.get("/v1/files", headers=foreign)).json()["data"] == []
    assert (await client.get("/v1/files", params={"after": file_id}, headers=foreign)).status_code == 400
    assert (await client.get(f"/v1/files/{file_id}")).status_code == 200


async def test_an_expired_file_is_gone(client: httpx.AsyncClient, parts: Parts) -> None:
    file_id = (await upload(client)).json()["id"]
    await parts.db.write(lambda conn: conn.execute(update(files).values(expires_at=1)))
    assert (await client.get(f"/v1/files/{file_id}")).status_code == 404
    assert (await client.get("/v1/files")).json()["data"] == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("cat.png", "cat.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a.mp4", "a.mp4"),
        ('a"; x=".png', "a__ x=_.png"),
        ("..", "file"),
        ("", "file"),
        ("Größe 1.png", "Größe 1.png"),
        ("a\r\nb.png", "a__b.png"),
        ("x" * 500 + ".png", "x" * 196 + ".png"),
    ],
)
def test_file_names_are_tamed(given: str, kept: str) -> None:
    assert safe_filename(given) == kept


def test_file_names_in_headers_are_ascii_with_the_full_name_beside() -> None:
    assert content_disposition("a b.png") == 'attachment; filename="a b.png"'
    expected = "attachment; filename=\"Gr__e.png\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe.png"
    assert content_disposition("Größe.png") == expected
