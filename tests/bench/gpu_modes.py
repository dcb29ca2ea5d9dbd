"""Ways to run a transformer faster, each a context manager over a pipeline that leaves it as it was.

`exact` computes the same function and differs by rounding alone; `fast` computes another one.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.hooks import (
    FirstBlockCacheConfig,
    MagCacheConfig,
    PyramidAttentionBroadcastConfig,
    TaylorSeerCacheConfig,
)

Change = Callable[[Any], AbstractContextManager[None]]
_FP8 = torch.float8_e4m3fn
_FP8_MAX = 448.0


@dataclass(frozen=True, slots=True)
class Mode:
    """A named set of changes."""

    name: str
    kind: str  # exact or fast
    changes: tuple[Change, ...] = ()

    @contextmanager
    def on(self, pipeline: Any) -> Iterator[None]:
        """The pipeline runs this way inside."""
        with ExitStack() as stack:
            for change in self.changes:
                stack.enter_context(change(pipeline))
            yield


def attention(backend: str) -> Change:
    """One of diffusers' attention backends, for every layer (without a GPU: torch's choice, to try the script)."""

    @contextmanager
    def change(pipeline: Any) -> Iterator[None]:
        on_gpu = pipeline.transformer.device.type == "cuda"
        pipeline.transformer.set_attention_backend(backend if on_gpu else "native")
        try:
            yield
        finally:
            pipeline.transformer.set_attention_backend("native")

    return change


def compiled(**options: Any) -> Change:
    """Each repeated block compiled on its own (regional compilation)."""

    @contextmanager
    def change(pipeline: Any) -> Iterator[None]:
        torch.compiler.reset()
        pipeline.transformer.compile_repeated_blocks(fullgraph=True, dynamic=False, **options)
        try:
            yield
        finally:
            for module in pipeline.transformer.modules():
                module._compiled_call_impl = None

    return change


@contextmanager
def tf32(pipeline: Any) -> Iterator[None]:
    """Float32 matrix products in TF32."""
    del pipeline
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


@contextmanager
def fused_projections(pipeline: Any) -> Iterator[None]:
    """One matrix product for query, key and value."""
    pipeline.transformer.fuse_qkv_projections()
    try:
        yield
    finally:
        pipeline.transformer.unfuse_qkv_projections()


@contextmanager
def _forward(pipeline: Any, forward: Callable[..., Any]) -> Iterator[None]:
    pipeline.transformer.forward = forward
    try:
        yield
    finally:
        del pipeline.transformer.forward


@contextmanager
def one_timestep(pipeline: Any) -> Iterator[None]:
    """Text-to-video gives every token the same timestep: embed it once instead of once a token."""
    original = pipeline.transformer.forward

    def forward(*, timestep: Any, **arguments: Any) -> Any:
        return original(timestep=timestep[:, 0] if timestep.ndim == 2 else timestep, **arguments)

    with _forward(pipeline, forward):
        yield


@contextmanager
def batched_guidance(pipeline: Any) -> Iterator[None]:
    """Both passes of classifier-free guidance as one batch of two, from the second step on (the first tells the texts)."""
    original = pipeline.transformer.forward
    texts: list[Any] = []
    waiting: list[Any] = []

    def forward(*, hidden_states: Any, timestep: Any, encoder_hidden_states: Any, **arguments: Any) -> Any:
        if waiting:
            return (waiting.pop(),)
        if len(texts) < 2:
            texts.append(encoder_hidden_states)
            return original(
                hidden_states=hidden_states,
                timestep=timestep,
                encoder_hidden_states=encoder_hidden_states,
                **arguments,
            )
        both = original(
            hidden_states=hidden_states.repeat(2, 1, 1, 1, 1),
            timestep=timestep.repeat(2),
            encoder_hidden_states=torch.cat(texts),
            **arguments,
        )[0]
        waiting.append(both[1:])
        return (both[:1],)

    with _forward(pipeline, forward):
        yield


@contextmanager
def half_guidance(pipeline: Any) -> Iterator[None]:
    """No second pass in the later half of the steps: the guided prediction becomes the conditional one."""
    original = pipeline.transformer.forward
    kept: list[Any] = []

    def forward(**arguments: Any) -> Any:
        second = bool(kept)
        first_result = kept.pop() if second else None
        steps = len(pipeline.scheduler.timesteps)
        if second and (pipeline.scheduler.step_index or 0) >= steps // 2:
            return first_result
        result = original(**arguments)
        if not second:
            kept.append(result)
        return result

    with _forward(pipeline, forward):
        yield


@contextmanager
def graphed(pipeline: Any) -> Iterator[None]:
    """The whole forward pass recorded once as a CUDA graph and replayed: no launch gaps, same kernels."""
    original = pipeline.transformer.forward
    recorded: list[tuple[Any, tuple[Any, ...], Any]] = []

    def forward(*, hidden_states: Any, timestep: Any, encoder_hidden_states: Any, **arguments: Any) -> Any:
        given = (hidden_states, timestep, encoder_hidden_states)
        if not recorded:
            recorded.append(_record(original, given, arguments))
        graph, inputs, output = recorded[0]
        for place, value in zip(inputs, given, strict=True):
            place.copy_(value)
        graph.replay()
        return (output.clone(),)

    with _forward(pipeline, forward):
        yield


def _record(
    original: Callable[..., Any], given: tuple[Any, ...], arguments: dict[str, Any]
) -> tuple[Any, tuple[Any, ...], Any]:
    inputs = tuple(value.clone() for value in given)
    named = dict(zip(("hidden_states", "timestep", "encoder_hidden_states"), inputs, strict=True)) | arguments
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        original(**named)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = original(**named)[0]
    return graph, inputs, output


class Float8Linear(torch.nn.Module):  # type: ignore[misc]
    """A linear layer in FP8 (e4m3): one scale per output channel, one per token, found as it goes."""

    def __init__(self, linear: Any) -> None:
        super().__init__()
        scale = linear.weight.abs().amax(1, keepdim=True).float() / _FP8_MAX
        self.weight = (linear.weight.float() / scale).to(_FP8)
        self.scale = scale.t().contiguous()
        self.bias = None if linear.bias is None else linear.bias.to(torch.bfloat16)

    def forward(self, given: Any) -> Any:
        """(..., in) to (..., out), bfloat16."""
        rows = given.reshape(-1, given.shape[-1])
        scale = rows.abs().amax(1, keepdim=True).float().clamp(min=1e-12) / _FP8_MAX
        scaled = (rows.float() / scale).clamp(-_FP8_MAX, _FP8_MAX).to(_FP8)
        product = torch._scaled_mm(
            scaled,
            self.weight.t(),
            scale_a=scale,
            scale_b=self.scale,
            bias=self.bias,
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )
        return product.reshape(*given.shape[:-1], -1)


@contextmanager
def float8(pipeline: Any) -> Iterator[None]:
    """FP8 in every linear layer of the blocks."""
    places = [
        (parent, name, child)
        for block in pipeline.transformer.blocks
        for parent in block.modules()
        for name, child in parent.named_children()
        if isinstance(child, torch.nn.Linear)
    ]
    for parent, name, child in places:
        setattr(parent, name, Float8Linear(child))
    try:
        yield
    finally:
        for parent, name, child in places:
            setattr(parent, name, child)


def cached(make: Callable[[Any], Any]) -> Change:
    """One of diffusers' caches; `make` gives its configuration for a pipeline."""

    @contextmanager
    def change(pipeline: Any) -> Iterator[None]:
        pipeline.transformer.enable_cache(make(pipeline))
        try:
            yield
        finally:
            pipeline.transformer.disable_cache()

    return change


def caches(steps: int, *before: Change) -> list[Mode]:
    """The caches that diffusers has for a Wan transformer, at settings that skip something in `steps` steps."""
    kinds: dict[str, Callable[[Any], Any]] = {
        "first-block cache, threshold 0.2": lambda _: FirstBlockCacheConfig(threshold=0.2),
        "first-block cache, threshold 1": lambda _: FirstBlockCacheConfig(threshold=1.0),
        "MagCache, ratios 1": lambda _: MagCacheConfig(num_inference_steps=steps, mag_ratios=[1.0] * steps),
        "TaylorSeer, its default": lambda _: TaylorSeerCacheConfig(),
        "TaylorSeer, attn1 attn2 ffn": lambda _: TaylorSeerCacheConfig(
            cache_interval=3, cache_identifiers=[r".*attn1", r".*attn2", r".*ffn"]
        ),
        "pyramid attention broadcast, 2": lambda pipeline: PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2,
            spatial_attention_timestep_skip_range=(100, 950),
            current_timestep_callback=lambda: pipeline.current_timestep,
        ),
    }
    return [Mode(name, "fast", (*before, cached(make))) for name, make in kinds.items()]


@contextmanager
def counted_attention() -> Iterator[list[int]]:
    """Counts the attention kernels that really run, in the one element of the list."""
    count = [0]
    original = torch.nn.functional.scaled_dot_product_attention

    def attend(*args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        return original(*args, **kwargs)

    torch.nn.functional.scaled_dot_product_attention = attend
    try:
        yield count
    finally:
        torch.nn.functional.scaled_dot_product_attention = original
