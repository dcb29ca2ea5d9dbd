"""Where the weights of a model lie. No torch: the HTTP side looks here too."""

from pathlib import Path

import local_backend
from local_backend.errors import WorkerError
from providers.presets import Preset


def folder_of(preset: Preset, models_dir: Path) -> Path:
    """The folder of its weights, which may not be there yet."""
    if preset.weights.folder is not None:
        return preset.weights.folder
    if preset.weights.origin == "package":
        return Path(local_backend.__file__).parent / preset.weights.family / "weights"
    return models_dir / preset.folder_name


def present(preset: Preset, models_dir: Path) -> bool:
    """Whether its weights are there, or can be made there."""
    return preset.weights.origin == "built" or folder_of(preset, models_dir).is_dir()


def check_present(preset: Preset, models_dir: Path) -> None:
    """Refuse what cannot be loaded. WorkerError 404: to the gateway this worker does not have the model."""
    if not present(preset, models_dir):
        fix = (
            f"run `onereel models pull {preset.id}` there"
            if preset.weights.repo
            else "its folder is not there"
        )
        message = f"The weights of {preset.id} are not on this worker: {fix}."
        raise WorkerError(404, message, code="model_not_found", param="model")
