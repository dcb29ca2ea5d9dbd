"""Input files in the forms that upstreams take: an address, a data URI, plain base64."""

import base64
from collections.abc import Sequence
from typing import Final

from providers.contract import ErrorKind, MediaInput, ProviderError

_MEBIBYTE: Final = 1024 * 1024
_STEP: Final = 3 * 64 * 1024  # a multiple of three encodes without padding


async def base64_text(media: MediaInput, max_bytes: int) -> str:
    """The file as base64. ProviderError INPUT_MEDIA names the cap if the file is larger than `max_bytes`."""
    if media.size > max_bytes:
        raise ProviderError(
            ErrorKind.INPUT_MEDIA,
            f"the {media.role.value} file has {media.size} bytes; the upstream takes at most {_amount(max_bytes)}",
        )
    encoded = bytearray()
    pending = bytearray()
    read = 0
    async for chunk in media.open():
        read += len(chunk)
        if read > media.size:
            break
        pending += chunk
        ready = len(pending) - len(pending) % _STEP
        encoded += base64.b64encode(bytes(pending[:ready]))
        del pending[:ready]
    if read != media.size:
        raise ProviderError(
            ErrorKind.INPUT_MEDIA,
            f"the {media.role.value} file is not the {media.size} bytes long that were announced",
        )
    encoded += base64.b64encode(bytes(pending))
    return encoded.decode("ascii")


async def data_uri(media: MediaInput, max_bytes: int) -> str:
    """The file as a data URI. Raises as `base64_text`."""
    return f"data:{media.media_type};base64,{await base64_text(media, max_bytes)}"


def address(media: MediaInput) -> str:
    """The public address of the file, for upstreams that take nothing else."""
    if media.url is None:
        raise ProviderError(
            ErrorKind.INPUT_MEDIA,
            f"the upstream takes the {media.role.value} file only by address, and this server has none: "
            "set ONEREEL_PUBLIC_URL to where the internet reaches it",
        )
    return media.url


async def address_or_data(media: MediaInput, max_bytes: int) -> str:
    """The public https address where this server has one, else a data URI. Raises as `base64_text`."""
    if media.url is not None and _is_public(media):
        return media.url
    return await data_uri(media, max_bytes)


async def addresses_or_data(files: Sequence[MediaInput], max_bytes: int, together: int) -> list[str]:
    """The files as `address_or_data`, where those that go as data have at most `together` bytes in sum."""
    embedded = sum(media.size for media in files if not _is_public(media))
    if len(files) > 1 and embedded > together:
        raise ProviderError(
            ErrorKind.INPUT_MEDIA,
            f"the input files have {embedded} bytes together; the upstream takes at most {_amount(together)} that it "
            "cannot fetch itself: send smaller ones, or set ONEREEL_PUBLIC_URL to where the internet reaches this server",
        )
    return [await address_or_data(media, max_bytes) for media in files]


def _is_public(media: MediaInput) -> bool:
    return media.url is not None and media.url.startswith("https://")


def _amount(size: int) -> str:
    return f"{size // _MEBIBYTE} MiB" if size >= _MEBIBYTE else f"{size} bytes"
