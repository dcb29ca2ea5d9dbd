"""HunyuanVideo 1.5 and Kandinsky 5, which read with a Qwen 2.5 VL."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    AutoencoderKLHunyuanVideo15,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideo15ImageToVideoPipeline,
    HunyuanVideo15Pipeline,
    HunyuanVideo15Transformer3DModel,
    Kandinsky5I2VPipeline,
    Kandinsky5T2VPipeline,
    Kandinsky5Transformer3DModel,
)
from diffusers.guiders import ClassifierFreeGuidance
from transformers import (
    ByT5Tokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLTextConfig,
    Qwen2_5_VLTextModel,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from local_backend.families import tiny_random
from tests.local_backend.tiny import parts

_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_WORDS = "the video and its style, the location, the camera, how the scene moves, and the objects in it " * 3
_CHAT = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
_QWEN: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]},
}


def _tokenizer() -> Any:
    """Knows some pieces of words: Kandinsky puts each prompt behind 700 letters of its own, and cuts at 640 tokens."""
    reader = parts.fast(
        parts.byte_level(_SPECIAL, _WORDS, 400), pad_token="<|endoftext|>", eos_token="<|im_end|>"
    )
    reader.chat_template = _CHAT
    return reader


def _hunyuan(kind: type[Any], task: str, **others: Any) -> Any:
    reader = _tokenizer()
    glyphs = ByT5Tokenizer()
    transformer = HunyuanVideo15Transformer3DModel(
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        num_refiner_layers=1,
        mlp_ratio=2.0,
        text_embed_dim=16,
        text_embed_2_dim=parts.WIDTH,
        image_embed_dim=12,
        rope_axes_dim=(2, 2, 4),
        target_size=64,
        task_type=task,
    )
    vae = AutoencoderKLHunyuanVideo15(
        latent_channels=4,
        block_out_channels=(8, 8, 8, 8, 8),
        layers_per_block=1,
        downsample_match_channel=False,
        upsample_match_channel=False,
    )
    return kind(
        tokenizer=reader,
        text_encoder=Qwen2_5_VLTextModel(Qwen2_5_VLTextConfig(vocab_size=len(reader), **_QWEN)).eval(),
        tokenizer_2=glyphs,
        text_encoder_2=parts.t5(len(glyphs)),
        transformer=transformer.eval(),
        vae=vae.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        guider=ClassifierFreeGuidance(guidance_scale=2.0),
        **others,
    )


@parts.seeded
def text_to_video() -> Any:
    return _hunyuan(HunyuanVideo15Pipeline, "t2v")


@parts.seeded
def image_to_video() -> Any:
    vision = SiglipVisionConfig(
        hidden_size=12,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=27 * 4,
        patch_size=4,  # 729 tokens, the number that the pipeline counts on
    )
    return _hunyuan(
        HunyuanVideo15ImageToVideoPipeline,
        "i2v",
        image_encoder=SiglipVisionModel(vision).eval(),
        feature_extractor=SiglipImageProcessor(size={"height": 27 * 4, "width": 27 * 4}),
    )


def _kandinsky(kind: type[Any], *, pictures: bool) -> Any:
    reader = _tokenizer()
    config = Qwen2_5_VLConfig(
        text_config={**_QWEN, "vocab_size": len(reader)},
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
        },
    )
    words = tiny_random.tokenizer()
    clip = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=parts.WIDTH,
        intermediate_size=32,
        num_attention_heads=4,
        num_hidden_layers=1,
        projection_dim=parts.WIDTH,
        eos_token_id=1,
        pad_token_id=0,
    )
    vae = AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4
    )
    transformer = Kandinsky5Transformer3DModel(
        in_visual_dim=4,
        in_text_dim=16,
        in_text_dim2=parts.WIDTH,
        time_dim=32,
        out_visual_dim=4,
        model_dim=48,
        ff_dim=64,
        num_text_blocks=1,
        num_visual_blocks=1,
        axes_dims=(8, 8, 8),
        visual_cond=pictures,
    )
    for (
        parameter
    ) in transformer.parameters():  # its modulation begins as zeros, and hides all that it modulates
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return kind(
        tokenizer=reader,
        text_encoder=Qwen2_5_VLForConditionalGeneration(config).eval(),
        tokenizer_2=words,
        text_encoder_2=CLIPTextModel(clip).eval(),
        transformer=transformer.eval(),
        vae=vae.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
    )


@parts.seeded
def kandinsky() -> Any:
    return _kandinsky(Kandinsky5T2VPipeline, pictures=False)


@parts.seeded
def kandinsky_image_to_video() -> Any:
    return _kandinsky(Kandinsky5I2VPipeline, pictures=True)
