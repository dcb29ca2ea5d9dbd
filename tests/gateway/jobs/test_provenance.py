"""Content Credentials of finished videos: signed where we generate, untouched where they came with some, never lost."""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import psutil
import pytest
from c2pa import C2paError, Context, Reader
from sqlalchemy import select

from gateway.db import Database
from gateway.jobs.tables import jobs
from gateway.media import qim
from gateway.media.claim import Claim
from gateway.media.identity import Identity, SigningIdentity
from gateway.settings import Provenance
from gateway.videos.view import public_video
from providers.contract import Content, Operation
from providers.testing import FakeUpstream
from tests.gateway.jobs.bench import Engine, engine, upstream
from tests.gateway.media_files import make_video


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with FakeUpstream(poll_after_ms=50) as server:
        yield server


def signing(made: Engine, **provenance: Any) -> Identity:
    """Set the engine up with these settings and an identity of its own."""
    made.ctx.settings.provenance = Provenance(**provenance)
    made.ctx.identity = SigningIdentity(made.ctx.settings)
    return made.ctx.identity.loaded


def root_of(identity: Identity) -> str:
    """The certificate that the others are issued under."""
    begin = "-----BEGIN CERTIFICATE-----"
    return begin + identity.chain.rpartition(begin)[2]


def read(path: Path) -> dict[str, Any] | None:
    """What the file's manifests say, with `validation_state`; None where it has none."""
    try:
        with Reader(path) as reader:
            found: dict[str, Any] = json.loads(reader.json())
            return found
    except C2paError.ManifestNotFound:
        return None


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


UNMARKED = {"visible_mark": False, "invisible_mark": False}


async def test_what_we_generate_says_so_and_any_change_shows(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        identity = signing(made, c2pa="all")
        (video,) = await made.finish(await made.add())
        path = await saved(made, video, tmp_path / "signed.mp4")
        assert video.provenance == {"c2pa": "signed", **UNMARKED}
        assert public_video(video._mapping)["provenance"] == video.provenance
        assert trusted(path, root_of(identity)) == "Trusted"
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
        assert list((tmp_path / "work").iterdir()) == []
        await made.check()


@pytest.mark.parametrize("c2pa", ["generated", "off"])
async def test_what_an_upstream_made_is_not_claimed_as_ours(
    db: Database, tmp_path: Path, fake: FakeUpstream, c2pa: str
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        signing(made, c2pa=c2pa)
        (video,) = await made.finish(await made.add())
        assert video.provenance == {"c2pa": "none", **UNMARKED}
        assert read(await saved(made, video, tmp_path / "plain.mp4")) is None


async def test_an_upstreams_manifest_passes_byte_for_byte_and_outlives_our_mark(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        identity = signing(made, c2pa="generated")
        plain = make_video(tmp_path / "plain.mp4", width=1280, height=720, frames=16, fps=4)
        theirs = tmp_path / "theirs.mp4"
        claim = Claim("video_theirs", "acme-9", Operation.GENERATE, 1_790_000_000_000)
        facts = await made.ctx.media.probe(plain)
        await made.ctx.media.sign(plain, theirs, claim=claim, identity=identity, facts=facts)
        real = made.ctx.adapter
        made.ctx.adapter = lambda spec: Serving(real(spec), theirs)  # type: ignore[assignment,return-value]
        untouched, marked = await made.finish(await made.add(), await made.add(watermark=True))
        assert untouched.provenance == {"c2pa": "upstream", **UNMARKED}
        assert (await saved(made, untouched, tmp_path / "a.mp4")).read_bytes() == theirs.read_bytes()
        assert marked.provenance == {"c2pa": "signed", "visible_mark": True, "invisible_mark": False}
        path = await saved(made, marked, tmp_path / "b.mp4")
        found = read(path)
        assert found is not None
        (ingredient,) = found["manifests"][found["active_manifest"]]["ingredients"]
        assert ingredient["relationship"] == "parentOf"
        assert "acme-9" in json.dumps(found["manifests"][ingredient["active_manifest"]])
        assert [each["action"] for each in actions(path)] == ["c2pa.opened", "c2pa.edited"]
        assert trusted(path, root_of(identity)) == "Trusted"
        assert frames(path) == 16


async def test_what_must_be_signed_waits_until_it_can_be(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    """A time-stamping server that is away: the video is neither delivered unsigned nor lost."""
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        signing(made, c2pa="all", timestamp_url="http://127.0.0.1:9/")
        waiting = await made.add()

        async def told() -> bool:
            return "signing_failed" in await made.notices()

        await made.until(told, seconds=40)
        assert (await made.video(waiting)).state == "storing"
        signing(made, c2pa="all")
        (video,) = await made.finish(waiting)
        assert (video.state, video.provenance["c2pa"]) == ("completed", "signed")
        await made.check()


async def test_a_media_worker_killed_while_it_signs_leaves_one_signed_video(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        identity = signing(made, c2pa="all")
        killed: list[int] = []

        def kill_the_asker(data: bytes) -> bytes:
            if not killed:
                for child in psutil.Process().children():
                    if "gateway.media.worker" in " ".join(child.cmdline()):
                        killed.append(child.pid)
                        child.kill()
            return identity.sign(data)

        assert made.ctx.identity is not None
        made.ctx.identity.loaded = replace(identity, sign=kill_the_asker)
        (video,) = await made.finish(await made.add(), seconds=40)
        assert killed
        assert (video.state, video.provenance["c2pa"]) == ("completed", "signed")
        assert trusted(await saved(made, video, tmp_path / "a.mp4"), root_of(identity)) == "Trusted"
        assert list((tmp_path / "work").iterdir()) == []
        await made.check()


def worker(fake: FakeUpstream) -> Any:
    """The fake, named as one of our own workers."""
    return upstream("acme", fake.base_url, options={"dialect": "local"})


async def test_what_our_own_workers_make_is_signed_unless_told_otherwise(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [worker(fake)]) as made:
        identity = signing(made)
        (video,) = await made.finish(await made.add())
        assert video.provenance == {"c2pa": "signed", **UNMARKED}
        path = await saved(made, video, tmp_path / "a.mp4")
        assert trusted(path, root_of(identity)) == "Trusted"
        assert [each["action"] for each in actions(path)] == ["c2pa.created"]


async def test_both_marks_and_the_claim_are_on_one_file(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    """What an upstream made gets no invisible mark: it has its maker's."""
    async with engine(db, tmp_path, [worker(fake)]) as made:
        identity = signing(made, invisible="gateway.media.qim:factory")
        (video,) = await made.finish(await made.add(watermark=True))
        assert video.provenance == {"c2pa": "signed", "visible_mark": True, "invisible_mark": True}
        path = await saved(made, video, tmp_path / "a.mp4")
        assert [each["action"] for each in actions(path)] == [
            "c2pa.created",
            "c2pa.watermarked.unbound",
            "c2pa.edited",
        ]
        assert trusted(path, root_of(identity)) == "Trusted"
        assert qim.read(qim.pictures_of(path)).payload == bytes.fromhex(video.id[6:22])
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        signing(made, invisible="gateway.media.qim:factory")
        (plain,) = await made.finish(await made.add())
        assert plain.provenance == {"c2pa": "none", **UNMARKED}


async def test_a_plug_in_that_is_not_installed_holds_the_video_back(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    async with engine(db, tmp_path, [worker(fake)]) as made:
        signing(made, invisible="not_installed:factory")
        waiting = await made.add()

        async def tried() -> bool:
            job = select(jobs.c.tries).where(jobs.c.id == waiting)
            return (await made.db.read(lambda conn: conn.execute(job).scalar_one())) > 0

        await made.until(tried)
        assert (await made.video(waiting)).state == "storing"
        signing(made)
        (video,) = await made.finish(waiting)
        assert video.provenance == {"c2pa": "signed", **UNMARKED}


async def test_a_container_that_takes_no_claim_is_delivered_and_says_so(
    db: Database, tmp_path: Path, fake: FakeUpstream
) -> None:
    webm = make_video(
        tmp_path / "a.webm", codec="libvpx", container="webm", width=1280, height=720, frames=12
    )
    async with engine(db, tmp_path, [upstream("acme", fake.base_url)]) as made:
        signing(made, c2pa="all")
        real = made.ctx.adapter
        made.ctx.adapter = lambda spec: Serving(real(spec), webm)  # type: ignore[assignment,return-value]
        plain, marked = await made.finish(await made.add(), await made.add(watermark=True))
        assert plain.provenance == {"c2pa": "none", **UNMARKED}
        assert (await saved(made, plain, tmp_path / "b")).read_bytes() == webm.read_bytes()
        assert marked.provenance == {"c2pa": "signed", "visible_mark": True, "invisible_mark": False}
