"""Copy a stranger's URL to a local file: SSRF-checked on every hop, bounded in size and time."""

import asyncio
from pathlib import Path

from providers.contract import ErrorKind, ProviderError
from providers.http import HttpDoor
from providers.urls import UnsafeUrl

SECONDS = 60.0


class FetchError(Exception):
    """The URL gave no usable file; `temporary` when a later try may succeed."""

    def __init__(self, message: str, *, temporary: bool) -> None:
        super().__init__(message)
        self.temporary = temporary


class MediaFetcher:
    """The gateway's own downloader for input URLs."""

    def __init__(self, door: HttpDoor) -> None:
        self._door = door

    async def fetch(self, url: str, path: Path, *, max_bytes: int) -> int:
        """Write the body to `path`; answers its length in bytes. Raises FetchError."""
        try:
            content = await self._door.fetch(url, max_bytes=max_bytes, timeout=SECONDS)
            size = 0
            with path.open("wb") as file:
                async for chunk in content.chunks:
                    size += len(chunk)
                    await asyncio.to_thread(file.write, chunk)
        except UnsafeUrl as error:
            raise FetchError(str(error), temporary=False) from error
        except ProviderError as error:
            temporary = error.kind == ErrorKind.PROVIDER_UNAVAILABLE
            raise FetchError(error.message, temporary=temporary) from error
        return size
