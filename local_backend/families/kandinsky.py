"""Kandinsky 5: 4k + 1 frames; text and images to video, each on its own weights."""

from collections.abc import Mapping
from typing import Any

from local_backend.families.family import Family, Task


def _tasks(pipeline: Any) -> Mapping[Task, Any]:
    from diffusers import Kandinsky5I2VPipeline

    return {Task.IMAGE if isinstance(pipeline, Kandinsky5I2VPipeline) else Task.TEXT: pipeline}


FAMILY = Family(
    name="kandinsky",
    classes=frozenset({"Kandinsky5T2VPipeline", "Kandinsky5I2VPipeline"}),
    tasks=_tasks,
    frame_step=4,
    frame_offset=1,
    multiple=16,
    batches=False,  # prompts of several lengths in one call change the picture by more than rounding
)
