"""Mochi 1 (Apache-2.0): 6k + 1 frames, text to video."""

from collections.abc import Mapping
from typing import Any

from local_backend.families.family import Family, Task


def _tasks(pipeline: Any) -> Mapping[Task, Any]:
    return {Task.TEXT: pipeline}


FAMILY = Family(
    name="mochi",
    classes=frozenset({"MochiPipeline"}),
    tasks=_tasks,
    frame_step=6,
    frame_offset=1,
    multiple=16,
)
