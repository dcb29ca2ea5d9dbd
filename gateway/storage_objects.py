"""Storage in an object store (S3, Google Cloud, Azure) or in memory, over obstore."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import from_url

from gateway.storage_base import CHUNK, MissingObjectError, StorageError, Stored, StoredObject

_PART: Final = 5 * 1024 * 1024  # the least that S3 takes as a part; up to this one plain request
_PARTS_AT_ONCE: Final = 2


class Objects:
    """Objects in a store. Credentials come from the environment, as the store's own tools read them."""

    def __init__(self, url: str) -> None:
        try:
            self._store = from_url(url)
        except (BaseError, ValueError) as error:
            raise StorageError(f"the storage URL cannot be used: {error}") from error

    async def put(self, key: str, chunks: AsyncIterator[bytes], content_type: str) -> Stored:
        """Up to one part in one request, more as a multipart upload that is aborted on any error."""
        source = _Source(chunks)
        head = bytearray()
        async for chunk in source:
            head += chunk
            if len(head) > _PART:
                break
        async with _translated(key, source):
            await obstore.put_async(
                self._store,
                key,
                _chain(bytes(head), source) if len(head) > _PART else bytes(head),
                attributes={"Content-Type": content_type},
                chunk_size=_PART,
                max_concurrency=_PARTS_AT_ONCE,
            )
        return source.stored()

    async def put_file(self, key: str, path: Path, content_type: str) -> Stored:
        """Read the file in a thread, one part at a time."""
        return await self.put(key, _file_chunks(path), content_type)

    async def stream(self, key: str, start: int, length: int | None) -> AsyncGenerator[bytes]:
        """One ranged GET; the store is read no faster than the client takes it."""
        async with _translated(key):
            result = await obstore.get_async(self._store, key, options=_range(start, length))
            async for block in result.stream(min_chunk_size=CHUNK):
                view = memoryview(block)
                for offset in range(0, len(view), CHUNK):
                    yield bytes(view[offset : offset + CHUNK])

    async def head(self, key: str) -> StoredObject | None:
        """One HEAD."""
        try:
            async with _translated(key):
                meta = await obstore.head_async(self._store, key)
        except MissingObjectError:
            return None
        return StoredObject(
            size=meta["size"],
            etag=(meta["e_tag"] or "").strip('"'),
            modified_ms=int(meta["last_modified"].timestamp() * 1000),
        )

    async def delete(self, key: str) -> None:
        """Remove the object."""
        try:
            async with _translated(key):
                await obstore.delete_async(self._store, key)
        except MissingObjectError:
            return

    async def delete_prefix(self, prefix: str) -> None:
        """List, then delete in bulk."""
        async with _translated(prefix):
            async for batch in obstore.list(self._store, prefix.rstrip("/")):
                await obstore.delete_async(self._store, [meta["path"] for meta in batch])

    async def folders(self, prefix: str) -> list[str]:
        """One delimited listing."""
        async with _translated(prefix):
            found = await obstore.list_with_delimiter_async(self._store, prefix)
        return [each.rstrip("/").rpartition("/")[2] for each in found["common_prefixes"]]

    async def remove_stale(self, older_than_seconds: float) -> int:  # noqa: ARG002
        """Nothing: the store's lifecycle rule ends aborted multipart uploads."""
        return 0

    def path_of(self, key: str) -> Path | None:  # noqa: ARG002
        """No object of a store is a local file."""
        return None


class _Source:
    """The incoming chunks: hashed, counted, and with their own error kept apart from the store's."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.sha256()
        self._size = 0
        self.error: BaseException | None = None

    def __aiter__(self) -> "_Source":
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            raise
        except BaseException as error:
            self.error = error
            raise
        self._hash.update(chunk)
        self._size += len(chunk)
        return chunk

    def stored(self) -> Stored:
        return Stored(bytes=self._size, sha256=self._hash.hexdigest())


@asynccontextmanager
async def _translated(key: str, source: _Source | None = None) -> AsyncIterator[None]:
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise MissingObjectError(f"there is no object {key}") from error
    except (BaseError, OSError) as error:
        if source is not None and source.error is not None:
            raise source.error from None
        raise StorageError(f"the object store failed on {key}: {error}") from error


async def _chain(head: bytes, source: _Source) -> AsyncIterator[bytes]:
    yield head
    async for chunk in source:
        yield chunk


async def _file_chunks(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb", buffering=0) as file:
        while block := await asyncio.to_thread(file.read, _PART):
            yield block


def _range(start: int, length: int | None) -> Any:
    if length is not None:
        return {"range": (start, start + length)}
    return {"range": {"offset": start}} if start else None
