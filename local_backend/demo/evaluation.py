"""How well the demo model does: errors of its predictions, and what the judge sees in the clips it makes."""

from typing import Any

import torch

from local_backend.demo.judge import judge
from local_backend.demo.pipeline import DemoPipeline
from local_backend.demo.render import indices, render
from local_backend.demo.world import held_out, padded, read


def accuracy(pipeline: DemoPipeline, seed: int) -> dict[str, float]:
    """Share of the held-out prompts with the right colour, shape, motion, background, and with all four."""
    wanted = held_out()
    generator = torch.Generator().manual_seed(seed)
    found = [judge(each) for each in pipeline([s.caption for s in wanted], generator=generator).frames]
    names = ("colour", "shape", "motion", "background")
    right = {n: [getattr(w, n) == getattr(f, n) for w, f in zip(wanted, found, strict=True)] for n in names}
    shares = {n: round(sum(each) / len(each), 3) for n, each in right.items()}
    return {**shares, "all": round(sum(map(all, zip(*right.values(), strict=True))) / len(wanted), 3)}


@torch.no_grad()
def errors(model: Any, seed: int = 5) -> dict[str, float]:
    """Mean squared error of the prediction for held-out scenes by noise level, and at pure noise with a wrong prompt."""
    scenes = held_out()[:48]
    clips = render(indices(scenes), torch.Generator().manual_seed(seed))
    tokens = torch.tensor([padded(read(scene.caption)) for scene in scenes])
    found = {}
    for name, level, words in (
        ("mse_1", 1.0, tokens),
        ("mse_1_wrong", 1.0, tokens.roll(7, 0)),
        ("mse_.8", 0.8, tokens),
        ("mse_.4", 0.4, tokens),
        ("mse_.1", 0.1, tokens),
    ):
        noise = torch.full((len(clips),), level)
        noisy = (1 - level) * clips + level * torch.randn(
            clips.shape, generator=torch.Generator().manual_seed(seed)
        )
        found[name] = round(float(((model(noisy, noise, words) - clips) ** 2).mean()), 5)
    return found
