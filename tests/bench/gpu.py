"""`python -m tests.bench.gpu`: what a GPU does with the video models, and what each way to run them gains.

No weights are needed (see gpu_models). Every mode is compared with plain diffusers on the same seed: the latents after
a few steps and the frames decoded from them. A mode that fails is a row that says so.
"""

import argparse
import copy
import gc
import itertools
import json
import math
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
import transformers

from local_backend import encode
from local_backend.clip import Clip, quantized
from tests.bench import gpu_modes, gpu_worker
from tests.bench.gpu_models import LTX, SEED, TINY, WAN21, WAN21_SMALL, WAN22, Case
from tests.bench.gpu_modes import Mode, attention, caches, compiled, counted_attention

SECTIONS: Final = (
    "ceiling", "worker", "modes", "vae", "small", "caches", "whole", "wan22", "ltx", "text", "compiled_vae",
)  # fmt: skip
_STEPS: Final = 4
_CACHE_STEPS: Final = 8
_PREVIEW: Final = 5  # latent frames decoded to compare pictures
_PLAIN: Final = Mode("plain diffusers", "exact")
_CUDNN: Final = attention("_native_cudnn")


class Bench:
    """The results so far; a measurement that fails or comes too late is noted, and the next one runs."""

    def __init__(self, device: str, seconds: float, out: Path, ceiling: float | None) -> None:
        self.device = device
        self.ceiling = ceiling  # TFLOP/s
        self.rows: list[dict[str, Any]] = []
        self._began = time.monotonic()
        self._seconds = seconds
        self._out = out

    def row(self, section: str, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Run one measurement, print it, keep it."""
        began = time.monotonic()
        try:
            found = measure() if began - self._began < self._seconds else {"skipped": "out of time"}
        except Exception as error:
            traceback.print_exc(limit=-6, file=sys.stdout)
            found = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
        self.free()
        took = round(time.monotonic() - began, 1)
        self.rows.append({"section": section, "name": name, **found, "took_seconds": took})
        print(f"{section:8} {name:44} {json.dumps(found)} [{took} s]", flush=True)
        self._write()
        return found

    def free(self) -> None:
        """Give unreferenced memory back."""
        gc.collect()
        if self.device != "cpu":
            torch.cuda.empty_cache()

    def sync(self) -> None:
        """Wait for the device."""
        if self.device != "cpu":
            torch.cuda.synchronize()

    def timed(self, work: Callable[[], Any]) -> tuple[float, Any]:
        """Seconds, and the result."""
        self.sync()
        began = time.perf_counter()
        result = work()
        self.sync()
        return time.perf_counter() - began, result

    def median(self, work: Callable[[], Any], times: int = 10) -> float:
        """Seconds, after two runs that do not count."""
        for _ in range(2):
            work()
        return statistics.median(self.timed(work)[0] for _ in range(times))

    def peak_gib(self, *, reset: bool = False) -> float:
        """Most memory allocated since the last reset."""
        if self.device == "cpu":
            return 0.0
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return round(torch.cuda.max_memory_allocated() / 2**30, 2)

    def _write(self) -> None:
        self._out.parent.mkdir(parents=True, exist_ok=True)
        self._out.write_text(json.dumps({"machine": machine(self.device), "rows": self.rows}, indent=1))


def machine(device: str) -> dict[str, Any]:
    """What the figures were measured on and with."""
    facts: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": " ".join(["python -m tests.bench.gpu", *sys.argv[1:]]),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
    }
    if device != "cpu":
        properties = torch.cuda.get_device_properties(0)
        facts |= {
            "device": properties.name,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return facts


def main() -> None:
    """Run the chosen sections."""
    parser = argparse.ArgumentParser(prog="tests.bench.gpu")
    parser.add_argument("--sections", default=",".join(SECTIONS), help="comma-separated")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=3600, help="start nothing new after this long")
    parser.add_argument(
        "--ceiling", type=float, help="TFLOP/s measured before, where that section is left out"
    )
    parser.add_argument("--out", type=Path, default=Path(".bench/gpu.json"))
    parser.add_argument("--tiny", action="store_true", help="tiny models: shows that the script works")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    diffusers.utils.logging.set_verbosity_error()
    bench = Bench(options.device, options.seconds, options.out, options.ceiling)
    print(json.dumps(machine(options.device)))
    chosen = options.sections.split(",")
    tiny = options.tiny
    if "ceiling" in chosen:
        ceiling(bench, 256 if tiny else 8192, TINY if tiny else WAN21)
    if "worker" in chosen:
        worker(bench)
    if {"modes", "vae", "small", "caches", "whole", "compiled_vae"} & set(chosen):
        wan(bench, TINY if tiny else WAN21, TINY if tiny else WAN21_SMALL, chosen)
    if "wan22" in chosen:
        other(bench, "wan22", replace(WAN22, **_TINY_SIZES) if tiny else WAN22, gpu_modes.one_timestep)
    if "text" in chosen:
        bench.row("text", "UMT5-XXL encoder, 2 prompts", lambda: text_encoder(bench, tiny=tiny))
    if "ltx" in chosen:
        other(bench, "ltx", replace(LTX, **_TINY_SIZES | {"frames": 17}) if tiny else LTX)


_TINY_SIZES: Final[dict[str, Any]] = {
    "width": 64,
    "height": 64,
    "frames": 5,
    "steps": 3,
    "layers": 2,
    "heads": 32,
    "head_width": 64,
    "feed_forward": 64,
    "tiny": True,
}


def ceiling(bench: Bench, size: int, case: Case) -> None:
    """The most this card does: matrix products, copies, attention alone at the model's shape."""
    left, right = (torch.randn(size, size, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    flops = 2 * size**3

    def bf16() -> dict[str, Any]:
        bench.ceiling = flops / bench.median(lambda: left @ right, 20) / 1e12
        return {"tflops": round(bench.ceiling, 1)}

    def fp8(*, per_row: bool) -> dict[str, Any]:
        one = (size, 1) if per_row else ()
        a, b = left.to(torch.float8_e4m3fn), right.to(torch.float8_e4m3fn).t()
        scales = torch.ones(one, device=bench.device), torch.ones(one[::-1], device=bench.device)
        out = torch.bfloat16
        work = partial(torch._scaled_mm, a, b, *scales, out_dtype=out, use_fast_accum=True)
        return {"tflops": round(flops / bench.median(work, 20) / 1e12, 1)}

    def copied() -> dict[str, Any]:
        source = torch.randn(size, size * 16, device=bench.device)
        target = torch.empty_like(source)
        return {"gb_per_second": round(2 * source.nbytes / bench.median(lambda: target.copy_(source)) / 1e9)}

    bench.row("ceiling", f"bf16 {size}^3", bf16)
    bench.row("ceiling", f"fp8 {size}^3, one scale", partial(fp8, per_row=False))
    bench.row("ceiling", f"fp8 {size}^3, a scale per row", partial(fp8, per_row=True))
    bench.row("ceiling", "copy, bytes read and written", copied)
    kernels = torch.nn.attention.SDPBackend
    for name, kernel in (
        ("chosen by torch", None),
        ("flash", kernels.FLASH_ATTENTION),
        ("cudnn", kernels.CUDNN_ATTENTION),
        ("efficient", kernels.EFFICIENT_ATTENTION),
    ):
        bench.row("ceiling", f"attention, {name}", partial(attention_alone, bench, case, kernel))


def attention_alone(bench: Bench, case: Case, kernel: Any) -> dict[str, Any]:
    """Self-attention of one layer, without anything around it."""
    shape = (1, case.heads, case.tokens, case.head_width)
    query, key, value = (torch.randn(shape, device=bench.device, dtype=torch.bfloat16) for _ in range(3))
    attend = torch.nn.functional.scaled_dot_product_attention
    with torch.nn.attention.sdpa_kernel(kernel) if kernel else nullcontext():
        seconds = bench.median(lambda: attend(query, key, value))
    flops = 4.0 * case.heads * case.head_width * case.tokens**2
    return {"ms": round(seconds * 1e3, 3), "tflops": round(flops / seconds / 1e12, 1)}


def worker(bench: Bench) -> None:
    """Our worker with the bundled model."""
    for name, work in (("engine", gpu_worker.direct), ("job thread", gpu_worker.through_jobs)):
        bench.peak_gib(reset=True)
        with tempfile.TemporaryDirectory() as folder:
            bench.row("worker", name, partial(work, Path(folder), bench.device))


class Subject:
    """A pipeline at one shape, and what plain diffusers makes there."""

    def __init__(self, bench: Bench, section: str, case: Case, steps: int, pipeline: Any = None) -> None:
        self.bench = bench
        self.section = section
        self.case = case
        self.steps = steps
        self.pipeline = pipeline or case.build(case, bench.device)
        self.plain: Any = None  # latents
        self.preview: Any = None  # the first frames of it
        self.exact: Any = None  # output of one forward pass in float32

    def denoise(self, steps: int, output: str = "latent") -> tuple[list[float], Any]:
        """Seconds of each step, and what the pipeline gives."""
        times = [time.perf_counter()]

        def note(pipeline: Any, step: int, at: Any, kept: dict[str, Any]) -> dict[str, Any]:
            del pipeline, step, at
            self.bench.sync()
            times.append(time.perf_counter())
            return kept

        inputs = self.case.inputs(self.bench.device, steps, output)
        result = self.pipeline(callback_on_step_end=note, **inputs).frames
        return [after - before for before, after in itertools.pairwise(times)], result

    def forward(self, transformer: Any, dtype: torch.dtype) -> Any:
        """One forward pass of a Wan transformer on fixed inputs, as float32."""
        config = transformer.config
        noise = torch.Generator("cpu").manual_seed(SEED)
        case = self.case
        latents = (
            (case.frames - 1) // case.time + 1,
            case.height * 2 // case.space,
            case.width * 2 // case.space,
        )
        hidden = torch.randn(1, config.in_channels, *latents, generator=noise).bfloat16()
        text = case.inputs(self.bench.device, 1)["prompt_embeds"]
        output = transformer(
            hidden_states=hidden.to(self.bench.device, dtype),
            timestep=torch.tensor([500], device=self.bench.device),
            encoder_hidden_states=text.to(dtype),
            return_dict=False,
        )
        return output[0].float()

    def reference(self) -> dict[str, Any]:
        """The same weights and inputs in float32 throughout: what the modes' rounding is measured against."""
        precise = copy.deepcopy(self.pipeline.transformer).float()
        seconds, self.exact = self.bench.timed(lambda: self.forward(precise, torch.float32))
        return {"seconds": round(seconds, 2)}

    def run(self, mode: Mode, *, count: bool = False) -> dict[str, Any]:
        """Warm up (two steps), then time every step; compare with plain diffusers."""
        with mode.on(self.pipeline):
            first, _ = self.bench.timed(lambda: self.denoise(2))
            self.bench.peak_gib(reset=True)
            with counted_attention() if count else nullcontext([0]) as calls:
                times, latents = self.denoise(self.steps)
            # A mode that leaves work out has cheap and dear steps: their mean is what a video costs.
            step = statistics.fmean(times) if count else statistics.median(times[1:])
            found = {"kind": mode.kind, "step_seconds": round(step, 4), "all_steps": round(sum(times), 3)}
            found["warm_up_seconds"] = round(first, 1)
            found["peak_gib"] = self.bench.peak_gib()
            if count:
                found["attention_calls"] = calls[0]
            elif self.bench.ceiling:
                found["share_of_ceiling"] = round(
                    self.case.step_flops() / step / 1e12 / self.bench.ceiling, 3
                )
            if self.exact is not None and mode.kind == "exact":
                error = self.forward(self.pipeline.transformer, torch.bfloat16) - self.exact
                found["forward_error"] = f"{float(error.norm() / self.exact.norm()):.2e}"
        if self.plain is None:
            self.plain = latents
        else:
            found |= self.difference(latents)
        return found

    def difference(self, latents: Any) -> dict[str, Any]:
        """From plain diffusers: latents and the first frames decoded from them (0 to 1)."""
        change = (latents - self.plain).norm() / self.plain.norm()
        found = {"latents_error": f"{float(change):.2e}"}
        if self.section == "ltx":
            return found
        if self.preview is None:
            self.preview = decoded(self.pipeline.vae, self.plain[:, :, :_PREVIEW])
        return found | compared(decoded(self.pipeline.vae, latents[:, :, :_PREVIEW]), self.preview)


def compared(pictures: Any, plain: Any) -> dict[str, Any]:
    """Largest difference and PSNR of frames from 0 to 1."""
    error = (pictures.float() - plain.float()).abs()
    square = float(error.square().mean())
    psnr = "same" if square == 0 else round(-10 * math.log10(square), 1)
    spread = round(float(plain.float().std()), 3)
    return {"frames_max_abs": round(float(error.max()), 5), "frames_psnr_db": psnr, "frames_std": spread}


def decoded(vae: Any, latents: Any) -> Any:
    """Frames from 0 to 1 of a Wan pipeline's latents, as the pipeline decodes them."""
    given = latents.to(vae.dtype)
    shape = (1, -1, 1, 1, 1)
    mean, std = (
        torch.tensor(numbers, device=given.device, dtype=given.dtype).view(shape)
        for numbers in (vae.config.latents_mean, vae.config.latents_std)
    )
    return vae.decode(given * std + mean, return_dict=False)[0] / 2 + 0.5


def wan(bench: Bench, case: Case, small: Case, chosen: list[str]) -> None:
    """Wan 2.1: every mode, the VAE's settings, a small shape, the caches, whole videos."""
    subject = Subject(bench, "modes", case, _STEPS)
    if "modes" in chosen:
        bench.row("modes", "float32 reference, one pass", subject.reference)
    bench.row("modes", _PLAIN.name, partial(subject.run, _PLAIN))
    for section, measure in (
        ("modes", transformer_modes),
        ("vae", vae_modes),
        ("small", partial(small_modes, small)),
        ("caches", cache_modes),
        ("whole", whole_videos),
        ("compiled_vae", compiled_vae),
    ):
        if section in chosen:
            measure(bench, subject)
        subject.exact = None


def transformer_modes(bench: Bench, subject: Subject) -> None:
    """What is tried on the transformer at full size."""
    for mode in (
        Mode("plain again", "exact"),
        Mode("attention: flash", "exact", (attention("_native_flash"),)),
        Mode("attention: efficient", "exact", (attention("_native_efficient"),)),
        Mode("attention: cudnn", "exact", (_CUDNN,)),
        Mode("cudnn, TF32 products", "exact", (_CUDNN, gpu_modes.tf32)),
        Mode("cudnn, fused projections", "exact", (_CUDNN, gpu_modes.fused_projections)),
        Mode("cudnn, guidance as one batch", "exact", (_CUDNN, gpu_modes.batched_guidance)),
        Mode("cudnn, CUDA graph", "exact", (_CUDNN, gpu_modes.graphed)),
        Mode("compiled blocks", "exact", (compiled(),)),
        Mode("cudnn, compiled blocks", "exact", (_CUDNN, compiled())),
        Mode("cudnn, FP8 linear", "fast", (_CUDNN, gpu_modes.float8)),
        Mode("cudnn, FP8 linear, compiled", "fast", (_CUDNN, gpu_modes.float8, compiled())),
    ):
        bench.row("modes", mode.name, partial(subject.run, mode))


def small_modes(case: Case, bench: Bench, subject: Subject) -> None:
    """What is tried where launches may take longer than the work."""
    few = Subject(bench, "small", case, _CACHE_STEPS, subject.pipeline)
    for mode in (
        _PLAIN,
        Mode("attention: cudnn", "exact", (_CUDNN,)),
        Mode("guidance as one batch", "exact", (gpu_modes.batched_guidance,)),
        Mode("CUDA graph", "exact", (gpu_modes.graphed,)),
        Mode("compiled blocks", "exact", (compiled(),)),
        Mode("compiled blocks, CUDA graph", "exact", (compiled(), gpu_modes.graphed)),
        Mode("compiled blocks, reduce-overhead", "exact", (compiled(mode="reduce-overhead"),)),
    ):
        bench.row("small", mode.name, partial(few.run, mode))


def cache_modes(bench: Bench, subject: Subject) -> None:
    """Work left out: diffusers' caches, and guidance; the attention calls tell whether anything was."""
    many = Subject(bench, "caches", subject.case, _CACHE_STEPS, subject.pipeline)
    half = Mode("no guidance in the later half", "fast", (_CUDNN, gpu_modes.half_guidance))
    for mode in (Mode("cudnn", "exact", (_CUDNN,)), half, *caches(_CACHE_STEPS, _CUDNN)):
        bench.row("caches", mode.name, partial(many.run, mode, count=True))


def vae_modes(bench: Bench, subject: Subject) -> None:
    """Decoding the same latents in each setting, all compared with the plain one."""
    plain: list[Any] = []

    def run(dtype: torch.dtype, **settings: bool) -> dict[str, Any]:
        vae = copy.deepcopy(subject.pipeline.vae).to(dtype)
        if settings.get("last"):
            _channels_last(vae)
        if settings.get("tiling"):
            vae.enable_tiling()
        torch.backends.cudnn.allow_tf32 = settings.get("tf32", True)
        torch.backends.cudnn.benchmark = settings.get("benchmark", False)
        try:
            found, pictures = decode_timed(bench, vae, subject.plain)
        finally:
            torch.backends.cudnn.allow_tf32 = True
            torch.backends.cudnn.benchmark = False
        if not plain:
            plain.append(pictures.cpu())
            return found
        return found | compared(pictures, plain[0].to(pictures.device))

    half, full = torch.bfloat16, torch.float32
    rows = {
        "float32 (TF32 convolutions, torch's default)": partial(run, full),
        "float32, TF32 off": partial(run, full, tf32=False),
        "float32, channels last": partial(run, full, last=True),
        "float32, cudnn.benchmark": partial(run, full, benchmark=True),
        "float32, tiling": partial(run, full, tiling=True),
        "bfloat16": partial(run, half),
        "bfloat16, channels last": partial(run, half, last=True),
        "bfloat16, cudnn.benchmark": partial(run, half, benchmark=True),
        "bfloat16, channels last, cudnn.benchmark": partial(run, half, last=True, benchmark=True),
        "float16, channels last": partial(run, torch.float16, last=True),
    }
    for name, work in rows.items():
        bench.row("vae", name, work)


def decode_timed(bench: Bench, vae: Any, latents: Any) -> tuple[dict[str, Any], Any]:
    """Three latent frames to warm up, then all of them."""
    warm, _ = bench.timed(partial(decoded, vae, latents[:, :, :3]))
    bench.peak_gib(reset=True)
    seconds, pictures = bench.timed(partial(decoded, vae, latents))
    found = {"seconds": round(seconds, 3), "warm_up_seconds": round(warm, 1), "peak_gib": bench.peak_gib()}
    return found, pictures


def compiled_vae(bench: Bench, subject: Subject) -> None:
    """The decoder compiled, in bfloat16, channels last."""

    def run() -> dict[str, Any]:
        torch.compiler.reset()
        vae = copy.deepcopy(subject.pipeline.vae).to(torch.bfloat16)
        _channels_last(vae)
        vae.decoder.compile(dynamic=False)
        return decode_timed(bench, vae, subject.plain)[0]

    bench.row("vae", "bfloat16, channels last, compiled", run)


def _channels_last(module: Any) -> None:
    for parameter in module.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.to(memory_format=torch.channels_last_3d)
        elif parameter.ndim == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)


def whole_videos(bench: Bench, subject: Subject) -> None:
    """Every step, the decoding and the file: plain diffusers, then the fastest exact way."""
    fastest = Mode("cudnn, compiled blocks", "exact", (_CUDNN, compiled()))
    for mode, dtype in ((_PLAIN, torch.float32), (fastest, torch.float32), (fastest, torch.bfloat16)):
        name = f"{mode.name}, VAE {str(dtype).removeprefix('torch.')}"
        bench.row("whole", name, partial(whole, subject, mode, dtype))


def whole(subject: Subject, mode: Mode, dtype: torch.dtype) -> dict[str, Any]:
    """Seconds from embedded prompt to frames in memory, then to a file."""
    bench, case = subject.bench, subject.case
    kept = subject.pipeline.vae
    if dtype is not torch.float32:
        subject.pipeline.vae = copy.deepcopy(kept).to(dtype)
        _channels_last(subject.pipeline.vae)
    try:
        with mode.on(subject.pipeline):
            warm, _ = bench.timed(lambda: subject.denoise(1, "np"))
            bench.peak_gib(reset=True)
            seconds, (times, frames) = bench.timed(lambda: subject.denoise(case.steps, "np"))
    finally:
        subject.pipeline.vae = kept
    found = {"seconds": round(seconds, 2), "steps": case.steps, "denoising": round(sum(times), 2)}
    found["decoding"] = round(seconds - sum(times), 2)
    found["step_seconds"] = round(statistics.median(times[1:]), 4)
    found["warm_up_seconds"] = round(warm, 1)
    found["peak_gib"] = bench.peak_gib()
    size = (case.width, case.height)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "video.mp4")
        write = partial(
            encode.write_clip, path, Clip(quantized(frames[0])), size=size, rate=16, seconds=5, tick=_ignore
        )
        found["file"] = round(bench.timed(write)[0], 2)
    return found


def _ignore(share: float) -> None:
    del share


def other(bench: Bench, section: str, case: Case, *changes: gpu_modes.Change) -> None:
    """A further model: plain, cudnn, compiled, and changes of its own; then the decoding."""
    subject = Subject(bench, section, case, _STEPS)
    modes = [_PLAIN, Mode("attention: cudnn", "exact", (_CUDNN,))]
    if changes:
        modes.append(Mode("cudnn, one timestep", "exact", (_CUDNN, *changes)))
    modes.append(Mode("cudnn, compiled blocks", "exact", (_CUDNN, *changes, compiled())))
    for mode in modes:
        bench.row(section, mode.name, partial(subject.run, mode))
    dtypes = (torch.bfloat16,) if section == "ltx" else (torch.float32, torch.bfloat16)
    for dtype in dtypes:
        name = f"one step and decoding, VAE {str(dtype).removeprefix('torch.')}"
        bench.row(section, name, partial(decoding, subject, dtype))


def decoding(subject: Subject, dtype: torch.dtype) -> dict[str, Any]:
    """Seconds from the last latents to frames in memory, second time."""
    subject.pipeline.vae.to(dtype)
    found: dict[str, Any] = {}
    with Mode("", "exact", (_CUDNN,)).on(subject.pipeline):
        for name in ("first", "second"):
            subject.bench.peak_gib(reset=True)
            seconds, (times, _) = subject.bench.timed(lambda: subject.denoise(1, "np"))
            found[f"{name}_decoding"] = round(seconds - sum(times), 2)
    return found | {"peak_gib": subject.bench.peak_gib()}


def text_encoder(bench: Bench, *, tiny: bool) -> dict[str, Any]:
    """Wan's text encoder on prompt and negative prompt of 512 tokens each."""
    sizes = {
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10240,
        "num_layers": 24,
        "num_heads": 64,
        "vocab_size": 256384,
    }
    if tiny:
        sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 100}
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(bench.device):
            encoder = transformers.UMT5EncoderModel(transformers.UMT5Config(**sizes)).eval()
    finally:
        torch.set_default_dtype(torch.float32)
    tokens = torch.randint(0, 100, (1, 512), device=bench.device)
    seconds = bench.median(
        lambda: [encoder(tokens, attention_mask=torch.ones_like(tokens)) for _ in range(2)]
    )
    return {"seconds": round(seconds, 4), "peak_gib": bench.peak_gib()}


if __name__ == "__main__":
    main()
