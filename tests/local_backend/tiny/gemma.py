"""Gemma's tokenizer, and SANA-Video, which reads with a Gemma 2."""

from typing import Any

from diffusers import DPMSolverMultistepScheduler, SanaVideoPipeline, SanaVideoTransformer3DModel
from transformers import Gemma2Config, Gemma2Model

from tests.local_backend.tiny import parts


def tokenizer() -> Any:
    return parts.fast(
        parts.byte_level(["<pad>", "<eos>", "<bos>", "<unk>"]),
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
    )


@parts.seeded
def sana() -> Any:
    reader = tokenizer()
    config = Gemma2Config(
        vocab_size=len(reader),
        hidden_size=8,
        head_dim=16,
        intermediate_size=32,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_hidden_layers=1,
        attn_implementation="eager",
    )
    transformer = SanaVideoTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=12,
        cross_attention_dim=24,
        caption_channels=8,
        sample_size=8,
        rope_max_seq_len=64,
    )
    return SanaVideoPipeline(
        tokenizer=reader,
        text_encoder=Gemma2Model(config).eval(),
        transformer=transformer.eval(),
        vae=parts.wan_vae(),
        scheduler=DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"),
    )
