"""LTX-Video, CogVideoX and Mochi: a T5, a transformer, a VAE."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLLTXVideo,
    AutoencoderKLMochi,
    CogVideoXDDIMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
    LTXConditionPipeline,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    MochiPipeline,
    MochiTransformer3DModel,
)

from local_backend.families import tiny_random
from tests.local_backend.tiny import parts


def _text() -> dict[str, Any]:
    tokenizer = tiny_random.tokenizer()
    return {"tokenizer": tokenizer, "text_encoder": parts.t5(len(tokenizer))}


@parts.seeded
def ltx() -> Any:
    return _ltx(LTXPipeline)


@parts.seeded
def ltx_condition() -> Any:
    """As 0.9.7 names its class."""
    return _ltx(LTXConditionPipeline)


def _ltx(kind: type[Any]) -> Any:
    """A VAE that halves time and sides three times, on patches of 4 pixels, as the real one does."""
    transformer = LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=32,
        num_layers=2,
        caption_channels=parts.WIDTH,
    )
    vae = AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
    )
    vae.use_framewise_encoding = vae.use_framewise_decoding = False
    return kind(
        **_text(), transformer=transformer.eval(), vae=vae.eval(), scheduler=FlowMatchEulerDiscreteScheduler()
    )


def _cogvideox(kind: type[Any], channels: int) -> Any:
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=channels,
        out_channels=4,
        time_embed_dim=2,
        text_embed_dim=parts.WIDTH,
        num_layers=2,
        sample_width=8,
        sample_height=8,
        sample_frames=9,
        use_rotary_positional_embeddings=True,
    )
    vae = AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2
    )
    return kind(**_text(), transformer=transformer.eval(), vae=vae.eval(), scheduler=CogVideoXDDIMScheduler())


@parts.seeded
def cogvideox() -> Any:
    return _cogvideox(CogVideoXPipeline, 4)


@parts.seeded
def cogvideox_image_to_video() -> Any:
    return _cogvideox(CogVideoXImageToVideoPipeline, 8)


@parts.seeded
def mochi() -> Any:
    transformer = MochiTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        text_embed_dim=parts.WIDTH,
        time_embed_dim=4,
        max_sequence_length=256,
    )
    transformer.pos_frequencies.data = torch.full_like(transformer.pos_frequencies, 0.1)
    vae = AutoencoderKLMochi(
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    )
    return MochiPipeline(
        **_text(), transformer=transformer.eval(), vae=vae.eval(), scheduler=FlowMatchEulerDiscreteScheduler()
    )
