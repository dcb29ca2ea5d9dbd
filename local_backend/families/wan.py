"""Wan 2.1 and 2.2 (Apache-2.0): 4k + 1 frames, 480p or 720p; text, images and video to video."""

from collections.abc import Mapping
from typing import Any

from local_backend.families.family import Family, Task
from local_backend.families.same_weights import on_the_same_weights


def _tasks(pipeline: Any) -> Mapping[Task, Any]:
    """Text-to-video weights serve video-to-video too, and the 5B layout (`expand_timesteps`) images as well."""
    from diffusers import WanImageToVideoPipeline, WanVideoToVideoPipeline

    if isinstance(pipeline, WanImageToVideoPipeline):
        return {Task.IMAGE: pipeline}
    tasks = {Task.TEXT: pipeline}
    if pipeline.config.get("expand_timesteps"):
        tasks[Task.IMAGE] = on_the_same_weights(
            WanImageToVideoPipeline, pipeline, image_encoder=None, image_processor=None, expand_timesteps=True
        )
    if pipeline.config.get("boundary_ratio") is None:
        tasks[Task.VIDEO] = on_the_same_weights(WanVideoToVideoPipeline, pipeline)
    return tasks


FAMILY = Family(
    name="wan",
    classes=frozenset({"WanPipeline", "WanImageToVideoPipeline"}),
    tasks=_tasks,
    frame_step=4,
    frame_offset=1,
    multiple=16,
    arguments={"max_sequence_length": 512},
)
