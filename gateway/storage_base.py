"""What a place for bytes answers and raises; the two kinds are local files and object stores."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

T = TypeVar("T")

CHUNK: Final = 256 * 1024
"""Bytes per chunk of a stream: large enough to be cheap, small enough for many slow clients."""

_KEY = re.compile(r"(?!\.)[A-Za-z0-9._-]+(/(?!\.)[A-Za-z0-9._-]+)*")


class StorageError(Exception):
    """The storage failed (full, unreachable, refused): the same call may succeed later."""


class MissingObjectError(StorageError):
    """There is no object under this key."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What was written: length in bytes and hex SHA-256."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What lies under a key. `etag` without quotes changes with the content."""

    size: int
    etag: str
    modified_ms: int


def check_key(key: str) -> str:
    """Return the key; ValueError for one that could leave its place (ours never do)."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a storage key: {key!r}")
    return key


async def run_to_end(executor: Executor | None, function: Callable[..., T], *args: object) -> T:
    """Run in a thread; a cancelled caller still waits for it, so that nobody closes a file in use."""
    future = asyncio.get_running_loop().run_in_executor(executor, function, *args)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()
        raise


class Backend(Protocol):
    """One kind of storage. Every method raises StorageError; keys are already checked."""

    async def put(self, key: str, chunks: AsyncIterator[bytes], content_type: str) -> Stored:
        """Write everything or nothing; an error of `chunks` passes through unchanged."""
        ...

    async def put_file(self, key: str, path: Path, content_type: str) -> Stored:
        """Write a local file, which the caller may delete afterwards but never change."""
        ...

    def stream(self, key: str, start: int, length: int | None) -> AsyncGenerator[bytes]:
        """Read in chunks of at most CHUNK bytes; MissingObjectError on the first step."""
        ...

    async def head(self, key: str) -> StoredObject | None:
        """Size and version, None when there is no such object."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; one that is gone is no error."""
        ...

    async def delete_prefix(self, prefix: str) -> None:
        """Remove every object below the folder `prefix`."""
        ...

    async def folders(self, prefix: str) -> list[str]:
        """Name the folders directly below the folder `prefix`."""
        ...

    async def remove_stale(self, older_than_seconds: float) -> int:
        """Remove what interrupted writes left behind; how many."""
        ...

    def path_of(self, key: str) -> Path | None:
        """Name the object as a local file, None where it is not one."""
        ...
