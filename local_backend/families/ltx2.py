"""LTX-2: video and its sound together; 8k + 1 frames, sides in multiples of 32, pictures and clips as conditions."""

from collections.abc import Mapping
from typing import Any

from local_backend.clip import Sound
from local_backend.families.family import Conditions, Family, Task
from local_backend.families.ltx import known, tasks_with


def _tasks(pipeline: Any) -> Mapping[Task, Any]:
    from diffusers import LTX2ConditionPipeline

    return tasks_with(LTX2ConditionPipeline, pipeline)


def _conditions(_pipeline: Any, given: Conditions) -> dict[str, Any]:
    """`index` counts latent frames, -1 is the last one."""
    from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition

    conditions = [
        LTX2VideoCondition(frames=list(each.frames), index=-1 if each.at_end else 0, strength=each.strength)
        for each in known(given)
    ]
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
