"""Runs one generation at a time on one device; of the worker only this, the library and families/ use torch."""

import gc
import resource
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.utils.logging import disable_progress_bar as hide_diffusers_bars
from transformers.utils.logging import disable_progress_bar as hide_transformers_bars

from local_backend import encode, frames
from local_backend.errors import OutOfMemory
from local_backend.families.family import Task
from local_backend.folders import present
from local_backend.jobs import Report
from local_backend.library import Library, Loaded
from local_backend.order import Order
from providers.contract import Operation
from providers.presets import Preset

_STEPS_KEPT = 200


class Engine:
    """Makes videos with the models of the library. Not thread-safe: the job thread owns it."""

    def __init__(
        self,
        models_dir: Path,
        device: str,
        threads: int,
        presets: Sequence[Preset],
        *,
        budget: int | None = None,
    ) -> None:
        """Load the first model, if it is there, and try it; `budget` in bytes is for the weights of all."""
        started = time.monotonic()
        hide_diffusers_bars()
        hide_transformers_bars()
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self._device = device
        self._before_step: Callable[[], None] = lambda: None
        self._after_step: Callable[[], None] = lambda: None
        self._step_seconds: deque[float] = deque(maxlen=_STEPS_KEPT)
        self._step_ended: float | None = None  # None before a video's first step
        self._library = Library(models_dir, device, presets, budget, self._count_steps)
        if present(presets[0], models_dir):
            self._warm_up(presets[0])
        self.load_seconds = time.monotonic() - started

    def generate(self, order: Order, out: Path, report: Report) -> None:
        """Make the video file. Raises Cancelled at a step boundary, MediaError, OutOfMemory."""
        try:
            report.stage("load")
            model = self._library.get(order.preset.id)
            report.stage("encode")
            generated = self._denoise(model, order, report)
        except torch.OutOfMemoryError as error:
            message = str(error).partition(" GPU ")[0]  # what follows is the card's state, not the client's
        else:
            report.stage("mux")
            _write(order, generated, out, report, model)
            return
        # Outside the except block, where nothing holds the failed call's tensors any more.
        gc.collect()
        torch.cuda.empty_cache()
        raise OutOfMemory(message)

    @property
    def slowest_step(self) -> float:
        """Seconds of the 95th percentile step so far."""
        steps = sorted(self._step_seconds)
        return steps[int(len(steps) * 0.95)] if steps else 1.0

    @property
    def loaded(self) -> list[str]:
        """Names of the models in memory."""
        return self._library.loaded()

    def measured(self) -> dict[str, float | int]:
        """What this process measured of itself: seconds and bytes."""
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        facts: dict[str, float | int] = {
            "load_seconds": round(self.load_seconds, 3),
            "step_seconds": round(statistics.median(self._step_seconds or [0.0]), 4),
            "peak_memory_bytes": usage if sys.platform == "darwin" else usage * 1024,
            "evictions": self._library.evictions,
        }
        if self._device.startswith("cuda"):
            facts["peak_device_memory_bytes"] = torch.cuda.max_memory_reserved()
        return facts

    def _denoise(self, model: Loaded, order: Order, report: Report) -> encode.Frames:
        task, inputs, steps = self._inputs(model, order)
        done = 0

        def before() -> None:
            if done == 0:
                report.stage("denoise")

        def after() -> None:
            nonlocal done
            done += 1
            report.step(done, steps)
            if done == steps:
                report.stage("decode")

        self._before_step, self._after_step, self._step_ended = before, after, None
        try:
            output = model.tasks[task](
                prompt=order.prompt,
                num_inference_steps=order.steps,
                guidance_scale=order.guidance,
                # On the CPU on every device: the same seed is the same noise.
                generator=torch.Generator("cpu").manual_seed(order.seed),
                output_type="np",
                **inputs,
            )
        finally:
            self._before_step = self._after_step = lambda: None
        return np.asarray(output.frames[0], dtype=np.float32)

    def _inputs(self, model: Loaded, order: Order) -> tuple[Task, dict[str, Any], int]:
        """The task of this operation, its pipeline's own arguments, and how many steps it will take."""
        family, weights = model.family, model.preset.weights
        inputs: dict[str, Any] = dict(family.arguments)
        width, height = family.native_size(order.width, order.height, weights)
        if family.sized:
            inputs |= {"width": width, "height": height}
        if family.negative_prompt:
            inputs["negative_prompt"] = order.negative_prompt or None
        longest = int(max(model.preset.seconds))
        count = family.frames(min(order.seconds, longest), weights.rate)
        if order.media is not None and order.operation in (Operation.EDIT, Operation.REMIX):
            clip = frames.sampled(order.media, count, lambda image: frames.fit(image, width, height))
            strength = max(order.strength, 1 / order.steps)
            steps = min(int(order.steps * strength), order.steps)
            return Task.VIDEO, {**inputs, "video": clip, "strength": strength}, steps
        if family.frames_argument is not None:
            inputs[family.frames_argument] = count
        if order.media is None:
            return Task.TEXT, inputs, order.steps
        extends = order.operation is Operation.EXTEND
        first = frames.last_frame(order.media) if extends else frames.read_image(order.media)
        return Task.IMAGE, {**inputs, "image": frames.fit(first, width, height)}, order.steps

    def _count_steps(self, scheduler: Any) -> None:
        """Wrap the scheduler's step: every pipeline goes through it, not every one calls back."""
        original = scheduler.step

        def step(*args: Any, **kwargs: Any) -> Any:
            self._before_step()
            result = original(*args, **kwargs)
            now = time.monotonic()
            if self._step_ended is not None:
                self._step_seconds.append(now - self._step_ended)
            self._step_ended = now
            self._after_step()
            return result

        scheduler.step = step

    def _warm_up(self, preset: Preset) -> None:
        """Two steps at the smallest shape: shows that the weights run, and how long a step takes."""
        model = self._library.get(preset.id)
        family = model.family
        inputs: dict[str, Any] = dict(family.arguments)
        if family.sized:
            inputs |= {"width": 4 * family.multiple, "height": 4 * family.multiple}
        if family.frames_argument is not None:
            inputs[family.frames_argument] = family.frame_step + family.frame_offset
        pipeline = model.tasks.get(Task.TEXT)
        if pipeline is None:
            return
        generator = torch.Generator("cpu").manual_seed(0)
        pipeline(prompt="warm-up", num_inference_steps=2, generator=generator, output_type="np", **inputs)


def _write(order: Order, generated: encode.Frames, out: Path, report: Report, model: Loaded) -> None:
    fit = model.family.fit
    if order.operation is Operation.EXTEND and order.media is not None:
        encode.write_joined(out, order.media, generated, seconds=order.seconds, tick=report.muxed, fit=fit)
        return
    weights = model.preset.weights
    encode.write_clip(
        out,
        generated,
        size=(order.width, order.height),
        rate=weights.file_rate or int(weights.rate),
        seconds=order.seconds,
        tick=report.muxed,
        fit=fit,
    )
