"""Input files put to a signed address that an upstream names for them, before the create."""

import asyncio
from collections.abc import Mapping
from typing import Final

from providers import answers
from providers.contract import ErrorKind, MediaInput, ProviderError
from providers.http import HttpDoor, RefusedUrl

_UPLOAD_SECONDS: Final = 300.0


async def put(
    http: HttpDoor, url: str, media: MediaInput, headers: Mapping[str, str], max_bytes: int
) -> None:
    """PUT the file, which has at most `max_bytes`, to a stranger's URL: no credential goes along.

    Raises ProviderError, never ambiguous: INPUT_MEDIA for the file, PROVIDER_ERROR or PROVIDER_UNAVAILABLE for the way.
    """
    if media.size > max_bytes:
        raise ProviderError(
            ErrorKind.INPUT_MEDIA,
            f"the {media.role.value} file has {media.size} bytes; at most {max_bytes} can be uploaded",
        )
    body = b"".join([chunk async for chunk in media.open()])
    deadline = asyncio.get_running_loop().time() + _UPLOAD_SECONDS
    try:
        with answers.before_create():
            answer = await http.open_public(
                "PUT", url, headers=headers, timeout=_UPLOAD_SECONDS, deadline=deadline, body=body
            )
    except RefusedUrl as error:
        message = f"the address that the upstream named for the upload is refused: {error.message}"
        raise ProviderError(ErrorKind.PROVIDER_ERROR, message) from error
    await answer.aclose()
    if not 200 <= answer.status_code < 300:
        kind = ErrorKind.PROVIDER_UNAVAILABLE if answer.status_code >= 500 else ErrorKind.PROVIDER_ERROR
        message = f"the address that the upstream named for the upload answered HTTP {answer.status_code}"
        raise ProviderError(kind, message, http_status=answer.status_code)
