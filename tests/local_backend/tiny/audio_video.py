"""LTX-2: a Gemma, connectors, one transformer for video and sound, two VAEs and a vocoder."""

from typing import Any

from diffusers import (
    AutoencoderKLLTX2Audio,
    AutoencoderKLLTX2Video,
    FlowMatchEulerDiscreteScheduler,
    LTX2Pipeline,
    LTX2VideoTransformer3DModel,
)
from diffusers.pipelines.ltx2 import LTX2TextConnectors
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

from tests.local_backend.tiny import gemma, parts

_LAYERS = 2
_MELS = 8


@parts.seeded
def ltx2() -> Any:
    """STG is named by block, so there are 30 of them; the vocoder's rate is that of the sound."""
    tokenizer = gemma.tokenizer()
    return LTX2Pipeline(
        tokenizer=tokenizer,
        text_encoder=_text_encoder(len(tokenizer)),
        transformer=_transformer(),
        connectors=_connectors(),
        vae=_vae(),
        audio_vae=_audio_vae(),
        vocoder=_vocoder(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def _text_encoder(vocabulary: int) -> Any:
    text = {
        "vocab_size": vocabulary,
        "hidden_size": parts.WIDTH,
        "intermediate_size": 32,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    return Gemma3ForConditionalGeneration(config).eval()


def _transformer() -> Any:
    return LTX2VideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        audio_in_channels=4,
        audio_out_channels=4,
        audio_num_attention_heads=2,
        audio_attention_head_dim=4,
        audio_cross_attention_dim=8,
        num_layers=29,
        caption_channels=parts.WIDTH,
        rope_double_precision=False,
        rope_type="split",
        perturbed_attn=True,
    ).eval()


def _connectors() -> Any:
    return LTX2TextConnectors(
        caption_channels=parts.WIDTH,
        text_proj_in_factor=_LAYERS + 1,
        video_connector_num_attention_heads=4,
        video_connector_attention_head_dim=8,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=None,
        audio_connector_num_attention_heads=4,
        audio_connector_attention_head_dim=8,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=None,
        connector_rope_base_seq_len=32,
        rope_double_precision=False,
        causal_temporal_positioning=False,
        rope_type="split",
    ).eval()


def _vae() -> Any:
    vae = AutoencoderKLLTX2Video(
        latent_channels=4,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
        upsample_residual=(False, False, False),
        upsample_factor=(1, 1, 1),
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
    )
    vae.use_framewise_encoding = vae.use_framewise_decoding = False
    return vae.eval()


def _audio_vae() -> Any:
    return AutoencoderKLLTX2Audio(
        base_channels=4,
        ch_mult=(1,),
        num_res_blocks=1,
        resolution=32,
        latent_channels=2,
        mel_bins=_MELS,
    ).eval()


def _vocoder() -> Any:
    return LTX2Vocoder(
        in_channels=2 * _MELS,
        hidden_channels=16,
        out_channels=2,
        upsample_kernel_sizes=[16, 20],
        upsample_factors=[8, 20],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3, 5]],
        output_sampling_rate=16000,
    ).eval()
