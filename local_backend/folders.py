"""Where the weights of a model lie. No torch: the HTTP side looks here too."""

from pathlib import Path

import local_backend
from providers.presets import Preset


def folder_of(preset: Preset, models_dir: Path) -> Path:
    """The folder of its weights, which may not be there yet."""
    if preset.weights.origin == "package":
        return Path(local_backend.__file__).parent / preset.weights.family / "weights"
    return models_dir / preset.id.replace("/", "--")


def present(preset: Preset, models_dir: Path) -> bool:
    """Whether it can be loaded without a pull."""
    return preset.weights.origin == "built" or folder_of(preset, models_dir).is_dir()
