"""The demo model of this package: 16 frames of a small world, on any machine in seconds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_backend.families.family import Family, Task


def _load(folder: Path) -> Any:
    from local_backend.demo.pipeline import DemoPipeline

    return DemoPipeline.from_pretrained(folder)


def _tasks(pipeline: Any) -> Mapping[Task, Any]:
    return dict.fromkeys(Task, pipeline)


FAMILY = Family(
    name="demo",
    tasks=_tasks,
    frame_step=16,
    frame_offset=0,
    multiple=32,
    frames_argument=None,
    negative_prompt=False,
    sized=False,
    fit="pad",
    load=_load,
)
