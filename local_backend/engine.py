"""Makes clips on one device, one call of a pipeline at a time; the only caller of diffusers' pipelines."""

import resource
import statistics
import sys
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.utils.logging import disable_progress_bar as hide_diffusers_bars
from numpy.typing import NDArray
from transformers.utils.logging import disable_progress_bar as hide_transformers_bars

from local_backend.calls import Making, arguments, batch_key, making
from local_backend.clip import Clip, quantized
from local_backend.errors import OutOfMemory
from local_backend.families import FAMILIES
from local_backend.families.family import Task
from local_backend.folders import present
from local_backend.library import Library, Loaded, free
from local_backend.memory import ALL, NOTHING, ON_DEVICE, Memory, Rung, Shape
from local_backend.order import Order
from local_backend.speed import Chosen, Speed
from local_backend.steps import Report, Steps
from providers.presets import Preset, Weights

_STEPS_KEPT = 200


class Engine:
    """Makes clips with the models of the library. Not thread-safe, but for `refusal`: the job thread owns it."""

    def __init__(
        self,
        models_dir: Path,
        device: str,
        threads: int,
        presets: Sequence[Preset],
        *,
        budget: int | None = None,
        features: Sequence[str] | None = None,
        rungs: Sequence[Rung] | None = None,
        pinned: Collection[str] = (),
    ) -> None:
        """Load the first model, if it is there, and those pinned, and try each; `budget` in bytes is for all weights.

        Pinned ones stay.
        """
        started = time.monotonic()
        hide_diffusers_bars()
        hide_transformers_bars()
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self._device = device
        self._step_seconds: dict[str, deque[float]] = {}
        if budget is None and device.startswith("cuda"):
            budget = torch.cuda.get_device_properties(device).total_memory
        usual = ALL if device.startswith("cuda") else ON_DEVICE  # offloading moves nothing away from a CPU
        self._memory = Memory(budget, rungs or usual)
        self._library = Library(models_dir, device, presets, budget, pinned)
        self._speed = Speed(models_dir, device, features)
        self.out_of_memory = 0
        for preset in presets:
            if (preset is presets[0] or preset.id in pinned) and present(preset, models_dir):
                self._warm_up(preset)
        self.load_seconds = time.monotonic() - started

    def make(self, orders: Sequence[Order], report: Report) -> list[Clip]:
        """Make the clips of orders with one `batch_key`, or of one. Raises Cancelled at a step, MediaError, OutOfMemory."""
        order = orders[0]
        made = self._making(order)
        shape = made.shape(len(orders))
        while True:
            if len(orders) > 1 and not self._fits_as_one(order, shape):
                return [clip for each in orders for clip in self.make([each], report)]
            rung = self._rung(order, shape)
            tried: Shape = NOTHING
            try:
                report.stage("load")
                model = self._model(order.preset.id, rung)
                tried = shape
                report.stage("encode")
                return self._call(model, orders, made, report)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _ran_out(error):
                    raise
            # Outside the except block, where nothing holds the failed call's tensors any more.
            self.out_of_memory += 1
            if not self._library.drop_others(order.preset.id):
                self._memory.ran_out(order.preset.id, tried, rung)
                if rung.offloads:
                    self._library.drop(order.preset.id)  # parts of it may lie anywhere
            free(self._device)

    def refusal(self, order: Order) -> str | None:
        """Why the order cannot be made, known before it is tried; None where it may. Callable from any thread."""
        try:
            self._rung(order, self._making(order).shape())
        except OutOfMemory as error:
            return str(error)
        return None

    def batch_key(self, order: Order) -> tuple[Any, ...] | None:
        """Orders of one key can be made together."""
        return batch_key(order, FAMILIES[order.preset.weights.family])

    def work(self, order: Order) -> tuple[int, int]:
        """How much it is: frames x pixels, and the steps."""
        made = self._making(order)
        return made.frames * made.width * made.height, self._speed.of(order).steps

    def runtime(self, order: Order) -> dict[str, Any]:
        """How the order's video is made here: what its maker may want to know."""
        chosen = self._speed.of(order)
        rung = self._rung(order, self._making(order).shape())
        return {
            "device": self._device,
            "quality": chosen.quality,
            "steps": chosen.steps,
            "features": list(chosen.names),
            "memory": rung.name.lower(),
        }

    @property
    def slowest_step(self) -> float:
        """Seconds of the 95th percentile step so far, of the slowest model."""
        return max((_high(steps) for steps in self._step_seconds.values() if steps), default=1.0)

    @property
    def loaded(self) -> list[str]:
        """Names of the models in memory."""
        return self._library.loaded()

    @property
    def codec(self) -> str:
        """The video encoder, as FFmpeg names it."""
        return self._speed.codec

    def measured(self) -> dict[str, Any]:
        """What this process measured of itself: seconds and bytes."""
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        steps = {name: round(statistics.median(kept), 4) for name, kept in self._step_seconds.items() if kept}
        facts: dict[str, Any] = {
            "device": self._device,
            "load_seconds": round(self.load_seconds, 3),
            "step_seconds": steps,
            "peak_memory_bytes": usage if sys.platform == "darwin" else usage * 1024,
            "evictions": self._library.evictions,
            "out_of_memory": self.out_of_memory,
        }
        if self._device.startswith("cuda"):
            facts["device_memory_bytes"] = torch.cuda.memory_reserved(self._device)
            facts["peak_device_memory_bytes"] = torch.cuda.max_memory_reserved()
            facts["total_device_memory_bytes"] = torch.cuda.get_device_properties(self._device).total_memory
        return facts

    def _rung(self, order: Order, shape: Shape) -> Rung:
        return self._memory.rung(order.preset.id, shape, self._library.weight(order.preset.id))

    def _fits_as_one(self, order: Order, shape: Shape) -> bool:
        """Whether several are held as one alone would be: making them one by one is quicker than offloading."""
        try:
            return self._rung(order, shape) <= self._rung(order, replace(shape, clips=1))
        except OutOfMemory:
            return False

    def _making(self, order: Order) -> Making:
        return making(order, FAMILIES[order.preset.weights.family])

    def _call(self, model: Loaded, orders: Sequence[Order], made: Making, report: Report) -> list[Clip]:
        order, family = orders[0], model.family
        pipeline = model.tasks[made.task]
        given = arguments(order, made, family, pipeline)
        if len(orders) > 1 and "negative_prompt" in given:
            given["negative_prompt"] = [each.negative_prompt for each in orders]
        # On the CPU on every device: the same seed is the same noise.
        generators = [torch.Generator("cpu").manual_seed(each.seed) for each in orders]
        chosen = self._speed.of(order)
        kept = self._step_seconds.setdefault(order.preset.id, deque(maxlen=_STEPS_KEPT))
        steps = Steps(report, family.passes(made.frames), kept.append)
        given |= _of_the_weights(order.preset.weights, chosen)
        with self._speed.applied(model.pipeline, chosen), _watched(pipeline, steps):
            output = pipeline(
                prompt=order.prompt if len(orders) == 1 else [each.prompt for each in orders],
                num_inference_steps=chosen.steps,
                generator=generators[0] if len(orders) == 1 else generators,
                output_type="np",
                **family.guidance(pipeline, chosen.guidance),
                **given,
            )
        sounds = family.sounds(pipeline, output) if order.sound else []
        skipped = family.overlap if made.task is Task.CONTINUE and family.repeats_clip else 0
        return [
            Clip(
                quantized(_frames(output.frames[index])[skipped:]),
                made.rate,
                sounds[index] if sounds else None,
                made.shown,
            )
            for index in range(len(orders))
        ]

    def _warm_up(self, preset: Preset) -> None:
        """Two steps at a small shape: shows that the weights run. Compiled ones at the usual shape: it is compiled now."""
        rung = self._memory.rung(preset.id, NOTHING, self._library.weight(preset.id))
        model = self._model(preset.id, rung)
        if Task.TEXT in model.tasks:
            _small(model, 2, at_native_size=self._speed.is_compiled(preset.id))

    def _model(self, name: str, rung: Rung) -> Loaded:
        """The model, loaded and made ready for what makes it faster."""
        model = self._library.get(name, rung)
        if not model.prepared:
            small = partial(_small, model) if Task.TEXT in model.tasks else None
            if not self._speed.prepare(model.preset, model.pipeline, small):
                self._library.drop(name)
                model = self._library.get(name, rung)
            model.prepared = True
        return model


def _of_the_weights(weights: Weights, chosen: Chosen) -> dict[str, Any]:
    """What these weights want besides, where the order has left steps and guidance to them."""
    given: dict[str, Any] = {}
    if weights.guidance_2 is not None and chosen.guidance == weights.guidance:
        given["guidance_scale_2"] = weights.guidance_2
    if weights.timesteps is not None and chosen.steps == len(weights.timesteps):
        given["timesteps"] = list(weights.timesteps)
    return given


def _small(model: Loaded, steps: int, *, at_native_size: bool = False) -> NDArray[np.float32]:
    """The clip of a fixed prompt and seed at a small shape, or at that of what a client gets who says nothing of it."""
    family, pipeline, preset = model.family, model.tasks[Task.TEXT], model.preset
    width = height = 4 * family.multiple
    frames = family.frame_step + family.frame_offset
    if at_native_size:
        usual = (preset.default_size or preset.sizes[0]).split("x")
        width, height = family.native_size(int(usual[0]), int(usual[1]), preset.weights)
        frames = family.frames(preset.seconds[0], preset.weights.rate)
    inputs: dict[str, Any] = dict(family.arguments)
    if family.sized:
        inputs |= {"width": width, "height": height}
    if family.frames_argument is not None:
        inputs[family.frames_argument] = frames
    generator = torch.Generator("cpu").manual_seed(0)
    output = pipeline(
        prompt="warm-up", num_inference_steps=steps, generator=generator, output_type="np", **inputs
    )
    return _frames(output.frames[0])


@contextmanager
def _watched(pipeline: Any, steps: Steps) -> Iterator[None]:
    """The pipeline tells its steps during one call."""
    pipeline.progress_bar = steps
    try:
        yield
    finally:
        del pipeline.progress_bar


def _frames(frames: Any) -> NDArray[np.float32]:
    return np.asarray(frames, dtype=np.float32)


def _high(steps: Sequence[float]) -> float:
    return sorted(steps)[int(len(steps) * 0.95)]


def _ran_out(error: RuntimeError) -> bool:
    """CUDA has a type for it, the CPU's allocator only words."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
