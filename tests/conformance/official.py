"""What every vendor's client must be able to do with our fake of that vendor's API."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import httpx

PROMPT = "a lighthouse at dusk"


@dataclass(frozen=True)
class Ended:
    """How a job ended, as the client shows it: the vendor's word, why it failed, the file."""

    state: str
    reason: str = ""
    video: bytes = b""


class OfficialClient(ABC):
    """One vendor's client, pointed at the fake. Subclasses declare what it says in the cases that it tells apart."""

    provider: ClassVar[str]
    """The upstream type whose fake it talks to."""
    success: ClassVar[str]
    """Its word for a video that is done."""
    refusals: ClassVar[Mapping[str, tuple[type[Exception], str]]]
    """Fault: the class that it raises, and a part of what that says. "auth" is met with a wrong key."""
    ends: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Fault of a job: its word for the state, and a part of the reason."""
    cancelled: ClassVar[str | None] = None
    """What `cancel` returns; None where it cannot cancel."""

    def __init__(self, origin: str, credential: str) -> None:
        self.origin = origin
        self.credential = credential

    @abstractmethod
    def make(self, prompt: str) -> Ended:
        """Create a video and wait for its end by the client's own methods."""

    def cancel(self, prompt: str) -> str:
        """Create a video, stop it, and return the client's word for what became of it."""
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027 - not every client holds connections
        """Let its connections go."""


def told(error: BaseException) -> str:
    """All that an error says: its text and what its attributes hold."""
    return f"{error} {vars(error)}"


def fetched(url: str) -> bytes:
    """The file behind an address, where the client leaves the download to its user."""
    return httpx.get(url, timeout=30).raise_for_status().content
