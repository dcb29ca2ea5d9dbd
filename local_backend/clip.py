"""What a model made: frames and, where it makes any, sound. No torch."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
"""Shape (frames, height, width, 3), RGB."""


@dataclass(frozen=True, slots=True)
class Sound:
    """`samples` of shape (channels, samples), float32, -1..1, at `rate` hertz."""

    samples: NDArray[np.float32]
    rate: int


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip before it is a file, made at `rate` frames per second.

    Where it continues a video, its first `shown` frames are that video's last ones.
    """

    frames: Frames
    rate: Fraction = Fraction(24)
    sound: Sound | None = None
    shown: int = 0


def quantized(frames: NDArray[np.float32]) -> Frames:
    """Frames of 0..1 as bytes, one by one: a whole clip in floats is large. ArithmeticError for what is no number."""
    result = np.empty(frames.shape, np.uint8)
    for index, frame in enumerate(frames):
        if not np.isfinite(frame).all():
            raise ArithmeticError(f"frame {index} holds values that are not numbers")
        result[index] = (frame * 255 + 0.5).clip(0, 255)
    return result
