"""An order as the call of a pipeline: its task, its conditions read from their files, its arguments."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from PIL import Image

from local_backend import frames
from local_backend.families.family import Conditions, Family, Task
from local_backend.memory import Shape
from local_backend.order import Order
from providers.contract import MediaRole, Operation

_FROM_ITS_INPUT = ("width", "height", "num_frames", "frames")


@dataclass(frozen=True, slots=True)
class Making:
    """What a model makes for an order: the (width, height) in pixels and the frames, at its own rate."""

    task: Task
    width: int
    height: int
    frames: int
    shown: int
    rate: Fraction

    def shape(self, clips: int = 1) -> Shape:
        """As far as memory goes."""
        return Shape(self.width, self.height, self.frames, clips)


def making(order: Order, family: Family) -> Making:
    """What to make."""
    weights = order.preset.weights
    width, height = family.native_size(order.width, order.height, weights)
    task = _task(order, family)
    shown = 0
    if order.operation is Operation.EXTEND:
        shown = family.overlap if task is Task.CONTINUE else 1
    longest = int(max(order.preset.seconds))
    count = family.frames(min(order.seconds, longest), weights.rate, max(0, shown - 1))
    return Making(task, width, height, count, shown, Fraction(weights.rate))


def _task(order: Order, family: Family) -> Task:
    if order.operation in (Operation.EDIT, Operation.REMIX) and order.source is not None:
        return Task.VIDEO
    if order.operation is Operation.EXTEND:
        return Task.CONTINUE if family.continues else Task.IMAGE
    pictures = (MediaRole.FIRST_FRAME, MediaRole.LAST_FRAME, MediaRole.REFERENCE)
    return Task.IMAGE if any(role in order.media for role in pictures) else Task.TEXT


def arguments(order: Order, made: Making, family: Family, pipeline: Any) -> dict[str, Any]:
    """What the pipeline is called with for one order, besides prompt, steps, generator and guidance. MediaError."""
    given: dict[str, Any] = dict(family.arguments)
    if family.sized:
        given |= {"width": made.width, "height": made.height}
    if family.frames_argument is not None:
        given[family.frames_argument] = made.frames
    if family.rate_argument is not None:
        rate = made.rate
        given[family.rate_argument] = int(rate) if rate.denominator == 1 else float(rate)
    if family.negative_prompt and order.negative_prompt:
        given["negative_prompt"] = order.negative_prompt
    takes = inspect.signature(type(pipeline).__call__).parameters
    for name in _FROM_ITS_INPUT:
        if name not in takes:  # such a pipeline has its shape from the picture or video that it is given
            given.pop(name, None)
    return {**given, **family.conditions(pipeline, _conditions(order, made, family))}


def _conditions(order: Order, made: Making, family: Family) -> Conditions:
    def fitted(image: Image.Image) -> Image.Image:
        return frames.fit(image, made.width, made.height)

    given = Conditions(made.task, made.frames, order.steps, strength=order.strength)
    source = order.source
    if source is None:
        return replace(
            given,
            first=_picture(order, MediaRole.FIRST_FRAME, fitted),
            last=_picture(order, MediaRole.LAST_FRAME, fitted),
            references=[frames.read_image(path) for path in order.media.get(MediaRole.REFERENCE, ())],
        )
    if made.task is Task.VIDEO:
        return replace(given, clip=frames.sampled(source, made.frames, fitted))
    if made.task is Task.CONTINUE:
        return replace(given, clip=frames.tail(source, family.overlap, made.rate, fitted))
    return replace(given, first=fitted(frames.last_frame(source)))


def _picture(
    order: Order, role: MediaRole, fitted: Callable[[Image.Image], Image.Image]
) -> Image.Image | None:
    path = order.file(role)
    return None if path is None else fitted(frames.read_image(path))


def batch_key(order: Order, family: Family) -> tuple[Any, ...] | None:
    """Orders with the same key can be made in one call; None for one that is made alone.

    They start from text and differ in prompt, negative prompt and seed only.
    """
    if order.media or not family.batches:
        return None
    return (
        order.preset.id,
        order.width,
        order.height,
        order.seconds,
        order.steps,
        order.guidance,
        order.quality,
        bool(order.negative_prompt),
    )
