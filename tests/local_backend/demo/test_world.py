"""The demo world: its scenes, the words of it, and the judge that reads them back from pixels."""

from collections import Counter

import numpy as np
import pytest
import torch

from local_backend.demo.judge import judge
from local_backend.demo.render import indices, render
from local_backend.demo.world import (
    MAX_TOKENS,
    VOCABULARY,
    Scene,
    held_out,
    known_words,
    padded,
    read,
    scenes,
    trained_on,
)
from providers.presets import all_presets


def clips(wanted: list[Scene], scale: int = 1) -> np.ndarray:
    """Clean clips (n, frames, height, width, 3), 0..1."""
    made = render(indices(wanted), torch.Generator().manual_seed(3), scale)
    return ((made + 1) / 2).permute(0, 2, 3, 4, 1).numpy()


def test_a_hundred_of_a_thousand_scenes_are_held_out_and_never_trained_on() -> None:
    assert len(set(scenes())) == 1008
    assert len(set(held_out())) == 100
    assert not set(held_out()) & set(trained_on())
    assert set(held_out()) | set(trained_on()) == set(scenes())


def test_every_word_and_pair_of_a_held_out_scene_is_known_from_training() -> None:
    seen = Counter(pair for scene in trained_on() for pair in pairs(scene))
    assert all(seen[pair] for scene in held_out() for pair in pairs(scene))


def pairs(scene: Scene) -> list[tuple[str, str]]:
    words = (f"in {scene.colour}", scene.shape, scene.motion, f"over {scene.background}")
    return [(a, b) for a in words for b in words if a < b]


@pytest.mark.parametrize("scale", [1, 4])
def test_the_judge_reads_every_clean_clip_right(scale: int) -> None:
    wanted = scenes() if scale == 1 else scenes()[::9]
    for start in range(0, len(wanted), 48):
        part = wanted[start : start + 48]
        assert [judge(clip) for clip in clips(part, scale)] == part


def test_the_judge_only_guesses_at_noise() -> None:
    draw = np.random.default_rng(1)
    right = [judge(draw.random((16, 32, 32, 3))) == scene for scene in scenes()[::3]]
    assert sum(right) <= 3  # of 336, by chance one in a thousand


def test_the_judge_sees_a_wrong_clip() -> None:
    asked, other = scenes()[0], scenes()[-1]
    assert judge(clips([other])[0]) != asked


def test_a_caption_is_read_whole() -> None:
    for scene in scenes():
        assert " ".join(VOCABULARY[token] for token in read(scene.caption)) == scene.caption


@pytest.mark.parametrize(
    "prompt",
    [
        "A red circle moving left on a blue background.",
        "the RED circle moves leftwards against the blue background",
    ],
)
def test_other_words_for_the_same_scene_are_the_same_tokens(prompt: str) -> None:
    assert read(prompt) == read("a red circle moves left over a blue background")


def test_words_from_outside_its_world_are_left_out() -> None:
    assert read("a lighthouse at dusk, waves rolling in") == ()
    assert read("a red circle glows, moves left over a blue background") == read(
        "a red circle moves left over a blue background"
    )


def test_no_prompt_is_too_long_for_the_text_encoder() -> None:
    assert len(padded(read("a red circle " * 50))) == MAX_TOKENS
    assert len(padded(read("..."))) == MAX_TOKENS


def test_the_gateway_warns_of_exactly_the_words_that_the_model_leaves_out() -> None:
    world = all_presets()["onereel/demo"].prompt_world
    assert world is not None
    assert world.words == known_words()
    assert not list(world.warnings(world.example))
    assert not any(list(world.warnings(scene.caption)) for scene in scenes())
    unknown, missing = world.warnings("A lighthouse at dusk")
    assert "does not know 'lighthouse', 'at', 'dusk'" in unknown
    assert world.example in unknown
    assert missing.startswith("The prompt does not say a shape, its colour")
