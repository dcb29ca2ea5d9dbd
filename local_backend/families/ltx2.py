"""LTX-2: video and its sound together; 8k + 1 frames, sides in multiples of 32, pictures and clips as conditions."""

from collections.abc import Mapping
from typing import Any

from local_backend.clip import Sound
from local_backend.families.family import Conditions, Family, Task
from local_backend.families.same_weights import on_the_same_weights


def _tasks(pipeline: Any) -> Mapping[Task, Any]:
    from diffusers import LTX2ConditionPipeline

    conditioned = on_the_same_weights(LTX2ConditionPipeline, pipeline)
    return {
        Task.TEXT: pipeline,
        Task.IMAGE: conditioned,
        Task.VIDEO: conditioned,
        Task.CONTINUE: conditioned,
    }


def _conditions(_pipeline: Any, given: Conditions) -> dict[str, Any]:
    """`index` counts latent frames, -1 is the last one."""
    from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition

    conditions = []
    if given.first is not None:
        conditions.append(LTX2VideoCondition(frames=given.first, index=0))
    if given.last is not None:
        conditions.append(LTX2VideoCondition(frames=given.last, index=-1))
    if given.clip:
        held = 1 - given.strength if given.task is Task.VIDEO else 1.0
        conditions.append(LTX2VideoCondition(frames=list(given.clip), index=0, strength=held))
    return {"conditions": conditions} if conditions else {}


def _sounds(pipeline: Any, output: Any) -> list[Sound]:
    rate = int(pipeline.vocoder.config.output_sampling_rate)
    return [Sound(samples.float().cpu().numpy(), rate) for samples in output.audio]


FAMILY = Family(
    name="ltx2",
    classes=frozenset({"LTX2Pipeline", "LTX2ConditionPipeline", "LTX2ImageToVideoPipeline"}),
    tasks=_tasks,
    frame_step=8,
    frame_offset=1,
    multiple=32,
    continues=True,
    overlap=17,
    rate_argument="frame_rate",
    conditions=_conditions,
    sounds=_sounds,
)
