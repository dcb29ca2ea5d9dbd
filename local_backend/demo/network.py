"""The demo model's network: a small diffusion transformer in pixel space, its text encoder and its refiner.

A clip is 16 frames of 32 x 32; each patch of 4 x 4 pixels over all frames is one token, so that a step is cheap on a
CPU. The network predicts the clean clip; its last layers see the noisy patch again, so that nothing sharp is lost.
"""

import math
from typing import Final

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, layer_norm, pixel_shuffle, silu

from local_backend.demo.render import FRAMES, SIDE
from local_backend.demo.world import MAX_TOKENS, VOCABULARY

PATCH: Final = 4
_GRID: Final = SIDE // PATCH
_PATCH_VALUES: Final = 3 * FRAMES * PATCH * PATCH
_FREQUENCIES: Final = 32


class TextEncoder(ModelMixin, ConfigMixin):
    """Token ids of world.read, padded, to one vector per token and one for the whole prompt."""

    @register_to_config
    def __init__(self, width: int = 128, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(VOCABULARY), width)
        self.position = nn.Parameter(torch.randn(MAX_TOKENS, width) * 0.1)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embed.weight, std=0.5)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (n, MAX_TOKENS), 0 = padding: vectors (n, MAX_TOKENS, width), mean (n, width), mask, True = word."""
        mask = tokens != 0
        x = self.embed(tokens) + self.position
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~mask)
        x = self.norm(x)
        weights = mask.unsqueeze(-1).to(x.dtype)
        return x, (x * weights).sum(1) / weights.sum(1).clamp(min=1), mask


class Attention(nn.Module):
    """Self-attention with normed queries and keys, written out: a CPU's fused kernel is slow backwards (measured)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.q_norm = nn.RMSNorm(width // heads)
        self.k_norm = nn.RMSNorm(width // heads)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """X (n, tokens, width); bias (n, 1, 1, tokens) is added to the scores."""
        count, length, width = x.shape
        q, k, v = self.qkv(x).view(count, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = self.q_norm(q) @ self.k_norm(k).transpose(-1, -2) / math.sqrt(width // self.heads)
        mixed = (scores + bias).softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).reshape(count, length, width))


class Block(nn.Module):
    """A transformer block whose norms are steered by the condition and that starts as the identity."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.wide = nn.Linear(width, 3 * width)
        self.narrow = nn.Linear(3 * width, width)
        self.steer = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.steer.weight)
        nn.init.zeros_(self.steer.bias)

    def forward(self, x: Tensor, condition: Tensor, bias: Tensor) -> Tensor:
        """X (n, tokens, width), condition (n, width)."""
        a, b, c, d, e, f = self.steer(condition).unsqueeze(1).chunk(6, -1)
        x = x + c * self.attention(_steered(x, a, b), bias)
        return x + f * self.narrow(gelu(self.wide(_steered(x, d, e)), approximate="tanh"))


def _steered(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return layer_norm(x, x.shape[-1:]) * (1 + scale) + shift


class DemoTransformer(ModelMixin, ConfigMixin):
    """Predicts the clean clip from a noisy one, its noise level and the text."""

    _repeated_blocks = ("Block",)

    @register_to_config
    def __init__(self, width: int = 256, depth: int = 6, heads: int = 4, text_width: int = 128) -> None:
        super().__init__()
        self.patch_in = nn.Linear(_PATCH_VALUES, width)
        self.text_in = nn.Linear(text_width, width)
        self.text_position = nn.Parameter(torch.randn(MAX_TOKENS, width) * 0.02)
        self.register_buffer("position", _positions(width), persistent=False)
        self.time = nn.Sequential(nn.Linear(4 * _FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.pooled = nn.Sequential(nn.Linear(text_width, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.steer = nn.Linear(width, 2 * width)
        self.keep = nn.Linear(width, _PATCH_VALUES)
        self.head_wide = nn.Linear(width + _PATCH_VALUES, 4 * width)
        self.head_out = nn.Linear(4 * width, _PATCH_VALUES)
        for layer in (self.steer, self.keep, self.head_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, clip: Tensor, noise: Tensor, text: Tensor, pooled: Tensor, words: Tensor) -> Tensor:
        """Clip (n, 3, 16, 32, 32), noise (n,) from 0 (clean) to 1; text, pooled, words as TextEncoder gives them."""
        patches = _to_patches(clip)
        condition = silu(self.time(_noise_features(noise)) + self.pooled(pooled))
        x = torch.cat([self.patch_in(patches) + self.position, self.text_in(text) + self.text_position], 1)
        seen = torch.cat([words.new_ones(len(words), patches.shape[1]), words], 1)
        bias = torch.zeros_like(seen, dtype=x.dtype).masked_fill(~seen, -1e4)[:, None, None]
        for block in self.blocks:
            x = block(x, condition, bias)
        x = x[:, : patches.shape[1]]
        shift, scale = self.steer(condition).unsqueeze(1).chunk(2, -1)
        x = torch.cat([_steered(x, shift, scale), patches], -1)
        made = self.head_out(gelu(self.head_wide(x), approximate="tanh"))
        return _to_clip(made + self.keep(condition).unsqueeze(1) * patches)


class Refiner(ModelMixin, ConfigMixin):
    """Four times as many pixels each way: sharpens a sampled clip frame by frame, knowing its neighbours and the text."""

    @register_to_config
    def __init__(self, width: int = 48, depth: int = 5, text_width: int = 128, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        self.first = nn.Conv2d(9, width, 5, padding=2)
        self.middle = nn.ModuleList(nn.Conv2d(width, width, 3, padding=2, dilation=2) for _ in range(depth))
        self.steer = nn.Linear(text_width, 2 * width * depth)
        self.last = nn.Conv2d(width, 3 * scale * scale, 3, padding=1)
        nn.init.normal_(self.steer.weight, std=0.02)
        nn.init.zeros_(self.steer.bias)
        nn.init.normal_(self.last.weight, std=0.01)
        nn.init.zeros_(self.last.bias)

    def forward(self, clip: Tensor, pooled: Tensor) -> Tensor:
        """Clip (n, 3, frames, side, side), -1..1, pooled as TextEncoder gives it: (n, 3, frames, scale * side, ...)."""
        count, _, frames, side, _ = clip.shape
        before = torch.cat([clip[:, :, :1], clip[:, :, :-1]], 2)
        after = torch.cat([clip[:, :, 1:], clip[:, :, -1:]], 2)
        seen = torch.cat([before, clip, after], 1).transpose(1, 2).reshape(count * frames, 9, side, side)
        steer = self.steer(pooled).repeat_interleave(frames, 0)[:, :, None, None]
        x = silu(self.first(seen))
        for layer, part in zip(self.middle, steer.chunk(len(self.middle), 1), strict=True):
            scale, shift = part.chunk(2, 1)
            x = x + silu(layer(x) * (1 + scale) + shift)
        plain = interpolate(seen[:, 3:6], scale_factor=self.scale, mode="bilinear", align_corners=False)
        made = plain + pixel_shuffle(self.last(x), self.scale)
        return made.view(count, frames, 3, side * self.scale, -1).transpose(1, 2)


def _positions(width: int) -> Tensor:
    """Fixed sines of row and column, shape (64, width)."""
    axis = torch.arange(_GRID, dtype=torch.float32)
    frequencies = torch.exp(-math.log(100) * torch.arange(width // 4) / (width // 4))
    angles = axis[:, None] * frequencies
    one = torch.cat([angles.sin(), angles.cos()], 1)
    rows, columns = one[:, None].expand(_GRID, _GRID, -1), one[None].expand(_GRID, _GRID, -1)
    return torch.cat([rows, columns], -1).reshape(_GRID * _GRID, width)


def _noise_features(noise: Tensor) -> Tensor:
    """Sines of the noise level and of the logarithm of its ratio to the signal. Shape (n, 4 * _FREQUENCIES)."""
    noise = noise.float()
    frequencies = torch.exp(-math.log(1000) * torch.arange(_FREQUENCIES, device=noise.device) / _FREQUENCIES)
    ratio = torch.log((1 - noise + 1e-4) / (noise + 1e-4))
    angles = torch.cat([1000 * noise[:, None] * frequencies, 8 * ratio[:, None] * frequencies], 1)
    return torch.cat([angles.sin(), angles.cos()], 1)


def _to_patches(clip: Tensor) -> Tensor:
    count = len(clip)
    cut = clip.reshape(count, 3, FRAMES, _GRID, PATCH, _GRID, PATCH)
    return cut.permute(0, 3, 5, 2, 4, 6, 1).reshape(count, _GRID * _GRID, _PATCH_VALUES)


def _to_clip(patches: Tensor) -> Tensor:
    count = len(patches)
    cut = patches.reshape(count, _GRID, _GRID, FRAMES, PATCH, PATCH, 3)
    return cut.permute(0, 6, 3, 1, 4, 2, 5).reshape(count, 3, FRAMES, SIDE, SIDE)
