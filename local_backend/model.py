"""What the bundled model is and takes, free of torch: read by the HTTP side and by the engine."""

from typing import Final

MODEL_ID: Final = "onereel/tiny-random"
DESCRIPTION: Final = (
    "A tiny Wan-architecture diffusion pipeline with seeded random weights, built on first start. "
    "It has learnt nothing: it makes coloured noise textures, not what the prompt says. "
    "It proves the whole way from prompt to MP4 on any machine."
)
SIZES: Final = ("720x1280", "1280x720", "1024x1792", "1792x1024")
SECONDS: Final = ("4",)
NATIVE_SIZE: Final = "80x144"
FRAMES_PER_SECOND: Final = 24
NATIVE_FRAMES: Final = 17  # Wan makes 4k + 1
DEFAULT_STEPS: Final = 12
DEFAULT_GUIDANCE: Final = 3.0
DEFAULT_STRENGTH: Final = 0.7

_MULTIPLE = 16  # VAE factor 8 times patch 2, in pixels
_NATIVE_AREA = 80 * 144
_NATIVE_SIDES = range(48, 241, _MULTIPLE)


def native_size(width: int, height: int) -> tuple[int, int]:
    """The (width, height) in pixels generated for a file of this size: nearest in aspect, then the largest."""
    wanted = width / height
    candidates = [(w, h) for w in _NATIVE_SIDES for h in _NATIVE_SIDES if w * h <= _NATIVE_AREA]
    return min(candidates, key=lambda c: (abs(c[0] / c[1] / wanted - 1), -c[0] * c[1]))
