"""Every family for real: a tiny pipeline of diffusers' own classes, saved, loaded, run, cancelled and run again."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _pytest.mark import ParameterSet

from local_backend import frames
from local_backend.clip import Clip
from local_backend.engine import Engine
from local_backend.errors import Cancelled, MediaError
from local_backend.families import FAMILIES
from local_backend.families.skyreels import parts
from local_backend.folders import folder_of
from local_backend.order import Order, read_order
from providers.contract import MediaRole, Operation
from providers.presets import Preset
from tests.local_backend.test_engine import Notes
from tests.local_backend.tiny import BUILDERS

TEXT, FIRST, LAST, EDIT, EXTEND, CONTINUE, REFERENCE = (
    "text", "first", "last", "edit", "extend", "continue", "reference",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A layout of a family: what it can do, its frames for a second at its rate, and what it makes besides.

    LTX-2 takes 29 layers as its guidance names the 29th, and no side of a single latent.
    """

    family: str
    can: tuple[str, ...]
    frames: int
    rate: int = 4
    sound: bool = False
    steps: int = 3
    area: int = 48 * 48


CASES = {
    "wan2.1": Case("wan", (TEXT, EDIT), 5),
    "wan2.1-i2v": Case("wan", (FIRST, EXTEND), 5),
    "wan2.1-flf2v": Case("wan", (LAST,), 5),
    "wan2.1-vace": Case("wan_vace", (TEXT, FIRST, LAST, CONTINUE, REFERENCE), 5),
    "wan2.2-5b": Case("wan", (TEXT, FIRST, EDIT, EXTEND), 5),
    "wan2.2-a14b": Case("wan", (TEXT,), 5),
    "ltx": Case("ltx", (TEXT, FIRST, LAST, EDIT, CONTINUE), 9, area=64 * 64),
    "ltx-0.9.7": Case("ltx", (TEXT, EDIT), 9, area=64 * 64),
    "ltx2": Case("ltx2", (TEXT, LAST, CONTINUE), 9, sound=True, steps=2, area=64 * 128),
    "hunyuan1.5": Case("hunyuan_video", (TEXT,), 5),
    "hunyuan1.5-i2v": Case("hunyuan_video", (FIRST, EXTEND), 5, area=64 * 64),
    "cogvideox": Case("cogvideox", (TEXT, EDIT), 9),
    "cogvideox-i2v": Case("cogvideox", (FIRST, EXTEND), 9),
    "mochi": Case("mochi", (TEXT,), 7, area=32 * 32),
    "skyreels-v2": Case("skyreels", (TEXT, FIRST, LAST, CONTINUE), 5),
    "kandinsky5": Case("kandinsky", (TEXT,), 5),
    "kandinsky5-i2v": Case("kandinsky", (FIRST, EXTEND), 25, rate=24),
    "sana": Case("sana_video", (TEXT, FIRST, EXTEND), 5, area=64 * 64),
}


SLOW = frozenset(
    {"wan2.1-vace", "ltx2", "hunyuan1.5", "hunyuan1.5-i2v", "skyreels-v2", "kandinsky5-i2v", "sana", "mochi"}
)


def parameters(names: Iterable[str]) -> list[ParameterSet]:
    """The names as parameters of a test: the slow ones for `make slow`."""
    return [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in names]


def preset(name: str, case: Case) -> Preset:
    operations = {Operation.GENERATE} | ({Operation.EDIT} if EDIT in case.can else set())
    if {EXTEND, CONTINUE} & set(case.can):
        operations.add(Operation.EXTEND)
    pictures = {
        FIRST: {MediaRole.FIRST_FRAME},
        LAST: {MediaRole.FIRST_FRAME, MediaRole.LAST_FRAME},
        REFERENCE: {MediaRole.REFERENCE},
    }
    roles = {MediaRole.SOURCE, MediaRole.EXTEND_FROM}.union(*(pictures.get(each, set()) for each in case.can))
    weights = {
        "family": case.family,
        "repo": f"tiny/{name}",
        "dtype": "float32",
        "rate": case.rate,
        "file_rate": 24,
        "area": case.area,
        "steps": case.steps,
        "guidance": 3.0,
    }
    return Preset.model_validate(
        {
            "id": f"tiny/{name}",
            "operations": operations,
            "roles": roles,
            "max_reference_images": 2,
            **({"audio": "optional", "default_audio": True} if case.sound else {}),
            "sizes": ("64x64",),
            "seconds": (1,),
            "weights": weights,
        }
    )


@pytest.fixture(scope="session")
def tiny_engine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Engine]:
    """An engine that serves one tiny model, whose weights are built and saved at the first call."""
    models_dir = tmp_path_factory.mktemp("tiny")

    def engine(name: str) -> Engine:
        model = preset(name, CASES[name])
        folder = folder_of(model, models_dir)
        if not folder.exists():
            BUILDERS[name]().save_pretrained(folder, safe_serialization=True)
        return Engine(models_dir, "cpu", 1, [model])

    return engine


Media = Mapping[MediaRole, tuple[Path, ...]]


def order(
    name: str, operation: Operation = Operation.GENERATE, media: Media | None = None, **fields: Any
) -> Order:
    model = preset(name, CASES[name])
    source = next((paths[0] for role, paths in (media or {}).items() if role in SOURCES), None)
    facts = None if source is None else frames.probe_video(source)
    given = {"prompt": "a red fox, 日本の海", "seed": 7, "seconds": "1", **fields}
    return read_order(given, operation, media or {}, facts, {model.id: model})


SOURCES = {MediaRole.SOURCE, MediaRole.EXTEND_FROM}


def inputs(can: str, image: Path, clip: Path) -> tuple[Operation, Media]:
    """The operation and files of something a model can do."""
    if can == EDIT:
        return Operation.EDIT, {MediaRole.SOURCE: (clip,)}
    if can in (EXTEND, CONTINUE):
        return Operation.EXTEND, {MediaRole.EXTEND_FROM: (clip,)}
    roles: dict[str, Media] = {
        FIRST: {MediaRole.FIRST_FRAME: (image,)},
        LAST: {MediaRole.FIRST_FRAME: (image,), MediaRole.LAST_FRAME: (image,)},
        REFERENCE: {MediaRole.REFERENCE: (image, image)},
    }
    return Operation.GENERATE, roles.get(can, {})


def one(engine: Engine, wanted: Order, notes: Notes | None = None) -> Clip:
    (clip,) = engine.make([wanted], notes or Notes())
    return clip


def test_every_family_has_a_tiny_pipeline() -> None:
    assert {case.family for case in CASES.values()} | {"demo"} == FAMILIES.keys()
    assert CASES.keys() == BUILDERS.keys()


@pytest.mark.parametrize("name", parameters(CASES))
def test_a_family_generates_cancels_and_reproduces(
    name: str, tiny_engine: Callable[[str], Engine], image: Path, clip: Path
) -> None:
    case, engine = CASES[name], tiny_engine(name)
    made: dict[str, bytes] = {}
    for can in case.can:
        operation, media = inputs(can, image, clip)
        wanted = order(name, operation, media, **({"strength": 0.7} if can == EDIT else {}))
        notes = Notes()
        first = one(engine, wanted, notes)
        overlap = FAMILIES[case.family].overlap if can == CONTINUE else 1
        assert first.shown == (overlap if operation is Operation.EXTEND else 0)
        least = case.frames + (overlap - 1 if can == CONTINUE else 0)
        assert first.frames.shape[0] >= least
        making = engine._making(wanted)
        height, width = first.frames.shape[1:3]
        assert (height, width) == (making.height, making.width) or case.family == "hunyuan_video"
        assert width * height <= case.area  # HunyuanVideo takes its size from the picture
        assert first.frames.std() > 0.5
        assert notes.stages == ["load", "encode", "denoise", "decode"]
        done, total = notes.steps[-1]
        assert done == total == len(notes.steps) <= case.steps
        made[can] = first.frames.tobytes()
        stopped = Notes(stop=case.steps - 1)
        with pytest.raises(Cancelled):
            one(engine, order(name, operation, media, seed=8), stopped)
        assert len(stopped.steps) == case.steps - 1
        assert one(engine, wanted).frames.tobytes() == made[can]
        assert (first.sound is not None) is case.sound
    assert len(set(made.values())) == len(made)


@pytest.mark.parametrize("name", parameters(name for name, case in CASES.items() if TEXT in case.can))
def test_seed_prompt_and_guidance_matter_and_a_batch_changes_nothing(
    name: str, tiny_engine: Callable[[str], Engine]
) -> None:
    engine, family = tiny_engine(name), FAMILIES[CASES[name].family]
    plain = order(name)
    others = [
        order(name, seed=8),
        order(name, prompt="a green boat"),
        order(name, guidance_scale=6),
        order(name, negative_prompt="fog"),
    ]
    alone = [one(engine, each).frames for each in (plain, *others)]
    assert len({each.tobytes() for each in alone}) == 5
    if not family.batches:
        assert engine.batch_key(plain) is None
        return
    assert len({engine.batch_key(each) for each in (plain, *others[:2])}) == 1
    together = engine.make([plain, *others[:2]], Notes())
    for single, batched in zip(alone, together, strict=False):
        assert np.abs(single.astype(int) - batched.frames).max() <= 2  # of 255: float noise


def test_a_distilled_models_timesteps_and_a_second_experts_guidance_are_used(
    tiny_engine: Callable[[str], Engine],
) -> None:
    for name, change in (
        ("ltx-0.9.7", {"timesteps": (1000, 900, 0.03)}),
        ("wan2.2-a14b", {"guidance_2": 1.5}),
    ):
        engine, plain = tiny_engine(name), order(name)
        weights = plain.preset.weights.model_copy(update=change)
        special = replace(plain, preset=plain.preset.model_copy(update={"weights": weights}))
        notes = Notes()
        changed = one(engine, special, notes).frames
        assert notes.steps[-1] == (3, 3)
        assert not np.array_equal(changed, one(engine, plain).frames)
        other = replace(special, steps=2, guidance=6.0)  # the order has its own
        assert np.array_equal(
            one(engine, other).frames, one(engine, replace(plain, steps=2, guidance=6.0)).frames
        )


def test_skyreels_takes_as_many_parts_as_diffusers_makes_of_it() -> None:
    """Diffusers counts latent frames: 25 at once, 5 of them taken over."""
    for count in range(25, 400, 4):
        latent = (count - 1) // 4 + 1
        part = min(25, latent)
        assert parts(count) == 2 + (latent - part - 1) // (part - 5), count
    assert [parts(count) for count in (97, 101, 177, 181)] == [1, 2, 2, 3]


def test_a_last_frame_of_a_video_in_several_parts_is_refused_with_the_reason(
    tiny_engine: Callable[[str], Engine], image: Path
) -> None:
    media = {MediaRole.FIRST_FRAME: (image,), MediaRole.LAST_FRAME: (image,)}
    short = order("skyreels-v2", media=media)
    fast = short.preset.weights.model_copy(
        update={"rate": Decimal(100)}
    )  # a second has more frames than a part
    long = replace(short, preset=short.preset.model_copy(update={"weights": fast}))
    with pytest.raises(MediaError, match="ask for a shorter one"):
        one(tiny_engine("skyreels-v2"), long)


@pytest.mark.slow
def test_sound_is_as_long_as_the_clip_and_left_out_where_it_is_not_wanted(
    tiny_engine: Callable[[str], Engine],
) -> None:
    engine = tiny_engine("ltx2")
    sound = one(engine, order("ltx2")).sound
    assert sound is not None
    assert sound.samples.shape[0] == 2
    assert sound.samples.shape[1] / sound.rate == pytest.approx(9 / 4, rel=0.2)
    assert one(engine, order("ltx2", audio=False)).sound is None
