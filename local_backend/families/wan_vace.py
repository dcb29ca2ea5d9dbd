"""Wan VACE (Apache-2.0): known frames anywhere and pictures of what shall appear; it goes on from a video's last frames."""

from collections.abc import Mapping
from typing import Any, Final

from PIL import Image

from local_backend.families.family import Conditions, Family, Task

_GREY: Final = (127, 127, 127)  # its word for a frame to be made
_MAKE, _KEEP = (255, 255, 255), (0, 0, 0)  # its mask


def _tasks(pipeline: Any) -> Mapping[Task, Any]:
    return dict.fromkeys((Task.TEXT, Task.IMAGE, Task.CONTINUE), pipeline)


def _conditions(_pipeline: Any, given: Conditions) -> dict[str, Any]:
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
    mask = [Image.new("RGB", size, _KEEP if index in known else _MAKE) for index in range(given.frames)]
    return {**arguments, "video": video, "mask": mask}


FAMILY = Family(
    name="wan_vace",
    classes=frozenset({"WanVACEPipeline"}),
    tasks=_tasks,
    frame_step=4,
    frame_offset=1,
    multiple=16,
    overlap=13,  # 4k + 1, the grid of its VAE
    continues=True,
    batches=False,  # diffusers takes one prompt here
    arguments={"max_sequence_length": 512},
    conditions=_conditions,
)
