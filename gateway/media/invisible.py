"""The seam for invisible marks: a plug-in changes the brightness of every picture a little, before it is encoded.

`provenance.invisible = "package.module:factory"` names one that is installed beside onereel. The media worker calls
`factory(payload, (width, height))` once for a video (the payload is eight bytes: the first sixteen digits of its id) and
what that returns for every frame, with the brightness as an array of (height, width) to change in place. It may return
None for pictures that can carry no mark: then the video says that it has none.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

Embed = Callable[[NDArray[np.uint8]], None]
"""Marks one picture in place: brightness, (height, width)."""

MarkOfSize = Callable[[tuple[int, int]], Embed | None]
"""Makes an `Embed` for pictures of (width, height); None where it can put no mark on them."""


class PlugInError(OSError):
    """The plug-in cannot be loaded: the operator's to mend, no file's fault."""


def load(name: str, payload: bytes) -> MarkOfSize:
    """Import a plug-in, "package.module:factory", for one payload. PlugInError."""
    module, _, attribute = name.partition(":")
    try:
        factory: Any = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise PlugInError(f"provenance.invisible: {name} cannot be loaded ({error})") from error
    return partial(factory, payload)


def payload_of(video_id: str) -> bytes:
    """What the mark of a video carries: enough of its id (uuid7) to find it by."""
    return bytes.fromhex(video_id.partition("_")[2][:16])
