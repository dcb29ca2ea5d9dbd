"""Draw the visible mark: light text on a dark translucent box, sized by the picture it goes on."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_TEXT_SHARE: Final = 0.036  # of the short edge
_TEXT_LEAST: Final = 12  # pixels: readable on the smallest videos
_MARGIN_SHARE: Final = 0.03
_FINE: Final = 4  # drawn that much larger, then reduced: smooth edges at any size
_BOX: Final = (20, 120)  # grey, opacity
_LETTERS: Final = (235, 225)
_NEUTRAL: Final = 128.0  # a colour plane's value for grey


@dataclass(frozen=True)
class Stamp:
    """A picture of even width, height, left and top, in grey: how bright, and how much of it covers (0..1)."""

    left: int
    top: int
    luma: NDArray[np.float32]
    cover: NDArray[np.float32]

    def put(self, planes: list[NDArray[np.uint8]]) -> None:
        """Blend over a 4:2:0 picture in place."""
        luma, *colours = planes
        _blend(luma, self.left, self.top, self.luma, self.cover)
        height, width = self.cover.shape
        half = self.cover.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
        for plane in colours:
            _blend(plane, self.left // 2, self.top // 2, _NEUTRAL, half)


def _blend(plane: NDArray[np.uint8], left: int, top: int, value: Any, cover: NDArray[np.float32]) -> None:
    height, width = cover.shape
    part = plane[top : top + height, left : left + width]
    part[:] = np.rint(part * (1 - cover) + value * cover).astype(np.uint8)


def draw(text: str, size: tuple[int, int]) -> Stamp:
    """The mark for a picture of `size` (width, height): inside it however small it is."""
    short = min(size)
    margin = round(short * _MARGIN_SHARE)
    room = [max(2, edge - 2 * margin) for edge in size]
    large = _box(text, max(_TEXT_LEAST, round(short * _TEXT_SHARE)) * _FINE)
    scale = min(1 / _FINE, room[0] / large.width, room[1] / large.height)
    width, height = (max(2, int(edge * scale) // 2 * 2) for edge in large.size)
    grey, cover = large.resize((width, height), Image.Resampling.LANCZOS).split()
    return Stamp(
        left=max(0, size[0] - margin - width) // 2 * 2,
        top=max(0, size[1] - margin - height) // 2 * 2,
        luma=np.asarray(grey, np.float32),
        cover=np.asarray(cover, np.float32) / np.float32(255),
    )


def _box(text: str, letters: int) -> Image.Image:
    """The text in letters of that size on its box, as grey and opacity."""
    font = ImageFont.load_default(letters)
    left, top, right, bottom = font.getbbox(text)
    aside, above = round(letters * 0.5), round(letters * 0.36)
    box = Image.new("LA", (round(right - left) + 2 * aside, round(bottom - top) + 2 * above))
    pen = ImageDraw.Draw(box)
    pen.rounded_rectangle((0, 0, box.width - 1, box.height - 1), radius=letters * 0.4, fill=_BOX)
    pen.text((aside - left, above - top), text, font=font, fill=_LETTERS)
    return box
