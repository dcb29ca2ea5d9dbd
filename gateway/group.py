"""What the processes of one `serve` have in common, made before they are."""

from dataclasses import dataclass
from pathlib import Path

from gateway.local_worker import Place


@dataclass(frozen=True, slots=True)
class Group:
    """`place` is where the local worker is, if there is one; `metrics` the folder in which they count. One of them
    `speaks` to the operator."""

    place: Place | None
    metrics: Path
    speaks: bool = True
