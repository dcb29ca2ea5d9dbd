"""Prompts to begin with: such as show something, or what a model that knows only a few words can draw."""

from collections.abc import Sequence
from typing import Final

from gateway.videos.routing import Model
from providers.prompt_world import PromptWorld

EXAMPLE: Final = "a paper boat drifts over a quiet lake at sunrise"
_FOR_ALL: Final = (
    "a lighthouse at dusk, waves rolling in, slow aerial shot",
    "a paper boat drifts down a rainy street, macro, shallow focus",
)
_OF_SHAPES: Final = (
    "a yellow square grows over a purple background",
    "a white triangle moves up over a black background",
)


def example_of(model: Model) -> str:
    """One prompt that the model can draw."""
    world = _world(model)
    return EXAMPLE if world is None else world.example


def examples_of(models: Sequence[Model]) -> list[str]:
    """A few prompts for a request to all of these."""
    world = next((found for model in models if (found := _world(model)) is not None), None)
    if world is None:
        return list(_FOR_ALL)
    return [world.example, *(each for each in _OF_SHAPES if not list(world.warnings(each)))]


def _world(model: Model) -> PromptWorld | None:
    worlds = (route.spec.prompt_world for route in model.routes)
    return next((world for world in worlds if world is not None), None)
