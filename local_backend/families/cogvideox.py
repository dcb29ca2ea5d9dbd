"""CogVideoX and 1.5: 8k + 1 frames (others come out as another number); text and video to video on one set of weights, images on another."""

from collections.abc import Mapping
from typing import Any

from local_backend.families.family import Family, Task
from local_backend.families.same_weights import on_the_same_weights


def _tasks(pipeline: Any) -> Mapping[Task, Any]:
    from diffusers import CogVideoXImageToVideoPipeline, CogVideoXVideoToVideoPipeline

    if isinstance(pipeline, CogVideoXImageToVideoPipeline):
        return {Task.IMAGE: pipeline}
    return {
        Task.TEXT: pipeline,
        Task.VIDEO: on_the_same_weights(CogVideoXVideoToVideoPipeline, pipeline),
    }


FAMILY = Family(
    name="cogvideox",
    classes=frozenset({"CogVideoXPipeline", "CogVideoXImageToVideoPipeline"}),
    tasks=_tasks,
    frame_step=8,
    frame_offset=1,
    multiple=16,
)
