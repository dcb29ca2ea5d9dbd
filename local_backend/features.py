"""What makes a model faster or smaller on some devices, row by row: whether it can run here and where it was measured.

A row that was measured nowhere is off until the operator names it.
"""

import logging
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import av
import numpy as np
import torch
from diffusers import FirstBlockCacheConfig
from numpy.typing import NDArray

_LOG = logging.getLogger("local_backend")
_TRANSFORMERS: Final = ("transformer", "transformer_2")
CACHE_THRESHOLD: Final = 0.1  # change of the first block's output below which the others are not run again
_ATTENTION: Final = ("native", "_native_cudnn", "_native_flash", "flash", "_flash_3")
_TOLERANCE: Final = 0.02  # of 0..1 pixels: what another order of sums may change after two steps
_WORTH: Final = 0.95  # another backend is taken where it needs less than this share of the time

Try = Callable[[], NDArray[np.float32]]
"""Makes a small clip; the same one each time."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A device kind as `device_kind` names it, when, and what was seen."""

    device: str
    day: date
    figure: str


@dataclass(frozen=True, slots=True)
class Feature:
    """`exact`: changes the picture by float noise at most. `missing` says why it cannot run on a device, or None.

    What each does is told in docs/local-backend.md, which has the same rows.
    """

    name: str
    exact: bool
    missing: Callable[[str], str | None]
    measured_on: tuple[Measured, ...] = ()


def _cuda_only(device: str) -> str | None:
    return None if device.startswith("cuda") else "it needs a CUDA device"


def _anywhere(_device: str) -> str | None:
    return None


def _with_nvenc(device: str) -> str | None:
    if "h264_nvenc" not in av.codecs_available:
        return "this build of FFmpeg has no NVENC"
    return _cuda_only(device)


_COMPILED: Final = Measured(
    "NVIDIA H200", date(2026, 11, 26), "a step of Wan 2.1 1.3B at 480p 1.25 s, then 1.04 s"
)
FEATURES: Final = {
    feature.name: feature
    for feature in (
        Feature("compile", True, _anywhere, (_COMPILED,)),
        Feature("attention", True, _cuda_only),
        Feature("nvenc", True, _with_nvenc),
        Feature("first_block_cache", False, _anywhere),
        Feature("distilled", False, _anywhere),
    )
}


def device_kind(device: str) -> str:
    """The device as a measurement names it: the card's name, else cpu or mps."""
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    return device.partition(":")[0]


def measured(kind: str) -> frozenset[str]:
    """The rows that were measured on this kind of device."""
    return frozenset(
        feature.name
        for feature in FEATURES.values()
        if any(each.device == kind for each in feature.measured_on)
    )


def chosen(names: Sequence[str] | None, device: str) -> frozenset[str]:
    """The rows in use: those named, or without names those that were measured on this kind of device.

    ValueError for a name that is none, or for what cannot run here.
    """
    if names is None:
        return measured(device_kind(device))
    for name in names:
        if name not in FEATURES:
            raise ValueError(f"'{name}' is no feature; there are {', '.join(FEATURES)}")
        if why := FEATURES[name].missing(device):
            raise ValueError(f"'{name}' cannot be used on {device}: {why}")
    return frozenset(names)


def transformers(pipeline: Any) -> list[Any]:
    """The networks that take the steps."""
    found = (getattr(pipeline, name, None) for name in _TRANSFORMERS)
    return [part for part in found if part is not None]


def _caching(pipeline: Any) -> list[Any]:
    return [part for part in transformers(pipeline) if hasattr(part, "enable_cache")]


@contextmanager
def first_block_cache(pipeline: Any, threshold: float | None = None) -> Iterator[None]:
    """With the cache on for one call; its state ends with the call."""
    parts = _caching(pipeline)
    for part in parts:
        part.enable_cache(
            FirstBlockCacheConfig(threshold=CACHE_THRESHOLD if threshold is None else threshold)
        )
    try:
        yield
    finally:
        for part in parts:
            part.disable_cache()


def cache_skips(pipeline: Any, attempt: Try, threshold: float | None = None) -> bool:
    """Whether the cache does anything for this model: some silently do nothing, some models have no place for it."""
    parts = _caching(pipeline)
    if not parts:
        return False
    whole = _deep_calls(parts, attempt)
    try:
        with first_block_cache(pipeline, threshold):
            cached = _deep_calls(parts, attempt)
    except (ValueError, RuntimeError, AttributeError, KeyError):  # blocks of a kind that it does not know
        return False
    return 0 < cached < whole


def _deep_calls(parts: Sequence[Any], attempt: Try) -> int:
    """How often the last linear layer of the last repeated block runs."""
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    hooks = [_deepest(part).register_forward_hook(count) for part in parts]
    try:
        attempt()
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _deepest(part: Any) -> torch.nn.Module:
    lists = [module for module in part.children() if isinstance(module, torch.nn.ModuleList) and len(module)]
    last = max(lists, key=len)[-1] if lists else part
    linear = [module for module in last.modules() if isinstance(module, torch.nn.Linear)]
    return linear[-1]


def quickest_attention(pipeline: Any, attempt: Try, candidates: Sequence[str] = _ATTENTION) -> str:
    """Try each backend, set the quickest that gives the clip of the native one, and name it.

    The choice holds for the whole process: diffusers keeps it in one place for all models.
    """
    reference: NDArray[np.float32] | None = None
    seconds: dict[str, float] = {}
    for name in candidates:
        try:
            set_attention(pipeline, name)
            made = attempt()  # some refuse only here
            times = [_timed(attempt) for _ in range(3)]
        except Exception as error:  # a kernel fails in its own ways; the next one is tried
            _LOG.info("attention %s cannot be used: %s", name, error)
            continue
        reference = made if reference is None else reference
        if np.abs(made - reference).max() <= _TOLERANCE:
            seconds[name] = statistics.median(times)
    base = seconds.get(candidates[0], float("inf"))
    better = {name: took for name, took in seconds.items() if took < base * _WORTH}
    best = min(better, key=lambda name: better[name]) if better else candidates[0]
    set_attention(pipeline, best)
    return best


def set_attention(pipeline: Any, name: str) -> None:
    """Use a backend by the name diffusers has for it."""
    for part in transformers(pipeline):
        if hasattr(part, "set_attention_backend"):
            part.set_attention_backend(name)


def _timed(attempt: Try) -> float:
    began = time.monotonic()
    attempt()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic() - began
