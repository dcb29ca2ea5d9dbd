"""HunyuanVideo 1.5: 4k + 1 frames; guidance belongs to the pipeline's guider, and a picture decides the size."""

from collections.abc import Mapping
from typing import Any

from local_backend.families.family import Family, Task


def _tasks(pipeline: Any) -> Mapping[Task, Any]:
    from diffusers import HunyuanVideo15ImageToVideoPipeline

    starts_from_image = isinstance(pipeline, HunyuanVideo15ImageToVideoPipeline)
    return {Task.IMAGE if starts_from_image else Task.TEXT: pipeline}


def _guidance(pipeline: Any, scale: float) -> dict[str, Any]:
    pipeline.guider = pipeline.guider.new(guidance_scale=scale)
    return {}


FAMILY = Family(
    name="hunyuan_video",
    classes=frozenset({"HunyuanVideo15Pipeline", "HunyuanVideo15ImageToVideoPipeline"}),
    tasks=_tasks,
    frame_step=4,
    frame_offset=1,
    multiple=16,
    batches=False,  # the attention of its VAE fails on more than one clip
    guidance=_guidance,
)
