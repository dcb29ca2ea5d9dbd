"""SkyReels V2 with diffusion forcing: 4k + 1 frames, long videos in overlapping parts, real extension."""

from collections.abc import Mapping
from typing import Any, Final

from local_backend.errors import MediaError
from local_backend.families.family import Conditions, Family, Task
from local_backend.families.same_weights import on_the_same_weights

_PART: Final = 97  # frames made at once
_OVERLAP: Final = 17  # frames that a part takes over from the one before


def _tasks(pipeline: Any) -> Mapping[Task, Any]:
    from diffusers import (
        SkyReelsV2DiffusionForcingImageToVideoPipeline,
        SkyReelsV2DiffusionForcingVideoToVideoPipeline,
    )

    return {
        Task.TEXT: pipeline,
        Task.IMAGE: on_the_same_weights(SkyReelsV2DiffusionForcingImageToVideoPipeline, pipeline),
        Task.CONTINUE: on_the_same_weights(SkyReelsV2DiffusionForcingVideoToVideoPipeline, pipeline),
    }


def _conditions(_pipeline: Any, given: Conditions) -> dict[str, Any]:
    if given.last is not None and given.frames > _PART:
        raise MediaError("A last frame goes with a video of one part only: ask for a shorter one.")
    arguments: dict[str, Any] = {"base_num_frames": min(_PART, given.frames)}
    if given.frames > _PART or given.clip:
        arguments["overlap_history"] = _OVERLAP
    images = {"image": given.first, "last_image": given.last, "video": list(given.clip) or None}
    return {**arguments, **{name: value for name, value in images.items() if value is not None}}


def parts(frames: int) -> int:
    """In how many passes so many frames are made, each with all its steps."""
    return 1 + max(0, -(-(frames - _PART) // (_PART - _OVERLAP)))


FAMILY = Family(
    name="skyreels",
    classes=frozenset({"SkyReelsV2DiffusionForcingPipeline"}),
    tasks=_tasks,
    frame_step=4,
    frame_offset=1,
    multiple=16,
    continues=True,
    overlap=_OVERLAP,
    repeats_clip=True,
    passes=parts,
    rate_argument="fps",
    conditions=_conditions,
)
