"""Published video model architectures with random weights, at the shapes they are used at, and their arithmetic.

Sizes are those of the published configurations; no weights are read. Random weights cost the same time as trained
ones in every dense computation, and say nothing about picture quality.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)

SEED = 7
_TEXT_WIDTH = 4096
_SHARP_ATTENTION = (
    2.0  # scores of standard deviation 2: about 1 key in 50 matters, where 1 would be an average
)


@dataclass(frozen=True, slots=True)
class Case:
    """One model at one shape: pixels, frames; the transformer's layers, width, feed-forward width; latent strides."""

    name: str
    build: Callable[["Case", str], Any]
    width: int
    height: int
    frames: int
    steps: int
    layers: int
    heads: int
    head_width: int
    feed_forward: int
    space: int  # pixels along one side of a token
    time: int  # frames per latent frame
    text_tokens: int = 512
    guidance: float = 5.0
    tiny: bool = False  # a narrow VAE too

    @property
    def tokens(self) -> int:
        """Length of the sequence that attention works on."""
        latents = (self.frames - 1) // self.time + 1
        return latents * (self.height // self.space) * (self.width // self.space)

    def attention_flops(self) -> float:
        """Of one forward pass over one sequence: scores and weighted sums, self and cross."""
        inner = self.heads * self.head_width
        return 4.0 * self.layers * inner * self.tokens * (self.tokens + self.text_tokens)

    def linear_flops(self) -> float:
        """Of one forward pass over one sequence: projections and feed-forward (embeddings left out: below 1 %)."""
        inner = self.heads * self.head_width
        per_token = 2.0 * (6 * inner * inner + 2 * inner * self.feed_forward)
        return self.layers * (self.tokens * per_token + self.text_tokens * 4.0 * inner * inner)

    def step_flops(self) -> float:
        """Of one denoising step with classifier-free guidance: two passes."""
        return 2 * (self.attention_flops() + self.linear_flops())

    def inputs(self, device: str, steps: int, output: str = "latent") -> dict[str, Any]:
        """Arguments of a pipeline call: random text embeddings, a seeded CPU generator."""
        noise = torch.Generator("cpu").manual_seed(SEED)
        size = (1, self.text_tokens, _TEXT_WIDTH)
        embeds = [torch.randn(size, generator=noise).to(device, torch.bfloat16) for _ in range(2)]
        arguments = {
            "prompt_embeds": embeds[0],
            "negative_prompt_embeds": embeds[1],
            "width": self.width,
            "height": self.height,
            "num_frames": self.frames,
            "num_inference_steps": steps,
            "guidance_scale": self.guidance,
            "generator": torch.Generator("cpu").manual_seed(SEED),
            "output_type": output,
        }
        if self.build is ltx:
            mask = torch.ones(1, self.text_tokens, device=device, dtype=torch.bool)
            arguments |= {"prompt_attention_mask": mask, "negative_prompt_attention_mask": mask}
        return arguments


@contextmanager
def _seeded_on(device: str) -> Iterator[None]:
    torch.manual_seed(SEED)
    with torch.device(device):
        yield


def _randomize(transformer: Any) -> None:
    """Weights that keep their input's size, and gates and attention scores that matter, as trained ones do."""
    for name, parameter in transformer.named_parameters():
        if parameter.ndim > 1 and name.endswith("weight"):
            parameter.normal_(std=1 / math.sqrt(parameter[0].numel()))
        elif name.endswith("scale_shift_table"):
            parameter.normal_(std=0.3)
        elif name.endswith("norm_q.weight"):
            parameter.fill_(_SHARP_ATTENTION)


def _as_loaded(transformer: Any, dtype: torch.dtype) -> Any:
    """The dtypes that `from_pretrained(dtype=...)` gives: some modules stay in float32."""
    keep = set(transformer._keep_in_fp32_modules or ())
    for name, parameter in transformer.named_parameters():
        if not keep & set(name.split(".")):
            parameter.data = parameter.data.to(dtype)
    return transformer.eval()


def _visible(vae: Any) -> Any:
    """A decoder whose picture fills most of the range without leaving it."""
    for module in vae.modules():
        if isinstance(module, torch.nn.Conv3d | torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    return vae.eval()


def _unipc(shift: float) -> Any:
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=shift
    )


def _wan_pipeline(case: Case, device: str, channels: int, vae: dict[str, Any], **options: Any) -> Any:
    with _seeded_on(device):
        transformer = WanTransformer3DModel(
            num_attention_heads=case.heads,
            attention_head_dim=case.head_width,
            in_channels=channels,
            out_channels=channels,
            text_dim=_TEXT_WIDTH,
            ffn_dim=case.feed_forward,
            num_layers=case.layers,
        )
        _randomize(transformer)
        decoder = _visible(AutoencoderKLWan(**vae))
    pipeline = WanPipeline(
        tokenizer=None,
        text_encoder=None,
        transformer=_as_loaded(transformer, torch.bfloat16),
        vae=decoder,
        scheduler=_unipc(options.pop("shift")),
        **options,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def wan21(case: Case, device: str) -> Any:
    """Wan 2.1: 8x8x4 VAE of 16 channels, kept in float32 as diffusers' documentation says."""
    return _wan_pipeline(case, device, 16, {"base_dim": 8} if case.tiny else {}, shift=3.0)


def wan22_5b(case: Case, device: str) -> Any:
    """Wan 2.2 TI2V 5B: 16x16x4 VAE of 48 channels; every token carries its own timestep."""
    vae = {
        "base_dim": 8 if case.tiny else 160,
        "decoder_base_dim": 8 if case.tiny else 256,
        "z_dim": 48,
        "is_residual": True,
        "in_channels": 12,
        "out_channels": 12,
        "patch_size": 2,
        "scale_factor_spatial": 16,
        "latents_mean": [0.0] * 48,
        "latents_std": [1.0] * 48,
    }
    return _wan_pipeline(case, device, 48, vae, shift=5.0, expand_timesteps=True)


def ltx(case: Case, device: str) -> Any:
    """LTX-Video 2B (0.9): 32x32x8 VAE of 128 channels, all in bfloat16 as its documentation says."""
    with _seeded_on(device):
        transformer = LTXVideoTransformer3DModel(
            num_attention_heads=case.heads, attention_head_dim=case.head_width, num_layers=case.layers
        )
        _randomize(transformer)
        narrow = dict.fromkeys(("block_out_channels", "decoder_block_out_channels"), (8, 16, 32, 32))
        vae = _visible(AutoencoderKLLTXVideo(**(narrow if case.tiny else {})))
    pipeline = LTXPipeline(
        tokenizer=None,
        text_encoder=None,
        transformer=_as_loaded(transformer, torch.bfloat16),
        vae=vae.to(torch.bfloat16),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


WAN21 = Case("Wan2.1-T2V-1.3B 832x480, 81 frames", wan21, 832, 480, 81, 50, 30, 12, 128, 8960, 16, 4)
WAN21_SMALL = Case("Wan2.1-T2V-1.3B 448x256, 17 frames", wan21, 448, 256, 17, 50, 30, 12, 128, 8960, 16, 4)
WAN22 = Case("Wan2.2-TI2V-5B 1280x704, 121 frames", wan22_5b, 1280, 704, 121, 50, 30, 24, 128, 14336, 32, 4)
LTX = Case(
    "LTX-Video-2B 704x512, 161 frames", ltx, 704, 512, 161, 50, 28, 32, 64, 8192, 32, 8, text_tokens=128, guidance=3.0
)  # fmt: skip
TINY = Case("Wan, tiny", wan21, 64, 64, 9, 4, 2, 2, 32, 64, 16, 4, tiny=True)
"""For a run without a GPU: shows that the script works, measures nothing."""
