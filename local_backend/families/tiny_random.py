"""onereel/tiny-random: a tiny Wan with seeded random weights, built once into the models folder.

One transformer, VAE and text encoder serve text-to-video, image-to-video and video-to-video alike: the Wan 2.2
5B layout (`expand_timesteps`), whose image-to-video replaces the first latent frame instead of adding channels.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import T5TokenizerFast, UMT5Config, UMT5EncoderModel

_SEED = 20_260_924
_PICTURE_GAIN = 0.5  # keeps the decoder's output inside the visible range
_TRANSFORMER_GAIN = 2.0  # makes the prompt and the step visible in the picture


def build(folder: Path) -> None:
    """Write the weights beside their place, then rename: another process sees all of them or none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    _random_pipeline().save_pretrained(partial, safe_serialization=True)
    try:
        partial.rename(folder)
    except OSError:  # another process was first: its weights are the same
        shutil.rmtree(partial, ignore_errors=True)
        if not (folder / "model_index.json").is_file():
            raise


def _random_pipeline() -> Any:
    state = torch.get_rng_state()
    torch.manual_seed(_SEED)
    try:
        words = tokenizer()
        return WanPipeline(
            tokenizer=words,
            text_encoder=text_encoder(len(words)),
            vae=_vae(),
            transformer=_transformer(),
            scheduler=scheduler(),
            expand_timesteps=True,
        )
    finally:
        torch.set_rng_state(state)


def scheduler() -> Any:
    """As Wan's."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0
    )


def tokenizer() -> Any:
    """Letters for ASCII, bytes for everything else: every prompt in any script is readable."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    fallback = [(f"<0x{byte:02X}>", -8.0) for byte in range(256)]
    letters = [("▁", -2.0), *((chr(code), -4.0) for code in range(33, 127))]
    made = Tokenizer(models.Unigram([*special, *fallback, *letters], unk_id=2, byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    return T5TokenizerFast(tokenizer_object=made, extra_ids=0)


def text_encoder(vocabulary: int) -> Any:
    """32 wide."""
    return UMT5EncoderModel(
        UMT5Config(vocab_size=vocabulary, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4),
    ).eval()


def _vae() -> Any:
    vae = AutoencoderKLWan(
        base_dim=4,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )
    for module in vae.modules():
        if isinstance(module, torch.nn.Conv3d | torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            if module.bias is not None:
                torch.nn.init.normal_(module.bias, std=0.1)
    with torch.no_grad():
        vae.decoder.conv_out.weight.mul_(_PICTURE_GAIN)
    return vae.eval()


def _transformer() -> Any:
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=64,
    )
    with torch.no_grad():
        for module in transformer.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.mul_(_TRANSFORMER_GAIN)
    return transformer.eval()
