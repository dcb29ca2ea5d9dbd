"""Runs one generation at a time on one device; the only module (with families/) that imports torch."""

import gc
import resource
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.utils.logging import disable_progress_bar as hide_diffusers_bars
from transformers.utils.logging import disable_progress_bar as hide_transformers_bars

from local_backend import encode, frames
from local_backend.errors import OutOfMemory
from local_backend.families import tiny_wan
from local_backend.jobs import Report
from local_backend.model import FRAMES_PER_SECOND, NATIVE_FRAMES, native_size
from local_backend.order import Order
from providers.contract import Operation

_PROMPT_TOKENS = 128
_STEPS_KEPT = 200


class Engine:
    """The loaded pipelines. Not thread-safe: the job thread owns it."""

    def __init__(self, models_dir: Path, device: str, threads: int) -> None:
        started = time.monotonic()
        hide_diffusers_bars()
        hide_transformers_bars()
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self._device = device
        self._pipelines = tiny_wan.load(models_dir, device)
        self._before_step: Callable[[], None] = lambda: None
        self._after_step: Callable[[], None] = lambda: None
        self._step_seconds: deque[float] = deque(maxlen=_STEPS_KEPT)
        self._hook_steps()
        self._warm_up()
        self.load_seconds = time.monotonic() - started

    def generate(self, order: Order, out: Path, report: Report) -> None:
        """Make the video file. Raises Cancelled at a step boundary, MediaError, OutOfMemory."""
        report.stage("encode")
        try:
            generated = self._denoise(order, report)
        except torch.OutOfMemoryError as error:
            message = str(error).partition(" GPU ")[0]  # what follows is the card's state, not the client's
        else:
            report.stage("mux")
            _write(order, generated, out, report)
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

    def measured(self) -> dict[str, float | int]:
        """What this process measured of itself: seconds and bytes."""
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        facts: dict[str, float | int] = {
            "load_seconds": round(self.load_seconds, 3),
            "step_seconds": round(statistics.median(self._step_seconds or [0.0]), 4),
            "peak_memory_bytes": usage if sys.platform == "darwin" else usage * 1024,
        }
        if self._device.startswith("cuda"):
            facts["peak_device_memory_bytes"] = torch.cuda.max_memory_reserved()
        return facts

    def _denoise(self, order: Order, report: Report) -> encode.Frames:
        width, height = native_size(order.width, order.height)
        pipeline, inputs, steps = self._inputs(order, width, height)
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

        self._before_step, self._after_step = before, after
        try:
            output = pipeline(
                prompt=order.prompt,
                negative_prompt=order.negative_prompt or None,
                width=width,
                height=height,
                num_inference_steps=order.steps,
                guidance_scale=order.guidance,
                # On the CPU on every device: the same seed is the same noise.
                generator=torch.Generator("cpu").manual_seed(order.seed),
                max_sequence_length=_PROMPT_TOKENS,
                output_type="np",
                **inputs,
            )
        finally:
            self._before_step = self._after_step = lambda: None
        return np.asarray(output.frames[0], dtype=np.float32)

    def _inputs(self, order: Order, width: int, height: int) -> tuple[Any, dict[str, Any], int]:
        """The pipeline for this operation, its own arguments, and how many steps it will take."""
        if order.media is None:
            return self._pipelines.text, {"num_frames": NATIVE_FRAMES}, order.steps
        if order.operation in (Operation.EDIT, Operation.REMIX):
            clip = frames.sampled(order.media, NATIVE_FRAMES, lambda image: frames.fit(image, width, height))
            strength = max(order.strength, 1 / order.steps)
            steps = min(int(order.steps * strength), order.steps)
            return self._pipelines.video, {"video": clip, "strength": strength}, steps
        extends = order.operation is Operation.EXTEND
        first = frames.last_frame(order.media) if extends else frames.read_image(order.media)
        inputs = {"image": frames.fit(first, width, height), "num_frames": NATIVE_FRAMES}
        return self._pipelines.image, inputs, order.steps

    def _hook_steps(self) -> None:
        """Wrap the scheduler's step: every pipeline goes through it, not every one calls back."""
        scheduler = self._pipelines.scheduler
        original = scheduler.step
        previous = time.monotonic()

        def step(*args: Any, **kwargs: Any) -> Any:
            nonlocal previous
            self._before_step()
            result = original(*args, **kwargs)
            now = time.monotonic()
            self._step_seconds.append(now - previous)
            previous = now
            self._after_step()
            return result

        scheduler.step = step

    def _warm_up(self) -> None:
        """Two steps at the smallest shape: shows that the weights run, and how long a step takes."""
        self._pipelines.text(
            prompt="warm-up",
            width=64,
            height=64,
            num_frames=5,
            num_inference_steps=2,
            generator=torch.Generator("cpu").manual_seed(0),
            max_sequence_length=_PROMPT_TOKENS,
            output_type="np",
        )
        if len(self._step_seconds) > 1:
            self._step_seconds.popleft()  # counted from the hook's making, not from a step


def _write(order: Order, generated: encode.Frames, out: Path, report: Report) -> None:
    if order.operation is Operation.EXTEND and order.media is not None:
        encode.write_joined(out, order.media, generated, seconds=order.seconds, tick=report.muxed)
        return
    size = (order.width, order.height)
    encode.write_clip(
        out, generated, size=size, rate=FRAMES_PER_SECOND, seconds=order.seconds, tick=report.muxed
    )
