"""What a file's Content Credentials (C2PA) say: imported by the media worker only."""

import json
from pathlib import Path
from typing import Any, Final

from c2pa import C2paError, Context, Reader

from gateway.media import MediaError
from gateway.media.claim import SIGNING_PURPOSES

_LONGEST: Final = 300


def read_credentials(path: Path, media_type: str, roots: str | None) -> dict[str, Any] | None:
    """Read who signed a file, when, and what of it; None where it has no claim. `roots` are trusted beside the usual."""
    trust: dict[str, Any] = {"trust_config": "\n".join(SIGNING_PURPOSES)}
    if roots:
        trust["user_anchors"] = roots
    verify = {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False}
    try:
        with (
            Context.from_dict({"trust": trust, "verify": verify}) as context,
            path.open("rb") as file,
            Reader(media_type, file, context=context) as reader,
        ):
            return _told(json.loads(reader.json()), str(reader.get_validation_state()))
    except C2paError.ManifestNotFound:
        return None
    except C2paError as error:
        raise MediaError(f"the claim cannot be read: {error}") from error


def _told(found: dict[str, Any], state: str) -> dict[str, Any]:
    active = found["manifests"][found["active_manifest"]]
    signed = active.get("signature_info") or {}
    made_with = [each.get("name") for each in active.get("claim_generator_info") or []]
    return {
        "state": state.lower(),  # trusted | valid | invalid
        "signer": _short(signed.get("common_name") or signed.get("issuer")),
        "issuer": _short(signed.get("issuer")),
        "algorithm": _short(signed.get("alg")),
        "time_stamp": _short(signed.get("time")),
        "software": _short(", ".join(str(name) for name in made_with if name)),
        "actions": [_action(each) for each in _actions(active)][:20],
        "ingredients": len(active.get("ingredients") or []),
    }


def _actions(active: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        action
        for assertion in active.get("assertions", [])
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for action in assertion["data"].get("actions", [])
    ]


def _action(action: dict[str, Any]) -> dict[str, str | None]:
    source = str(action.get("digitalSourceType") or "").rpartition("/")[2]
    return {
        "action": _short(action.get("action")),
        "source": _short(source),
        "description": _short(action.get("description")),
        "when": _short(action.get("when")),
    }


def _short(text: Any) -> str | None:
    return str(text)[:_LONGEST] if text else None
