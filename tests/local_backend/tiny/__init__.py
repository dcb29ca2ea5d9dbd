"""Tiny pipelines of every family with seeded random weights: diffusers' own classes, built at test time in moments."""

from collections.abc import Callable
from typing import Any, Final

from tests.local_backend.tiny import audio_video, dit, gemma, hunyuan, wan

BUILDERS: Final[dict[str, Callable[[], Any]]] = {
    "wan2.1": wan.text_to_video,
    "wan2.1-i2v": wan.image_to_video,
    "wan2.1-flf2v": wan.first_and_last_frame,
    "wan2.1-vace": wan.vace,
    "wan2.2-5b": wan.expanded_timesteps,
    "wan2.2-a14b": wan.two_experts,
    "ltx": dit.ltx,
    "ltx-0.9.7": dit.ltx_condition,
    "ltx2": audio_video.ltx2,
    "hunyuan1.5": hunyuan.text_to_video,
    "hunyuan1.5-i2v": hunyuan.image_to_video,
    "cogvideox": dit.cogvideox,
    "cogvideox-i2v": dit.cogvideox_image_to_video,
    "mochi": dit.mochi,
    "skyreels-v2": wan.skyreels,
    "kandinsky5": hunyuan.kandinsky,
    "kandinsky5-i2v": hunyuan.kandinsky_image_to_video,
    "sana": gemma.sana,
}
