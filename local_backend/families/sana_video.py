"""SANA-Video: 4k + 1 frames, sides in multiples of 32; text and images to video on the same weights."""

from collections.abc import Mapping
from typing import Any

from local_backend.families.family import Family, Task
from local_backend.families.same_weights import on_the_same_weights


def _tasks(pipeline: Any) -> Mapping[Task, Any]:
    from diffusers import SanaImageToVideoPipeline

    return {Task.TEXT: pipeline, Task.IMAGE: on_the_same_weights(SanaImageToVideoPipeline, pipeline)}


FAMILY = Family(
    name="sana_video",
    classes=frozenset({"SanaVideoPipeline"}),
    tasks=_tasks,
    frame_step=4,
    frame_offset=1,
    multiple=32,
    frames_argument="frames",
    # its bins are the two sizes it was trained at; ours are chosen by the preset's area
    arguments={"use_resolution_binning": False},
)
