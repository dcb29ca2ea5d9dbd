"""Another pipeline on the weights of a loaded one."""

import inspect
from typing import Any


def on_the_same_weights(kind: type[Any], pipeline: Any, **others: Any) -> Any:
    """A pipeline of this class with the loaded one's components; `others` are what it takes besides.

    Not diffusers' own `from_pipe`: that casts the weights, those kept in float32 too.
    """
    takes = inspect.signature(kind.__init__).parameters
    shared = {name: part for name, part in pipeline.components.items() if name in takes}
    return kind(**{**shared, **others})
