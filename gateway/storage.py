"""Where every byte lies that is not a row: videos, previews, inputs, uploaded files, characters.

Keys: videos/{video_id}/content-{n}.mp4, videos/{video_id}/thumbnail.webp, videos/{video_id}/spritesheet.jpg,
inputs/{video_id}/{n}, files/{file_id}, characters/{character_id}.
"""

import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from uuid import uuid4

from gateway.storage_base import (
    CHUNK,
    Backend,
    MissingObjectError,
    StorageError,
    Stored,
    StoredObject,
    check_key,
    run_to_end,
)
from gateway.storage_local import LocalFiles

__all__ = ["CHUNK", "MissingObjectError", "Storage", "StorageError", "Stored", "StoredObject"]


class Storage:
    """One storage by URL: file:///folder, s3://bucket/prefix, gs://, az://, memory://."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._backend = _open(url)

    async def put(self, key: str, chunks: AsyncIterator[bytes], *, content_type: str) -> Stored:
        """Write a stream: everything or nothing, durable when it returns. Errors of `chunks` pass through."""
        return await self._backend.put(check_key(key), chunks, content_type)

    async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> Stored:
        """Write a small object."""
        return await self.put(key, _once(data), content_type=content_type)

    async def put_file(self, key: str, path: Path, *, content_type: str) -> Stored:
        """Write a local file, which the caller may delete afterwards but never change."""
        return await self._backend.put_file(check_key(key), path, content_type)

    def stream(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """Read `length` bytes (None: to the end) in bounded chunks; MissingObjectError on the first step."""
        return self._backend.stream(check_key(key), start, length)

    async def head(self, key: str) -> StoredObject | None:
        """Size and version, None when there is no such object."""
        return await self._backend.head(check_key(key))

    async def download(self, key: str, path: Path) -> None:
        """Copy an object into a local file, which is removed again on any error."""
        try:
            with await run_to_end(None, open, path, "wb") as file:
                async for chunk in self.stream(key):
                    await run_to_end(None, file.write, chunk)
        except BaseException as error:
            await run_to_end(None, _discard, path)
            if isinstance(error, OSError):
                raise StorageError(f"the download of {key} failed: {error.strerror}") from error
            raise

    @asynccontextmanager
    async def as_file(self, key: str) -> AsyncIterator[Path]:
        """Lend the object as a local file to read: in place where it is one, else a temporary copy."""
        path = self._backend.path_of(check_key(key))
        if path is not None:
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="onereel-") as folder:
            copy = Path(folder) / "object"
            await self.download(key, copy)
            yield copy

    async def delete(self, key: str) -> None:
        """Remove an object; one that is gone is no error."""
        await self._backend.delete(check_key(key))

    async def delete_prefix(self, prefix: str) -> None:
        """Remove everything below the folder `prefix`."""
        check_key(prefix.rstrip("/"))
        await self._backend.delete_prefix(prefix)

    async def folders(self, prefix: str) -> list[str]:
        """Name the folders directly below the folder `prefix`."""
        return await self._backend.folders(check_key(prefix))

    async def remove_stale(self, older_than_seconds: float) -> int:
        """Remove what interrupted writes left behind; how many."""
        return await self._backend.remove_stale(older_than_seconds)

    async def check(self) -> None:
        """Write, read and remove a small object; StorageError when that does not work."""
        key = f"health/{uuid4().hex}"
        await self.put_bytes(key, b"onereel", content_type="application/octet-stream")
        try:
            async with aclosing(self.stream(key)) as chunks:
                if b"".join([chunk async for chunk in chunks]) != b"onereel":
                    raise StorageError("the storage returns other bytes than were written")
        finally:
            await self.delete(key)


def _open(url: str) -> Backend:
    if url.startswith("file://"):
        return LocalFiles(Path(url.removeprefix("file://")))
    from gateway.storage_objects import Objects  # noqa: PLC0415  (6 MB that a local folder does not need)

    return Objects(url)


def _discard(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
