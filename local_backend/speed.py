"""How fast a video is made: the features in use on this device, and what they mean for one order."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from local_backend import distilled, features
from local_backend.order import Order, Quality
from providers.presets import Preset

_LOG = logging.getLogger("local_backend")
_PROBE_STEPS: Final = 8  # enough for a cache to find two steps alike


Small = Callable[[int], NDArray[np.float32]]
"""Makes a fixed small clip in so many steps."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What an order gets: `names` are the features in use, as its answer names them."""

    quality: Quality
    steps: int
    guidance: float
    names: tuple[str, ...]
    shift: float | None = None


class Speed:
    """The features of one worker. `names` None: those measured on this kind of device."""

    def __init__(self, models_dir: Path, device: str, names: Sequence[str] | None) -> None:
        self._models_dir = models_dir
        self._on = features.chosen(names, device)
        self._attention: str | None = None
        self._compiled: set[str] = set()
        self._cached: set[str] = set()

    def prepare(self, preset: Preset, pipeline: Any, small: Small | None) -> bool:
        """Once a model is loaded: choose the attention kernel, see whether the cache does anything for it, compile it.

        `small` makes a clip for trying, None where the model cannot make one from text. False where it cannot be compiled
        after all: it has to be loaded anew.
        """
        if self._distilled(preset):
            distilled.load(preset, self._models_dir, pipeline)
        if small is None:
            return True
        if self._attention is not None:
            features.set_attention(pipeline, self._attention)
        elif "attention" in self._on:
            self._attention = features.quickest_attention(pipeline, lambda: small(2))
        if "first_block_cache" in self._on:
            if features.cache_skips(pipeline, lambda: small(_PROBE_STEPS)):
                self._cached.add(preset.id)
            else:
                _LOG.warning("first_block_cache does nothing for %s: it is left off", preset.id)
        return "compile" not in self._on or self._compile(preset, pipeline, small)

    def _compile(self, preset: Preset, pipeline: Any, small: Small) -> bool:
        try:
            for part in features.transformers(pipeline):
                part.compile_repeated_blocks(fullgraph=True)
        except (ValueError, AttributeError):  # it names no repeated blocks
            return True
        try:
            small(2)
        except Exception:  # a compiler fails in its own ways; the model runs without it
            _LOG.exception("%s cannot be compiled: it runs as it is", preset.id)
            self._on -= {"compile"}
            return False
        self._compiled.add(preset.id)
        return True

    def of(self, order: Order) -> Chosen:
        """What this order gets. A number of steps or a guidance of its own is kept."""
        model, weights = order.preset.id, order.preset.weights
        names = [f"attention:{self._attention}"] if self._attention else []
        if model in self._compiled:
            names.append("compile")
        steps, guidance = order.steps, order.guidance
        few = weights.distilled
        if few is not None and self._distilled(order.preset) and (order.quality == "fast" or few.always):
            names.append("distilled")
            steps = few.steps if order.steps == weights.steps else order.steps
            guidance = few.guidance if order.guidance == weights.guidance else order.guidance
        elif order.quality == "fast" and model in self._cached:
            names.append("first_block_cache")
        lossy = any(name in features.FEATURES and not features.FEATURES[name].exact for name in names)
        shift = few.shift if few is not None and "distilled" in names else None
        return Chosen("fast" if lossy else "exact", steps, guidance, tuple(names), shift)

    def is_compiled(self, model: str) -> bool:
        """Whether its blocks are compiled, for each shape anew."""
        return model in self._compiled

    @property
    def codec(self) -> str:
        """The GPU's encoder where it is asked for."""
        return "h264_nvenc" if "nvenc" in self._on else "libx264"

    def _distilled(self, preset: Preset) -> bool:
        """Whether its LoRA is used: where it is asked for, or where the preset is nothing without it."""
        few = preset.weights.distilled
        return few is not None and (few.always or "distilled" in self._on)

    @contextmanager
    def applied(self, pipeline: Any, chosen: Chosen) -> Iterator[None]:
        """With the features of one order on, for one call."""
        with ExitStack() as stack:
            if "first_block_cache" in chosen.names:
                stack.enter_context(features.first_block_cache(pipeline))
            if "distilled" in chosen.names:
                stack.enter_context(distilled.applied(pipeline, chosen.shift))
            yield
