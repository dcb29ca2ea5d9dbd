"""Wan 2.1 and 2.2 (Apache-2.0): 4k + 1 frames, 480p or 720p; text, images and video to video, and VACE."""

from collections.abc import Mapping
from typing import Any, Final

from PIL import Image

from local_backend.families.family import Conditions, Family, Task, plain
from local_backend.families.same_weights import on_the_same_weights

_OVERLAP: Final = 13  # frames of the source that VACE continues; 4k + 1 is the grid of its VAE
_GREY: Final = (127, 127, 127)  # VACE's word for a frame to be made
_MAKE, _KEEP = 255, 0  # its mask


def _tasks(pipeline: Any) -> Mapping[Task, Any]:
    """Text-to-video weights serve video-to-video too, and the 5B layout (`expand_timesteps`) images as well."""
    from diffusers import WanImageToVideoPipeline, WanVACEPipeline, WanVideoToVideoPipeline

    if isinstance(pipeline, WanVACEPipeline):
        return dict.fromkeys((Task.TEXT, Task.IMAGE, Task.CONTINUE), pipeline)
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


def _conditions(pipeline: Any, given: Conditions) -> dict[str, Any]:
    from diffusers import WanVACEPipeline

    return _vace(given) if isinstance(pipeline, WanVACEPipeline) else plain(pipeline, given)


def _vace(given: Conditions) -> dict[str, Any]:
    """The frames that are known where they belong, grey ones elsewhere, and a mask that says which is which."""
    arguments: dict[str, Any] = {}
    if given.references:
        arguments["reference_images"] = list(given.references)
    known: dict[int, Image.Image] = dict(enumerate(given.clip))
    if given.first is not None:
        known[0] = given.first
    if given.last is not None:
        known[given.frames - 1] = given.last
    if not known:
        return arguments
    size = next(iter(known.values())).size
    video = [known.get(index) or Image.new("RGB", size, _GREY) for index in range(given.frames)]
    mask = [Image.new("L", size, _KEEP if index in known else _MAKE) for index in range(given.frames)]
    return {**arguments, "video": video, "mask": mask}


FAMILY = Family(
    name="wan",
    classes=frozenset({"WanPipeline", "WanImageToVideoPipeline", "WanVACEPipeline"}),
    tasks=_tasks,
    frame_step=4,
    frame_offset=1,
    multiple=16,
    overlap=_OVERLAP,
    arguments={"max_sequence_length": 512},
    conditions=_conditions,
)
