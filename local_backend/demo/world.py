"""The demo model's world: coloured shapes that move over coloured backgrounds, and the words that say so."""

import random
import re
from dataclasses import dataclass
from typing import Final

COLOURS: Final = {
    "red": (220, 50, 47),
    "orange": (240, 140, 40),
    "yellow": (245, 215, 60),
    "green": (60, 160, 80),
    "blue": (50, 95, 215),
    "purple": (130, 60, 165),
    "white": (240, 240, 240),
    "black": (25, 25, 25),
}
"""Name: RGB, 0..255."""
SHAPES: Final = ("circle", "square", "triangle")
MOTIONS: Final = ("moves left", "moves right", "moves up", "moves down", "grows", "shrinks")

_HELD_OUT: Final = 100
_SPLIT_SEED: Final = 20_261_126
_WORDS: Final = ("a", "moves", "left", "right", "up", "down", "grows", "shrinks", "over", "background")
VOCABULARY: Final = ("<pad>", "<null>", *COLOURS, *SHAPES, *_WORDS)
"""Token id is the place in this tuple."""
MAX_TOKENS: Final = 10
_NULL: Final = VOCABULARY.index("<null>")

_SAME: Final = {
    "an": "a", "the": "a", "moving": "moves", "move": "moves", "goes": "moves", "going": "moves",
    "slides": "moves", "sliding": "moves", "grow": "grows", "growing": "grows", "shrink": "shrinks",
    "shrinking": "shrinks", "on": "over", "against": "over", "leftwards": "left", "rightwards": "right",
    "upwards": "up", "downwards": "down", "upward": "up", "downward": "down", "violet": "purple",
}  # fmt: skip
_SILENT: Final = frozenset({"to", "and", "of", "in", "front", "with", "is", "its", "it"})


@dataclass(frozen=True, slots=True, order=True)
class Scene:
    """What one clip shows. The background never has the shape's colour."""

    colour: str
    shape: str
    motion: str
    background: str

    @property
    def caption(self) -> str:
        """The sentence that the model was trained with."""
        return f"a {self.colour} {self.shape} {self.motion} over a {self.background} background"


def scenes() -> list[Scene]:
    """All 1,008 of them."""
    return [
        Scene(colour, shape, motion, background)
        for colour in COLOURS
        for shape in SHAPES
        for motion in MOTIONS
        for background in COLOURS
        if background != colour
    ]


def held_out() -> list[Scene]:
    """The 100 that training never sees, in a fixed random order."""
    shuffled = scenes()
    random.Random(_SPLIT_SEED).shuffle(shuffled)  # nosec B311 # noqa: S311  (a fixed split, no secret)
    return shuffled[:_HELD_OUT]


def trained_on() -> list[Scene]:
    """The 908 that training draws from."""
    left_out = set(held_out())
    return [scene for scene in scenes() if scene not in left_out]


def known_words() -> frozenset[str]:
    """Every word that makes a difference or may be said without one."""
    return frozenset({*VOCABULARY[2:], *_SAME, *_SILENT})


def read(prompt: str) -> tuple[int, ...]:
    """Token ids of the words that the model knows, in their order, at most MAX_TOKENS."""
    heard = [_SAME.get(word, word) for word in re.findall(r"[^\W\d_]+", prompt.lower())]
    known = [word for word in heard if word in VOCABULARY]
    says_something = any(word not in ("a", "over", "background") for word in known)
    return tuple(VOCABULARY.index(word) for word in known[:MAX_TOKENS] if says_something)


def padded(tokens: tuple[int, ...]) -> list[int]:
    """Token ids as the text encoder takes them, MAX_TOKENS of them; no word at all is the null prompt."""
    return [*(tokens or (_NULL,)), *([0] * MAX_TOKENS)][:MAX_TOKENS]
