"""A video service over real parts: database, local storage, media subprocesses; only the upstreams are names."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, update

from billing.ledger import open_balance
from billing.ledger_moves import credit
from gateway.clock import Clock
from gateway.db import Database
from gateway.events import Hints
from gateway.files.tables import characters, files
from gateway.http.multipart import UploadedFile
from gateway.idempotency.service import Claim
from gateway.ids import new_id
from gateway.jobs.tables import attempts, jobs
from gateway.media.pool import MediaTools
from gateway.principal import DEFAULT_SCOPES, Principal
from gateway.settings import Settings
from gateway.storage import Storage
from gateway.videos.routing import Catalogue
from gateway.videos.service import Call, VideoService
from gateway.videos.tables import videos
from providers.spec import ModelSpec, UpstreamSpec
from tests.gateway.media_files import make_image, make_video

ACME = UpstreamSpec(
    name="acme",
    base_url="http://127.0.0.1:9/v1",
    models=(
        ModelSpec(
            id="acme/fast",
            upstream_model="fast-1",
            seconds=(Decimal(4), Decimal(8), Decimal(12)),
            sizes=("1280x720", "720x1280"),
            price_per_second_usd=Decimal("0.10"),
            parameters=frozenset({"seed", "negative_prompt"}),
        ),
        ModelSpec(
            id="acme/full",
            seconds=(Decimal(4), Decimal(5)),
            sizes=("720x1280", "1920x1080"),
            roles=frozenset({"first_frame", "last_frame", "reference", "character", "source", "extend_from"}),
            parameters=frozenset({"seed", "fps", "audio", "negative_prompt"}),
            max_reference_images=2,
            price_per_second_usd=Decimal("0.50"),
            native_size="256x144",
        ),
        ModelSpec(id="acme/own", needs_handle=frozenset({"remix", "edit", "extend"}), max_prompt_chars=100),
        ModelSpec(id="acme/text", operations=frozenset({"generate"}), roles=frozenset()),
        ModelSpec(id="acme/gone", shutdown_date="2026-01-01"),
    ),
)


@dataclass
class World:
    """Everything a test asks and looks at."""

    db: Database
    clock: Clock
    service: VideoService
    catalogue: Catalogue
    storage: Storage
    hints: Hints
    folder: Path
    principal: Principal
    uploads: int = 0
    settings: Settings = field(default_factory=Settings)

    def call(self, fields: Mapping[str, Any], *, retry: int = 0, key: str | None = None, **who: Any) -> Call:
        """The request around a body."""
        text = json.dumps(fields, sort_keys=True, default=lambda upload: upload.sha256)
        body_hash = hashlib.sha256(text.encode()).hexdigest()
        principal = replace(self.principal, **who)
        claim = Claim(principal.project_id, "POST", "/v1/videos", key, body_hash) if key else None
        return Call(principal, "/v1/videos", body_hash, retry, claim)

    async def create(self, fields: Mapping[str, Any] | None = None, **call: Any) -> dict[str, Any]:
        """Make a video."""
        body = {"prompt": "a cat", "model": "acme/fast"} | dict(fields or {})
        return await self.service.create(self.call(body, **call), body)

    def upload(self, data: bytes, name: str = "upload") -> UploadedFile:
        """A file part on disk."""
        self.uploads += 1
        path = self.folder / f"upload-{self.uploads}"
        path.write_bytes(data)
        return UploadedFile(path, len(data), hashlib.sha256(data).hexdigest(), name)

    async def rows(self, table: Any) -> list[Any]:
        """All rows of a table."""
        return list(await self.db.read(lambda conn: conn.execute(select(table)).all()))

    async def row(self, video_id: str) -> Any:
        """One video."""
        return await self.db.read(
            lambda conn: conn.execute(select(videos).where(videos.c.id == video_id)).one()
        )

    async def complete(self, video_id: str, *, upstream: str = "acme", **values: Any) -> str:
        """Finish a video as the runner would; answers its attempt's id."""
        key, attempt_id = f"videos/{video_id}/content.mp4", new_id("att")
        await self.storage.put_bytes(key, b"film", content_type="video/mp4")

        def write(conn: Connection) -> None:
            done = {
                "state": "completed",
                "progress": 100,
                "content_key": key,
                "content_type": "video/mp4",
                "content_bytes": 4,
                "completed_at": self.clock.now_ms(),
                "version": videos.c.version + 1,
                "cost_status": "captured",
                "cost_micros": videos.c.hold_micros,
            }
            conn.execute(update(videos).where(videos.c.id == video_id).values(**(done | values)))
            conn.execute(jobs.delete().where(jobs.c.id == video_id))
            conn.execute(
                insert(attempts).values(
                    id=attempt_id,
                    video_id=video_id,
                    n=1,
                    upstream=upstream,
                    upstream_model="m",
                    state="completed",
                    idempotency_key=attempt_id,
                    handle={"id": "up_1"},
                    created_at=0,
                )
            )

        await self.db.write(write)
        return attempt_id

    async def add_file(self, data: bytes, media_type: str, **facts: Any) -> str:
        """An uploaded file of the project."""
        file_id = new_id("file")
        key = f"files/{file_id}"
        await self.storage.put_bytes(key, data, content_type=media_type)
        row = {
            "id": file_id,
            "project_id": self.principal.project_id,
            "purpose": "vision",
            "filename": "f",
            "media_type": media_type,
            "bytes": len(data),
            "sha256": "0" * 64,
            "facts": facts,
            "storage_key": key,
            "created_at": self.clock.now_ms(),
        }
        await self.db.write(lambda conn: conn.execute(insert(files).values(row)))
        return file_id

    async def character_ids(self) -> list[str]:
        """Every character there is."""
        return [row.id for row in await self.rows(characters)]

    async def stored(self, prefix: str) -> list[str]:
        """Names of stored objects below a prefix."""
        root = self.folder / "storage"
        return sorted(
            str(path.relative_to(root))
            for path in root.rglob("*")
            if path.is_file() and str(path.relative_to(root)).startswith(prefix)
        )


def new_principal() -> Principal:
    return Principal(new_id("org"), new_id("proj"), new_id("key"), frozenset(DEFAULT_SCOPES))


async def build(db: Database, clock: Clock, folder: Path, settings: Settings) -> World:
    uploads = folder / "uploads"
    uploads.mkdir()
    hints, principal = Hints(), replace(new_principal(), billing_mode=settings.billing.mode)
    storage, catalogue = Storage(f"file://{folder / 'storage'}"), Catalogue(settings)
    service = VideoService(
        db,
        clock,
        settings,
        catalogue=catalogue,
        storage=storage,
        media=MediaTools(settings.limits, size=1),
        hints=hints,
        upload_dir=uploads,
    )
    await db.write(lambda conn: open_balance(conn, principal.organization_id, settings.billing.mode))
    return World(db, clock, service, catalogue, storage, hints, folder, principal, settings=settings)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, upstreams=(ACME,), default_model="acme/fast")


@pytest.fixture
async def world(db: Database, clock: Clock, tmp_path: Path, settings: Settings) -> AsyncIterator[World]:
    """With billing off: costs are recorded, nothing is refused."""
    made = await build(db, clock, tmp_path, settings)
    yield made
    await made.service._creation._inputs._media.close()


@pytest.fixture
async def paid(db: Database, clock: Clock, tmp_path: Path, settings: Settings) -> AsyncIterator[World]:
    """With prepaid billing and one USD of credit."""
    mode = settings.billing.model_copy(update={"mode": "prepaid"})
    made = await build(db, clock, tmp_path, settings.model_copy(update={"billing": mode}))
    organization = made.principal.organization_id
    await db.write(
        lambda conn: credit(
            conn, subject="act_1", organization_id=organization, amount_micros=1_000_000, memo="", now=0
        )
    )
    yield made
    await made.service._creation._inputs._media.close()


@pytest.fixture(scope="session")
def png() -> bytes:
    return make_image("PNG")


@pytest.fixture(scope="session")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two seconds, 320x180."""
    return make_video(tmp_path_factory.mktemp("media") / "clip.mp4").read_bytes()
