"""What makes a model faster or smaller: whether it takes effect, and that it is off again afterwards."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanPipeline
from numpy.typing import NDArray
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from local_backend import features
from local_backend.engine import Engine, _small
from local_backend.families import tiny_random
from local_backend.folders import folder_of
from local_backend.memory import Rung
from local_backend.order import Order, read_order
from providers.contract import Operation
from providers.presets import Preset, all_presets
from tests.local_backend.test_engine import Notes

_WHOLE = all_presets()["onereel/tiny-random"]
TINY = _WHOLE.model_copy(update={"weights": _WHOLE.weights.model_copy(update={"steps": 5, "area": 48 * 144})})
"""As it is, at fewer pixels and steps."""
DEMO = all_presets()["onereel/demo"]


def pipeline_of(engine: Engine, model: Preset = TINY) -> Any:
    return engine._library.get(model.id, Rung.PLAIN)


def order(model: Preset, **fields: Any) -> Order:
    given = {"prompt": "a red circle moves left over a blue background", "seed": 7, **fields}
    return read_order(given, Operation.GENERATE, {}, None, {model.id: model})


@pytest.fixture(scope="module")
def engine(models_dir: Path) -> Engine:
    return Engine(models_dir, "cpu", 1, [TINY, DEMO])


def test_without_names_only_what_was_measured_on_the_kind_of_device_is_on() -> None:
    assert features.chosen(None, "cpu") == frozenset()
    assert features.measured("NVIDIA H200") == {"compile"}
    assert features.measured("NVIDIA A100") == frozenset()


def test_a_name_that_is_none_or_cannot_be_used_here_is_refused() -> None:
    assert features.chosen(["compile"], "cpu") == {"compile"}
    with pytest.raises(ValueError, match="'magic' is no feature; there are compile, attention"):
        features.chosen(["magic"], "cpu")
    with pytest.raises(ValueError, match="'attention' cannot be used on cpu: it needs a CUDA device"):
        features.chosen(["attention"], "cpu")


def test_the_documented_table_has_the_same_rows() -> None:
    page = Path("docs/local-backend.md").read_text()
    for feature in features.FEATURES.values():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{feature.name}` |")]
        assert ("**yes**" in row) is not feature.exact
        assert all(each.figure in row for each in feature.measured_on)


def test_a_cache_that_skips_is_told_from_one_that_does_nothing(engine: Engine) -> None:
    model = pipeline_of(engine)
    twelve = partial(_small, model, 12)
    whole = twelve()
    assert features.cache_skips(model.pipeline, twelve, threshold=2.0)
    assert not features.cache_skips(model.pipeline, twelve, threshold=1e-9)
    with features.first_block_cache(model.pipeline, threshold=2.0):
        cached = twelve()
    assert np.abs(cached - whole).max() > 0.001
    assert np.array_equal(twelve(), whole)  # it is off again
    demo = pipeline_of(engine, DEMO)
    assert not features.cache_skips(demo.pipeline, partial(_small, demo, 12))  # it has no place for it


def test_fast_means_the_cache_only_for_orders_that_ask_for_it(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "CACHE_THRESHOLD", 2.0)
    engine = Engine(models_dir, "cpu", 1, [TINY], features=["first_block_cache"])
    exact, fast = order(TINY), order(TINY, quality="fast")
    assert engine.runtime(exact) == {
        "device": "cpu",
        "quality": "exact",
        "steps": 5,
        "features": [],
        "memory": "plain",
    }
    assert engine.runtime(fast) | {"features": ["first_block_cache"], "quality": "fast"} == engine.runtime(
        fast
    )
    first = engine.make([exact], Notes())[0].frames
    assert not np.array_equal(engine.make([fast], Notes())[0].frames, first)
    assert np.array_equal(engine.make([exact], Notes())[0].frames, first)


def test_an_attention_kernel_that_changes_the_clip_or_fails_is_not_taken(engine: Engine) -> None:
    model = pipeline_of(engine)
    tried: list[str] = []

    def attempt() -> NDArray[np.float32]:
        tried.append("once")
        return _small(model, 2)

    best = features.quickest_attention(
        model.pipeline, attempt, ("native", "_native_math", "_flash_3", "flash")
    )
    assert best in {"native", "_native_math"}
    assert len(tried) == 8  # four for each that runs here
    features.quickest_attention(model.pipeline, attempt, ("native",))


def test_weights_kept_in_eight_bits_are_half_as_large_and_make_nearly_the_same(
    engine: Engine, models_dir: Path
) -> None:
    storage = TINY.weights.model_copy(update={"storage": "float8", "dtype": "bfloat16"})
    small = TINY.model_copy(update={"id": "onereel/tiny-8bit", "weights": storage})
    link = folder_of(small, models_dir)
    if not link.exists():
        link.symlink_to(folder_of(TINY, models_dir))
    kept = Engine(models_dir, "cpu", 1, [small])
    transformer = pipeline_of(kept, small).pipeline.transformer
    kinds = {name: weight.dtype for name, weight in transformer.named_parameters()}
    assert kinds["blocks.0.attn1.to_q.weight"] is torch.float8_e4m3fn
    frames = kept.make([order(small)], Notes())[0].frames
    whole = engine.make([order(TINY)], Notes())[0].frames
    difference = np.abs(frames.astype(int) - whole)
    assert 0 < difference.mean() < 40
    link.unlink()


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Preset]:
    """A tiny model with a LoRA of random weights beside it, as a distilled one would lie."""
    few = {"repo": "tiny/lora", "file": "lora.safetensors", "steps": 2, "guidance": 1.0, "shift": 5.0}
    row = TINY.model_dump(exclude_unset=True)
    model = Preset.model_validate(
        {
            **row,
            "id": "tiny/distilled",
            "weights": {**row["weights"], "distilled": few, "origin": "hub", "repo": "tiny/x"},
        }
    )
    models_dir = tmp_path_factory.mktemp("distilled")
    folder = folder_of(model, models_dir)
    tiny_random.build(folder)
    pipeline = WanPipeline.from_pretrained(folder, local_files_only=True)
    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_v"], init_lora_weights=False)
    pipeline.transformer.add_adapter(config)
    WanPipeline.save_lora_weights(
        folder / "distilled",
        transformer_lora_layers=get_peft_model_state_dict(pipeline.transformer),
        weight_name="lora.safetensors",
    )
    return models_dir, model


def test_a_distilled_lora_takes_its_few_steps_when_asked_and_leaves_no_trace(
    distilled: tuple[Path, Preset],
) -> None:
    models_dir, model = distilled
    plain = Engine(models_dir, "cpu", 1, [model])
    engine = Engine(models_dir, "cpu", 1, [model], features=["distilled"])
    exact = order(model)
    before = plain.make([exact], Notes())[0].frames
    assert np.array_equal(engine.make([exact], Notes())[0].frames, before)
    notes = Notes()
    fast = engine.make([order(model, quality="fast")], notes)[0].frames
    assert notes.steps == [(1, 2), (2, 2)]
    assert engine.runtime(order(model, quality="fast"))["features"] == ["distilled"]
    two = plain.make([order(model, num_inference_steps=2, guidance_scale=1)], Notes())[0].frames
    assert not np.array_equal(fast, two)  # the LoRA counts
    assert np.array_equal(engine.make([exact], Notes())[0].frames, before)
    assert engine.work(order(model, quality="fast"))[1] == 2


def test_a_preset_may_say_that_it_is_never_run_without_its_lora(distilled: tuple[Path, Preset]) -> None:
    models_dir, model = distilled
    few = model.weights.distilled
    assert few is not None
    weights = model.weights.model_copy(update={"distilled": few.model_copy(update={"always": True})})
    always = model.model_copy(update={"weights": weights})
    engine = Engine(models_dir, "cpu", 1, [always])
    assert engine.runtime(order(always))["steps"] == 2
    assert engine.runtime(order(always, num_inference_steps=7))["steps"] == 7
    assert engine.make([order(always)], Notes())[0].frames.std() > 1


def test_a_lora_that_is_not_there_is_named(distilled: tuple[Path, Preset], tmp_path: Path) -> None:
    models_dir, model = distilled
    elsewhere = folder_of(model, tmp_path)
    elsewhere.mkdir()
    for part in folder_of(model, models_dir).iterdir():
        if part.name != "distilled":
            (elsewhere / part.name).symlink_to(part)
    with pytest.raises(
        FileNotFoundError, match=r"its distilled LoRA lora.safetensors is not in tiny--distilled"
    ):
        Engine(tmp_path, "cpu", 1, [model], features=["distilled"])
