"""Images and videos: what a file really is, and its previews. All decoding happens in subprocesses."""

from dataclasses import dataclass
from typing import Literal


class MediaError(Exception):
    """The file is not an image or video that is accepted; the message says why, fit for the client."""


class TooSlow(MediaError):
    """It took longer than any honest file does."""


class SigningError(Exception):
    """A video could not be signed, and not for a fault of its own: identity, timestamp server or disk."""


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What was found by decoding. Pixels, milliseconds; None where an image has no such thing."""

    kind: Literal["image", "video"]
    media_type: str
    width: int
    height: int
    duration_ms: int | None = None
    frames: int | None = None
    has_audio: bool = False
    has_claim: bool = False  # a C2PA manifest lies in the file
