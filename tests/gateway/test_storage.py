"""Storage by URL: what is written comes back, whole or in ranges, and a failed write leaves nothing."""

import asyncio
import hashlib
import os
import resource
import signal
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from gateway.storage import CHUNK, MissingObjectError, Storage, StorageError

KEY = "videos/video_1/content.mp4"
MIB = 1024 * 1024


@pytest.fixture(params=["file", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(f"file://{tmp_path / 'my store'}" if request.param == "file" else "memory://")


async def chunked(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for offset in range(0, len(data), size):
        yield data[offset : offset + size]


async def read(storage: Storage, key: str = KEY, *, start: int = 0, length: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in storage.stream(key, start=start, length=length)])


def everything_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("size", [0, 1, CHUNK, 3 * MIB + 7, 12 * MIB + 1])
async def test_a_stream_comes_back_with_its_length_and_hash(storage: Storage, size: int) -> None:
    data = os.urandom(size)
    stored = await storage.put(KEY, chunked(data), content_type="video/mp4")
    assert (stored.bytes, stored.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert await read(storage) == data
    head = await storage.head(KEY)
    assert head is not None
    assert head.size == size
    assert abs(head.modified_ms / 1000 - time.time()) < 60
    assert head.etag


async def test_ranges_and_chunk_size(storage: Storage) -> None:
    data = os.urandom(2 * MIB)
    await storage.put_bytes(KEY, data, content_type="video/mp4")
    assert await read(storage, start=10, length=5) == data[10:15]
    assert await read(storage, start=MIB) == data[MIB:]
    assert await read(storage, start=2 * MIB - 1, length=1) == data[-1:]
    assert max([len(chunk) async for chunk in storage.stream(KEY)]) <= CHUNK


async def test_files_are_copied_both_ways(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3 * MIB))
    stored = await storage.put_file(KEY, source, content_type="video/mp4")
    assert stored.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    await storage.download(KEY, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    async with storage.as_file(KEY) as path:
        assert path.read_bytes() == source.read_bytes()


async def test_missing_objects(storage: Storage, tmp_path: Path) -> None:
    assert await storage.head(KEY) is None
    with pytest.raises(MissingObjectError):
        await read(storage)
    with pytest.raises(MissingObjectError):
        await storage.download(KEY, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    await storage.delete(KEY)
    await storage.delete_prefix("videos/video_1/")


async def test_delete_and_delete_prefix(storage: Storage) -> None:
    others = ["videos/video_1/thumbnail.webp", "videos/video_11/content.mp4"]
    for key in [KEY, *others]:
        await storage.put_bytes(key, b"x", content_type="video/mp4")
    await storage.delete(KEY)
    assert await storage.head(KEY) is None
    assert await storage.head(others[0]) is not None
    assert sorted(await storage.folders("videos")) == ["video_1", "video_11"]
    await storage.delete_prefix("videos/video_1/")
    assert await storage.folders("videos") == ["video_11"]
    assert await storage.folders("nothing") == []
    assert await storage.head(others[0]) is None
    assert await storage.head(others[1]) is not None


@pytest.mark.parametrize("size", [10, 7 * MIB])
async def test_a_broken_source_leaves_nothing(storage: Storage, tmp_path: Path, size: int) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(size)
        raise ConnectionResetError("upstream went away")

    with pytest.raises(ConnectionResetError):
        await storage.put(KEY, broken(), content_type="video/mp4")
    assert await storage.head(KEY) is None
    assert everything_in(tmp_path) == []


async def test_a_cancelled_write_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(MIB)
            await asyncio.sleep(0)

    task = asyncio.create_task(storage.put(KEY, endless(), content_type="video/mp4"))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await storage.head(KEY) is None
    assert everything_in(tmp_path) == []


async def test_a_rewrite_replaces_whole_objects_only(storage: Storage) -> None:
    first, second = b"a" * MIB, b"b" * MIB
    await storage.put_bytes(KEY, first, content_type="video/mp4")
    before = await storage.head(KEY)
    await asyncio.sleep(0.01)
    async with aclosing(storage.stream(KEY)) as chunks:
        begun = await anext(chunks)
        await storage.put_bytes(KEY, second, content_type="video/mp4")
        rest = b"".join([chunk async for chunk in chunks])
    assert begun + rest == first
    assert await read(storage) == second
    after = await storage.head(KEY)
    assert before is not None
    assert after is not None
    assert before.etag != after.etag


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a/../b", "a//b", "", ".tmp/x", "a\0b"])
async def test_keys_cannot_leave_the_storage(storage: Storage, key: str) -> None:
    with pytest.raises(ValueError, match="storage key"):
        await storage.put_bytes(key, b"", content_type="text/plain")


async def test_check_passes_and_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    await storage.check()
    assert everything_in(tmp_path) == []


async def test_a_full_disk_is_a_storage_error_and_leaves_nothing(tmp_path: Path) -> None:
    """A file size limit gives the same kind of write error as a full disk, half-way through."""
    storage = Storage(f"file://{tmp_path}")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, before[1]))
    try:
        with pytest.raises(StorageError):
            await storage.put(KEY, chunked(bytes(5 * MIB)), content_type="video/mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert everything_in(tmp_path) == []
    await storage.check()


async def test_an_unusable_folder_is_a_storage_error(tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path / 'store'}")
    (tmp_path / "store" / "videos").write_text("in the way")
    with pytest.raises(StorageError):
        await storage.put_bytes(KEY, b"x", content_type="video/mp4")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        Storage(f"file://{tmp_path / 'file' / 'below'}")


async def test_a_truncated_object_is_noticed(tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path}")
    await storage.put_bytes(KEY, bytes(MIB), content_type="video/mp4")
    with pytest.raises(StorageError):
        await read(storage, start=MIB - 10, length=20)


async def test_stale_temporary_files_go(tmp_path: Path) -> None:
    storage = Storage(f"file://{tmp_path}")
    old, new = tmp_path / ".tmp" / "old", tmp_path / ".tmp" / "new"
    old.write_bytes(b"x")
    new.write_bytes(b"x")
    os.utime(old, (0, 0))
    assert await storage.remove_stale(3600) == 1
    assert not old.exists()
    assert new.exists()


@pytest.mark.parametrize("url", ["ftp://host/x", "nonsense", "s3://"])
def test_an_unknown_url_says_so(url: str) -> None:
    with pytest.raises(StorageError):
        Storage(url)


async def test_an_unreachable_store_is_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT": "http://127.0.0.1:1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        monkeypatch.setenv(name, value)
    storage = Storage("s3://bucket/prefix")
    with pytest.raises(StorageError):
        await asyncio.wait_for(storage.check(), 60)
