"""Step-distilled LoRAs: beside the weights, off until an order asks for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from local_backend.features import transformers
from local_backend.folders import folder_of
from providers.presets import Preset

ADAPTER: Final = "distilled"


def load(preset: Preset, models_dir: Path, pipeline: Any) -> None:
    """Load the preset's LoRA into the pipeline and turn it off. FileNotFoundError where its file is not there."""
    few = preset.weights.distilled
    if few is None:
        return
    folder = folder_of(preset, models_dir) / ADAPTER
    for file, second in ((few.file, False), (few.file_2, True)):
        if file is None:
            continue
        if not (folder / file).is_file():
            raise FileNotFoundError(f"{preset.id}: its distilled LoRA {file} is not in {folder.parent.name}")
        extra = {"load_into_transformer_2": True} if second else {}
        pipeline.load_lora_weights(
            folder,
            weight_name=file,
            adapter_name=ADAPTER,
            use_safetensors=True,
            local_files_only=True,
            **extra,
        )
    for part in _adapted(pipeline):
        part.disable_lora()


@contextmanager
def applied(pipeline: Any, shift: float | None) -> Iterator[None]:
    """With the LoRA, and its flow shift, on for one call."""
    parts = _adapted(pipeline)
    for part in parts:
        part.enable_lora()
    try:
        with _shifted(pipeline.scheduler, shift):
            yield
    finally:
        for part in parts:
            part.disable_lora()


def _adapted(pipeline: Any) -> list[Any]:
    return [part for part in transformers(pipeline) if getattr(part, "peft_config", None)]


@contextmanager
def _shifted(scheduler: Any, shift: float | None) -> Iterator[None]:
    name = next((each for each in ("flow_shift", "shift") if each in scheduler.config), None)
    if name is None or shift is None:
        yield
        return
    usual = scheduler.config[name]
    _shift(scheduler, name, shift)
    try:
        yield
    finally:
        _shift(scheduler, name, usual)


def _shift(scheduler: Any, name: str, value: float) -> None:
    scheduler.register_to_config(**{name: value})
    if hasattr(scheduler, "set_shift"):
        scheduler.set_shift(value)
