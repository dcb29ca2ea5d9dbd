"""What a C2PA claim says of a file, as the library's manifest definition: pure, without a key or a file.

A claim tells how the file came about and names the video and its model, never the prompt or who asked.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

from providers.contract import Operation

SIGNING_PURPOSES: Final = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1")
"""Extended key usages that may sign a claim: e-mail protection, document signing, C2PA claim signing."""
SIGNED_TYPES: Final = frozenset({"video/mp4", "video/quicktime"})
"""Containers that can carry a claim."""
PARENT: Final = "original"
"""The label of the file that was given to us, where it carries a claim of its own."""

_AGENT: Final = {"name": "onereel", "version": version("onereel")}
_SOURCES: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_MIXED: Final = frozenset({Operation.EDIT, Operation.EXTEND})  # may keep frames that no model made


@dataclass(frozen=True, slots=True)
class Claim:
    """`made_ms` is the time of the claim. With `has_parent` the file is another one's, worked on; else we had it made."""

    video_id: str
    model: str
    operation: Operation
    made_ms: int
    has_parent: bool = False
    visible_mark: bool = False
    invisible_mark: bool = False


def manifest(claim: Claim) -> dict[str, Any]:
    """The definition that the library builds the manifest from."""
    actions = [_opened() if claim.has_parent else _created(claim)]
    if claim.invisible_mark:
        # unbound: no soft binding leads from the mark to a manifest kept elsewhere
        actions.append({"action": "c2pa.watermarked.unbound", "description": "An invisible mark was put on."})
    if claim.visible_mark:
        actions.append({"action": "c2pa.edited", "description": "A visible mark was put on."})
    when = datetime.fromtimestamp(claim.made_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for action in actions:
        action |= {"when": when, "softwareAgent": _AGENT}
    return {
        "claim_generator_info": [_AGENT],
        "title": f"{claim.video_id}.mp4",
        "assertions": [{"label": "c2pa.actions", "data": {"actions": actions}}],
    }


def _created(claim: Claim) -> dict[str, Any]:
    kind = "compositeWithTrainedAlgorithmicMedia" if claim.operation in _MIXED else "trainedAlgorithmicMedia"
    return {
        "action": "c2pa.created",
        "digitalSourceType": _SOURCES + kind,
        "description": f"Made by the model {claim.model}.",
        "parameters": {"onereel.model": claim.model},
    }


def _opened() -> dict[str, Any]:
    return {"action": "c2pa.opened", "parameters": {"ingredientIds": [PARENT]}}
