"""Wan in its five layouts, and SkyReels V2, which shares its parts."""

from typing import Any

from diffusers import (
    SkyReelsV2DiffusionForcingPipeline,
    SkyReelsV2Transformer3DModel,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from local_backend.families import tiny_random
from tests.local_backend.tiny import parts

_SIZES: dict[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "out_channels": 16,
    "text_dim": parts.WIDTH,
    "freq_dim": 64,
    "ffn_dim": 32,
    "num_layers": 2,
    "rope_max_seq_len": 64,
}


def _common() -> dict[str, Any]:
    tokenizer = tiny_random.tokenizer()
    return {
        "tokenizer": tokenizer,
        "text_encoder": tiny_random.text_encoder(len(tokenizer)),
        "vae": parts.wan_vae(),
        "scheduler": tiny_random.scheduler(),
    }


def _transformer(**others: Any) -> Any:
    return WanTransformer3DModel(**{**_SIZES, "in_channels": 16, **others}).eval()


@parts.seeded
def text_to_video() -> Any:
    return WanPipeline(**_common(), transformer=_transformer())


@parts.seeded
def expanded_timesteps() -> Any:
    """2.2's 5B: images without another transformer."""
    return WanPipeline(**_common(), transformer=_transformer(), expand_timesteps=True)


@parts.seeded
def two_experts() -> Any:
    """2.2's A14B: one transformer for high noise, one for low."""
    return WanPipeline(
        **_common(), transformer=_transformer(), transformer_2=_transformer(), boundary_ratio=0.875
    )


def _seen_by_clip(**others: Any) -> Any:
    vision = CLIPVisionConfig(
        hidden_size=16,
        projection_dim=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    return WanImageToVideoPipeline(
        **_common(),
        transformer=_transformer(in_channels=36, image_dim=16, added_kv_proj_dim=24, **others),
        image_encoder=CLIPVisionModelWithProjection(vision).eval(),
        image_processor=parts.image_processor(32),
    )


@parts.seeded
def image_to_video() -> Any:
    """2.1's: mask and picture as channels, the picture seen by CLIP too."""
    return _seen_by_clip()


@parts.seeded
def first_and_last_frame() -> Any:
    """2.1's: as that, with places for the tokens of two pictures."""
    return _seen_by_clip(pos_embed_seq_len=2 * 5)


@parts.seeded
def vace() -> Any:
    transformer = WanVACETransformer3DModel(**_SIZES, in_channels=16, vace_layers=[0], vace_in_channels=96)
    return WanVACEPipeline(**_common(), transformer=transformer.eval())


@parts.seeded
def skyreels() -> Any:
    transformer = SkyReelsV2Transformer3DModel(**_SIZES, in_channels=16)
    return SkyReelsV2DiffusionForcingPipeline(**_common(), transformer=transformer.eval())
