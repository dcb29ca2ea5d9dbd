"""What a person can do about a video that failed, by the error's code."""

from collections.abc import Mapping
from typing import Final

_NEXT: Final[Mapping[str, str]] = {
    "moderation_blocked": "The provider's rules refused it. Say it in other words, or try another model.",
    "invalid_request": "The provider could not take this request. Change length, size or options, or try another model.",
    "input_media": "The provider could not use an input file. Try another file, as PNG, JPEG or MP4.",
    "out_of_memory": "It was too large for the machine. Ask for a shorter or smaller video.",
    "cancelled": "It was stopped before it ended. Make it again whenever you like.",
    "expired": "It took too long, or the provider lost it. Making it again usually works.",
    "model_retired": "The provider no longer offers this model. Choose another one.",
    "provider_unavailable": "The provider was busy or away. Try again in a few minutes, or name fallback models.",
    "submission_unknown": "Nobody could tell whether the provider had taken it, so it was not sent twice. Make it again.",
    "provenance_failed": "Its origin could not be signed, so it was not delivered. Tell the operator of this server.",
    "watermark_failed": "It could not be marked as your plan asks, so it was not delivered. Try again.",
    "provider_error": "The provider failed. Try again, or try another model.",
}


def advice(code: str) -> str:
    """Say the next step."""
    return _NEXT.get(code, _NEXT["provider_error"])
