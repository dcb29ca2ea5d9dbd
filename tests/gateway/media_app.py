"""The content and file routes over real services, for tests in this process and as a server of its own."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litestar import Litestar
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from pydantic import SecretStr
from sqlalchemy import Connection, insert

from gateway.clock import Clock
from gateway.db import Database
from gateway.db_open import open_database
from gateway.files.service import FileService
from gateway.http.auth import Authentication, provide_principal
from gateway.http.content import ContentController
from gateway.http.errors import EXCEPTION_HANDLERS
from gateway.http.files import FilesController
from gateway.idempotency.service import Idempotency
from gateway.keys.limits import RequestLimits
from gateway.keys.service import KeyService
from gateway.keys.tables import projects
from gateway.media.pool import MediaTools
from gateway.schema import METADATA
from gateway.settings import Limits, Settings
from gateway.storage import Storage
from gateway.videos.content import VideoContent
from gateway.videos.tables import videos

TOKEN = "onereel_operator-key-of-these-tests"
PROJECT = "proj_default"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Parts:
    """What a test looks at behind the routes."""

    app: Litestar
    db: Database
    storage: Storage
    media: MediaTools
    settings: Settings


@asynccontextmanager
async def media_app(settings: Settings, clock: Clock, db: Database) -> AsyncIterator[Parts]:
    """Build the application around an open database with tables."""
    storage, media = Storage(settings.resolved_storage_url), MediaTools(settings.limits)
    keys = KeyService(db, clock, settings)
    await keys.bootstrap()
    upload_dir = settings.data_dir / "uploads"
    upload_dir.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Any] = {
        "settings": settings,
        "storage": storage,
        "upload_dir": upload_dir,
        "content": VideoContent(db, storage, media, clock),
        "files": FileService(db, storage, media, clock),
        "idempotency": Idempotency(db, clock),
    }
    app = Litestar(
        [ContentController, FilesController],
        middleware=[DefineMiddleware(Authentication, keys=keys, limits=RequestLimits(settings))],
        exception_handlers=EXCEPTION_HANDLERS,
        dependencies={
            "principal": Provide(provide_principal, sync_to_thread=False),
            **{name: _provide(part) for name, part in parts.items()},
        },
        request_max_body_size=None,
        logging_config=None,
    )
    try:
        yield Parts(app, db, storage, media, settings)
    finally:
        await media.close()


def _provide(part: Any) -> Provide:
    return Provide(lambda: part, sync_to_thread=False)


def settings_in(data_dir: Path, database_url: str, **limits: Any) -> Settings:
    """Settings with the operator's key of these tests."""
    return Settings(
        data_dir=data_dir, database_url=database_url, admin_key=SecretStr(TOKEN), limits=Limits(**limits)
    )


async def add_video(db: Database, video_id: str = "video_1", **values: Any) -> None:
    """Insert a completed video row, but for `values`."""
    row = {
        "id": video_id,
        "organization_id": "org_default",
        "project_id": PROJECT,
        "key_id": "key_1",
        "operation": "generate",
        "model": "acme/fast",
        "prompt": "a cat",
        "seconds": "4",
        "size": "1280x720",
        "request": {},
        "state": "completed",
        "created_at": 0,
        "deadline": 0,
        "cost_status": "captured",
        "content_key": f"videos/{video_id}/content.mp4",
        "content_type": "video/mp4",
        **values,
    }
    await db.write(lambda conn: conn.execute(insert(videos).values(row)))


async def add_project(db: Database, project_id: str) -> None:
    """Insert another project."""
    row = {"id": project_id, "organization_id": "org_default", "name": "other", "created_at": 0}
    await db.write(lambda conn: conn.execute(insert(projects).values(row)))


def create_tables(conn: Connection) -> None:
    for metadata in METADATA:
        metadata.create_all(conn)


async def _serve(data_dir: Path, port: int) -> None:
    """Serve one big video from a fresh data directory."""
    import uvicorn

    clock = Clock()
    settings = settings_in(data_dir, f"sqlite:///{data_dir / 'test.db'}")
    db = open_database(settings, clock)
    await db.write(create_tables)
    async with media_app(settings, clock, db) as parts:
        stored = await parts.storage.put_file(
            "videos/video_1/content.mp4", data_dir / "big", content_type="video/mp4"
        )
        await add_video(db, content_bytes=stored.bytes, content_sha256=stored.sha256)
        config = uvicorn.Config(parts.app, host="127.0.0.1", port=port, log_level="warning", loop="uvloop")
        await uvicorn.Server(config).serve()
    await db.close()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
