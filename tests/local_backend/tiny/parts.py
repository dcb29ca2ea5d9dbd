"""What several families share: tokenizers without a download, text encoders, Wan's VAE."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

WIDTH = 32
"""Of every text encoder."""


def seeded(build: Callable[[], Any]) -> Callable[[], Any]:
    """The same weights each time, and nobody else's random numbers touched."""

    @wraps(build)
    def built() -> Any:
        state = torch.get_rng_state()
        torch.manual_seed(20_261_126)
        try:
            return build()
        finally:
            torch.set_rng_state(state)

    return built


def byte_level(special: list[str], learnt_from: str = "", size: int = 0) -> Tokenizer:
    """Every byte a token, then the special ones; pieces of a text besides, until there are `size`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator([learnt_from], trainer)
    return tokenizer


def fast(tokenizer: Tokenizer, **names: str) -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def t5(vocabulary: int) -> Any:
    config = T5Config(vocab_size=vocabulary, d_model=WIDTH, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    return T5EncoderModel(config).eval()


def wan_vae() -> Any:
    return AutoencoderKLWan(
        base_dim=4,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    ).eval()


def image_processor(side: int) -> Any:
    return CLIPImageProcessor(size=side, crop_size=side)
