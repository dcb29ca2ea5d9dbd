"""Put a signed C2PA manifest into a video: imported by the media worker only, and only when there is one to sign.

The worker reads the file and builds the claim; the signature itself it asks the gateway for.
"""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from c2pa import Builder, C2paError, C2paSigningAlg, Context, Signer

from gateway.media import MediaError
from gateway.media.claim import PARENT, SIGNING_PURPOSES

_CONTEXT: Final = {
    # a file names addresses as it likes: none of them is asked
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
    "trust": {"trust_config": "\n".join(SIGNING_PURPOSES)},
}
_OURS: Final = (C2paError.Io, C2paError.Signature, C2paError.Verify)
"""Disk, identity or timestamp server at fault; the rest says that the file cannot be read."""


def sign(
    path: Path,
    out: Path,
    definition: dict[str, Any],
    ask: Callable[[bytes], bytes],
    *,
    media_type: str,
    chain: str,
    algorithm: str,
    timestamp_url: str | None,
    parent: Path | None,
    parent_type: str | None,
) -> None:
    """Write `out`: the same video with the claim, signed by whoever answers `ask`, checked once more when written.

    `parent` becomes its ingredient. MediaError for a file that the library cannot read, OSError where we are at fault;
    then no `out` stays.
    """
    try:
        with (
            Context.from_dict(_CONTEXT) as context,
            Signer.from_callback(ask, C2paSigningAlg[algorithm.upper()], chain, timestamp_url) as signer,
            Builder.from_json(definition, context) as builder,
        ):
            if parent is not None:
                ingredient = {
                    "title": "the file as it was delivered",
                    "relationship": "parentOf",
                    "label": PARENT,
                }
                with parent.open("rb") as file:
                    builder.add_ingredient(ingredient, parent_type, file)
            with path.open("rb") as source, out.open("w+b") as written:
                builder.sign(signer, media_type, source, written)
    except C2paError as error:
        out.unlink(missing_ok=True)
        if isinstance(error, _OURS):
            raise OSError(errno.EIO, str(error)) from error
        raise MediaError(f"C2PA cannot read it: {error}") from error
    except BaseException:
        out.unlink(missing_ok=True)
        raise
