"""LTX-Video: 8k + 1 frames, sides in multiples of 32; pictures and clips at any frame are conditions."""

from collections.abc import Mapping
from typing import Any

from local_backend.families.family import Conditions, Family, Task
from local_backend.families.same_weights import on_the_same_weights


def _tasks(pipeline: Any) -> Mapping[Task, Any]:
    from diffusers import LTXConditionPipeline

    conditioned = on_the_same_weights(LTXConditionPipeline, pipeline)
    return {
        Task.TEXT: pipeline,
        Task.IMAGE: conditioned,
        Task.VIDEO: conditioned,
        Task.CONTINUE: conditioned,
    }


def _conditions(_pipeline: Any, given: Conditions) -> dict[str, Any]:
    """A clip to make anew is one whose frames hold only so much: `strength` is what is left to the model."""
    from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

    conditions = []
    if given.first is not None:
        conditions.append(LTXVideoCondition(image=given.first, frame_index=0))
    if given.last is not None:
        conditions.append(LTXVideoCondition(image=given.last, frame_index=given.frames - 1))
    if given.clip:
        held = 1 - given.strength if given.task is Task.VIDEO else 1.0
        conditions.append(LTXVideoCondition(video=list(given.clip), frame_index=0, strength=held))
    return {"conditions": conditions} if conditions else {}


FAMILY = Family(
    name="ltx",
    classes=frozenset({"LTXPipeline", "LTXConditionPipeline", "LTXImageToVideoPipeline"}),
    tasks=_tasks,
    frame_step=8,
    frame_offset=1,
    multiple=32,
    continues=True,
    overlap=17,
    rate_argument="frame_rate",
    conditions=_conditions,
)
