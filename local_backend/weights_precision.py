"""Weights kept in fewer bits than they are computed in, where the preset says so."""

from typing import Any

import torch

from local_backend.features import transformers
from providers.presets import Weights


def apply(weights: Weights, pipeline: Any) -> None:
    """Keep the transformers' weights as the preset's `storage` says; before they go to the device."""
    if weights.storage != "float8":
        return
    compute = getattr(torch, weights.dtype)
    for part in transformers(pipeline):
        part.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=compute)
