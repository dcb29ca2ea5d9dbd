"""A job's input: the fields of a request, checked and made explicit."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal, get_args

from local_backend.errors import bad_value
from local_backend.frames import VideoFacts
from providers.contract import MediaRole, Operation
from providers.presets import Preset

_MAX_PROMPT_CHARS = 32_000
_MAX_SEED = 2**63 - 1
_MAX_SOURCE_SECONDS = 600
_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})

Quality = Literal["exact", "fast"]
"""`exact`: nothing that changes the picture beyond float noise. `fast`: what the worker has measured to be quicker."""


PARTS: Final[Mapping[MediaRole, str]] = {
    MediaRole.FIRST_FRAME: "input_reference",
    MediaRole.LAST_FRAME: "last_frame",
    MediaRole.REFERENCE: "reference_images[]",
    MediaRole.SOURCE: "video",
    MediaRole.EXTEND_FROM: "video",
}
"""The form part of an input file."""


@dataclass(frozen=True, slots=True)
class Order:
    """One generation. `seconds` is the length made (for an extension, added); sizes are pixels.

    `total_seconds` is the length of the finished file, rounded to whole seconds, as the API says it.
    """

    video_id: str
    attempt_id: str
    preset: Preset
    operation: Operation
    prompt: str
    negative_prompt: str
    width: int
    height: int
    seconds: int
    total_seconds: int
    seed: int
    steps: int
    guidance: float
    strength: float
    quality: Quality = "exact"
    sound: bool = True
    media: Mapping[MediaRole, tuple[Path, ...]] = field(default_factory=dict)

    def file(self, role: MediaRole) -> Path | None:
        """The one input file of this role."""
        return next(iter(self.media.get(role, ())), None)

    @property
    def source(self) -> Path | None:
        """The video that is made anew or continued."""
        return self.file(MediaRole.SOURCE) or self.file(MediaRole.EXTEND_FROM)


def video_id(attempt_id: str) -> str:
    """The id of an attempt's video: the same for every create of that attempt, in every worker."""
    return f"video_{hashlib.sha256(attempt_id.encode()).hexdigest()[:32]}"


def new_attempt_id() -> str:
    """An attempt id for a caller that names none."""
    return f"att_{secrets.token_hex(16)}"


def read_attempt_id(fields: Mapping[str, Any]) -> str:
    """The caller's attempt id, or a new one."""
    value = fields.get("attempt_id")
    if value is None:
        return new_attempt_id()
    if not isinstance(value, str) or not 1 <= len(value) <= 200:
        raise bad_value("attempt_id", "attempt_id must be a text of 1 to 200 characters.")
    return value


def read_order(
    fields: Mapping[str, Any],
    operation: Operation,
    media: Mapping[MediaRole, tuple[Path, ...]],
    source: VideoFacts | None,
    presets: Mapping[str, Preset],
) -> Order:
    """Check the fields and files. `source` is what was found in the source video of an edit, remix or extension.

    `presets` are the models that are served, by name; the first one is taken where none is named.
    """
    attempt_id = read_attempt_id(fields)
    preset = _preset(fields.get("model"), presets)
    _check_task(preset, operation, media)
    width, height = _size(fields.get("size"), operation, source, preset)
    seconds = _seconds(fields.get("seconds"), operation, source, preset)
    total = seconds
    if operation is Operation.EXTEND and source is not None:
        total = max(1, round(source.duration + seconds))
    return Order(
        video_id=video_id(attempt_id),
        attempt_id=attempt_id,
        preset=preset,
        operation=operation,
        prompt=_prompt(fields),
        negative_prompt=_text(fields, "negative_prompt"),
        width=width,
        height=height,
        seconds=seconds,
        total_seconds=total,
        seed=_seed(fields.get("seed"), attempt_id),
        steps=int(_number(fields, "num_inference_steps", preset.weights.steps, 2, 100)),
        guidance=_number(fields, "guidance_scale", preset.weights.guidance, 1, 20),
        strength=_number(fields, "strength", preset.weights.strength, 0.05, 1),
        quality=_quality(fields.get("quality")),
        sound=_sound(fields.get("audio"), preset),
        media=media,
    )


def _preset(model: Any, presets: Mapping[str, Preset]) -> Preset:
    if model in (None, ""):
        return next(iter(presets.values()))
    if not isinstance(model, str) or model not in presets:
        served = ", ".join(presets)
        raise bad_value("model", f"This worker serves {served}, not '{model}'.", code="model_not_found")
    return presets[model]


def _check_task(preset: Preset, operation: Operation, media: Mapping[MediaRole, tuple[Path, ...]]) -> None:
    """Refuse what the model cannot start from. WorkerError names the field."""
    if operation not in preset.operations:
        offered = ", ".join(sorted(preset.operations))
        raise bad_value("model", f"{preset.id} cannot {operation}; it can {offered}.")
    for role in sorted(media):
        if role not in preset.roles:
            taken = ", ".join(sorted(PARTS[each] for each in preset.roles & PARTS.keys())) or "no files"
            raise bad_value(PARTS[role], f"{preset.id} takes no {role.value} here; it takes {taken}.")
    for role in sorted(preset.required_roles - media.keys() if operation is Operation.GENERATE else ()):
        message = f"{preset.id} starts from an image: the file part '{PARTS[role]}' is required."
        raise bad_value(PARTS[role], message, code="missing_required_parameter")
    if len(media.get(MediaRole.REFERENCE, ())) > preset.max_reference_images:
        message = f"{preset.id} takes at most {preset.max_reference_images} reference images."
        raise bad_value(PARTS[MediaRole.REFERENCE], message)


def _prompt(fields: Mapping[str, Any]) -> str:
    prompt = _text(fields, "prompt")
    if not prompt.strip():
        raise bad_value("prompt", "prompt is required.", code="missing_required_parameter")
    return prompt


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name) or ""
    if not isinstance(value, str):
        raise bad_value(name, f"{name} must be a text.")
    if len(value) > _MAX_PROMPT_CHARS:
        raise bad_value(name, f"{name} may have at most {_MAX_PROMPT_CHARS} characters.")
    return value


def _size(value: Any, operation: Operation, source: VideoFacts | None, preset: Preset) -> tuple[int, int]:
    """An extension keeps its source's pixel size; an edit without a size does too."""
    if source is not None and (operation is Operation.EXTEND or value in (None, "")):
        return source.width // 2 * 2, source.height // 2 * 2
    size = value or preset.default_size or preset.sizes[0]
    if size not in preset.sizes:
        raise bad_value("size", f"size must be one of {', '.join(preset.sizes)}.")
    width, height = size.split("x")
    return int(width), int(height)


def _seconds(value: Any, operation: Operation, source: VideoFacts | None, preset: Preset) -> int:
    """Whole seconds. An edit takes any length up to the longest source; its own source's length if unsaid."""
    edits = source is not None and operation is not Operation.EXTEND
    if value in (None, ""):
        return max(1, round(source.duration)) if edits and source else int(preset.seconds[0])
    seconds = _whole(value)
    if edits and 1 <= seconds <= _MAX_SOURCE_SECONDS:
        return int(seconds)
    if seconds not in preset.seconds:
        raise bad_value("seconds", f"seconds must be one of {', '.join(map(str, preset.seconds))}.")
    return int(seconds)


def _whole(value: Any) -> Fraction:
    try:
        return Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise bad_value("seconds", "seconds must be a number.") from None


def _quality(value: Any) -> Quality:
    if value in (None, "", "exact"):
        return "exact"
    if value != "fast":
        raise bad_value("quality", f"quality must be one of {', '.join(get_args(Quality))}.")
    return "fast"


def _sound(value: Any, preset: Preset) -> bool:
    """Whether the file gets the sound that the model makes."""
    if value in (None, ""):
        return preset.default_audio is not False
    said = str(value).lower()
    if said not in _TRUE | _FALSE:
        raise bad_value("audio", "audio must be true or false.")
    if said in _TRUE and preset.audio in (None, "none"):
        raise bad_value("audio", f"audio must be false: {preset.id} makes no sound.")
    return said in _TRUE


def _seed(value: Any, attempt_id: str) -> int:
    """The caller's seed, or one that the attempt id fixes, so that a lost job comes back the same."""
    if value in (None, ""):
        return int.from_bytes(hashlib.sha256(f"seed:{attempt_id}".encode()).digest()[:4])
    seed = str(value)
    if not seed.isascii() or not seed.isdigit() or int(seed) > _MAX_SEED:
        raise bad_value("seed", f"seed must be a whole number from 0 to {_MAX_SEED}.")
    return int(seed)


def _number(fields: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = fields.get(name)
    if value in (None, ""):
        return default
    try:
        number = float(str(value))
    except ValueError:
        raise bad_value(name, f"{name} must be a number.") from None
    if not low <= number <= high:
        raise bad_value(name, f"{name} must be from {low:g} to {high:g}.")
    return number
