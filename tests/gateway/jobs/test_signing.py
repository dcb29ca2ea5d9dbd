"""Content Credentials of finished videos: signed where we generate, untouched where they came with some, never lost."""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from c2pa import Context, Reader
from sqlalchemy import select

from gateway.db import Database
from gateway.jobs.context import JobContext
from gateway.jobs.tables import jobs
from gateway.media.credentials import Claim, read, sign
from gateway.settings import Provenance
from gateway.signing_identity import identity_of
from gateway.videos.view import public_video
from providers.contract import Content
from providers.testing import FakeUpstream
from tests.gateway.jobs.bench import Engine, engine, upstream
from tests.gateway.media_files import make_video


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with FakeUpstream(poll_after_ms=50) as server:
        yield server


def signing(made: Engine, **provenance: Any) -> JobContext:
    """The engine's context with these settings, and an identity of its own."""
    made.ctx.settings.provenance = Provenance(**provenance)
    made.ctx.signing_identity = identity_of(made.ctx.settings)
    return made.ctx


async def saved(made: Engine, video: Any, path: Path) -> Path:
    """The delivered bytes as a file; they are what the video's row says."""
    data = b"".join([chunk async for chunk in made.ctx.storage.stream(video.content_key)])
    assert (len(data), hashlib.sha256(data).hexdigest()) == (video.content_bytes, video.content_sha256)
    path.write_bytes(data)
    return path


def trusted(path: Path, root: str) -> str:
    """The validation state for somebody who trusts this root."""
    context = Context.from_dict({"trust": {"user_anchors": root}, "verify": {"verify_trust": True}})
    with Reader(path, context=context) as reader:
        return str(reader.get_validation_state())


def actions(path: Path) -> list[dict[str, Any]]:
    found = read(path)
    assert found is not None
    active = found["manifests"][found["active_manifest"]]
    return next(a["data"]["actions"] for a in active["assertions"] if a["label"].startswith("c2pa.actions"))


def frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


class Serving:
    """An upstream whose finished file is this one; everything else as the real adapter does it."""

    def __init__(self, adapter: Any, path: Path) -> None:
        self._adapter, self._path = adapter, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    async def open_content(self, *_: Any) -> Content:
        async def chunks() -> AsyncIterator[bytes]:
            yield self._path.read_bytes()

        return Content("video/mp4", None, chunks())


async def test_what_we_generate_says_so_and_any_change_shows(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        ctx = signing(made, c2pa="all")
        (video,) = await made.finish(await made.add())
        path = await saved(made, video, tmp_path / "signed.mp4")
        assert video.provenance == {"c2pa": "signed", "visible_mark": False}
        assert public_video(video._mapping)["provenance"] == video.provenance
        identity = ctx.signing_identity()
        assert identity is not None
        assert trusted(path, identity.root) == "Trusted"
        (created,) = actions(path)
        assert created["action"] == "c2pa.created"
        assert created["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
        assert created["softwareAgent"]["name"] == "onereel"
        assert video.model in created["description"]
        assert frames(path) > 0
        data = bytearray(path.read_bytes())
        data[data.index(b"mdat") + 100] ^= 1
        path.write_bytes(data)
        found = read(path)
        assert found is not None
        assert found["validation_state"] == "Invalid"
        assert "assertion.bmffHash.mismatch" in json.dumps(found["validation_status"])
        await made.check()


@pytest.mark.parametrize("c2pa", ["generated", "off"])
async def test_what_an_upstream_made_is_not_claimed_as_ours(
    db: Database, tmp_path: Path, fake: FakeUpstream, c2pa: str
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        signing(made, c2pa=c2pa)
        (video,) = await made.finish(await made.add())
        assert video.provenance == {"c2pa": "none", "visible_mark": False}
        assert read(await saved(made, video, tmp_path / "plain.mp4")) is None


async def test_an_upstreams_manifest_passes_byte_for_byte_and_outlives_our_mark(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        ctx = signing(made, c2pa="generated")
        theirs, identity = tmp_path / "theirs.mp4", ctx.signing_identity()
        assert identity is not None
        plain = make_video(tmp_path / "plain.mp4", width=1280, height=720, frames=16, fps=4)
        sign(plain, theirs, "video/mp4", Claim("theirs", "acme-9"), identity)
        real = ctx.adapter
        ctx.adapter = lambda spec: Serving(real(spec), theirs)  # type: ignore[assignment,return-value]
        untouched, marked = await made.finish(await made.add(), await made.add(watermark=True))
        assert untouched.provenance == {"c2pa": "upstream", "visible_mark": False}
        assert (await saved(made, untouched, tmp_path / "a.mp4")).read_bytes() == theirs.read_bytes()
        assert marked.provenance == {"c2pa": "signed", "visible_mark": True}
        path = await saved(made, marked, tmp_path / "b.mp4")
        found = read(path)
        assert found is not None
        active = found["manifests"][found["active_manifest"]]
        (ingredient,) = active["ingredients"]
        assert ingredient["relationship"] == "parentOf"
        assert "acme-9" in json.dumps(found["manifests"][ingredient["active_manifest"]])
        assert [each["action"] for each in actions(path)] == ["c2pa.opened", "c2pa.edited"]
        assert trusted(path, identity.root) == "Trusted"


async def test_what_must_be_signed_and_cannot_be_is_neither_delivered_nor_charged(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        ctx = signing(made, c2pa="all")
        (tmp_path / "signing-identity.pem").write_text("no certificate at all")
        (video,) = await made.finish(await made.add())
        assert (video.state, video.error_code, video.content_key) == ("failed", "signing_failed", None)
        assert (video.cost_status, video.cost_micros) == ("released", 0)
        assert await made.notices() == ["signing_failed"]
        assert list(ctx.work_dir.iterdir()) == []
        await made.check()


async def test_a_time_stamping_server_that_is_away_is_waited_for(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        ctx = signing(made, c2pa="all", timestamp_url="http://127.0.0.1:9/")
        waiting = await made.add()

        async def refused() -> bool:
            rows = await made.ctx.db.read(lambda conn: conn.execute(select(jobs.c.tries)).all())
            return any(row.tries >= 2 for row in rows)

        await made.until(refused)
        assert (await made.video(waiting)).state == "storing"
        ctx.settings.provenance = Provenance(c2pa="all")
        ctx.signing_identity = identity_of(ctx.settings)
        (video,) = await made.finish(waiting)
        assert (video.state, video.provenance["c2pa"]) == ("completed", "signed")
