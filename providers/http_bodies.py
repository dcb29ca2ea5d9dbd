"""Bodies of answers: read in pieces, bounded in bytes and time, closed whatever happens."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
import httpx

from providers.answers import retry_after
from providers.contract import Content, ErrorKind, ProviderError

_TEMPORARY: Final = frozenset({408, 425, 429})


async def checked_content(answer: httpx.Response, max_bytes: int, deadline: float) -> Content:
    """The file that a stranger's URL gave. ProviderError: INPUT_MEDIA, or PROVIDER_UNAVAILABLE where it may pass."""
    status = answer.status_code
    if status == 200:
        return content_of(answer, max_bytes, deadline, ErrorKind.INPUT_MEDIA)
    wait = retry_after(answer.headers)
    await answer.aclose()
    temporary = status >= 500 or status in _TEMPORARY
    kind = ErrorKind.PROVIDER_UNAVAILABLE if temporary else ErrorKind.INPUT_MEDIA
    raise ProviderError(
        kind, f"the URL's server answered HTTP {status}", retry_after=wait, http_status=status
    )


def content_of(answer: httpx.Response, max_bytes: int, deadline: float, kind: ErrorKind) -> Content:
    """An answer as a file on its way, at most `max_bytes`; a longer one raises ProviderError of this kind."""
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    announced = answer.headers.get("content-length", "")
    length = int(announced) if announced.isdigit() and "content-encoding" not in answer.headers else None
    return Content(media_type, length, chunks(answer, max_bytes, deadline, kind))


async def chunks(
    answer: httpx.Response,
    max_bytes: int,
    deadline: float,
    too_large: ErrorKind,
) -> AsyncIterator[bytes]:
    """The body, decoded and bounded. Raises ProviderError PROVIDER_UNAVAILABLE if it breaks off."""
    received = 0
    try:
        parts = aiter(answer.aiter_bytes())
        while True:
            async with asyncio.timeout_at(deadline):
                chunk = await anext(parts, None)
            if chunk is None:
                return
            received += len(chunk)
            if received > max_bytes:
                raise ProviderError(too_large, f"the answer is longer than {max_bytes} bytes")
            yield chunk
    except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
        message = (
            "the download took too long" if isinstance(error, TimeoutError) else "the download broke off"
        )
        raise ProviderError(ErrorKind.PROVIDER_UNAVAILABLE, message) from error
    finally:
        with contextlib.suppress(httpx.HTTPError, aiohttp.ClientError, OSError):
            await answer.aclose()
