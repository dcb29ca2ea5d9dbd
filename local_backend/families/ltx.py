"""LTX-Video: 8k + 1 frames, sides in multiples of 32; pictures and clips at any frame are conditions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from local_backend.families.family import Conditions, Family, Task
from local_backend.families.same_weights import on_the_same_weights


def _tasks(pipeline: Any) -> Mapping[Task, Any]:
    from diffusers import LTXConditionPipeline

    return tasks_with(LTXConditionPipeline, pipeline)


def tasks_with(kind: type[Any], pipeline: Any) -> Mapping[Task, Any]:
    """The loaded pipeline for text, and one of `kind`, which takes conditions, for the rest."""
    conditioned = on_the_same_weights(kind, pipeline)
    return {Task.TEXT: pipeline, **dict.fromkeys((Task.IMAGE, Task.VIDEO, Task.CONTINUE), conditioned)}


@dataclass(frozen=True, slots=True)
class Known:
    """Frames that are given: at the beginning, or one at the end. `strength`: how far they hold, 0..1."""

    frames: Sequence[Image.Image]
    at_end: bool = False
    strength: float = 1.0


def known(given: Conditions) -> list[Known]:
    """A clip to make anew is one whose frames hold only so much: `strength` of a request is what the model is left."""
    held = 1 - given.strength if given.task is Task.VIDEO else 1.0
    found = [Known([given.first])] if given.first is not None else []
    if given.clip:
        found.append(Known(given.clip, strength=held))
    if given.last is not None:
        found.append(Known([given.last], at_end=True))
    return found


def _conditions(_pipeline: Any, given: Conditions) -> dict[str, Any]:
    """`frame_index` counts frames of the video."""
    from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

    conditions = [
        LTXVideoCondition(
            video=list(each.frames),
            frame_index=given.frames - 1 if each.at_end else 0,
            strength=each.strength,
        )
        for each in known(given)
    ]
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
