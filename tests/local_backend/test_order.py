from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from local_backend.errors import WorkerError
from local_backend.families import FAMILIES
from local_backend.frames import VideoFacts
from local_backend.order import Order, read_order, video_id
from providers.contract import MediaRole, Operation
from providers.presets import all_presets

PRESETS = all_presets()
SOURCE = VideoFacts(641, 361, Fraction(30), Fraction(81, 10))


def order(
    operation: Operation = Operation.GENERATE, source: VideoFacts | None = None, **fields: Any
) -> Order:
    role = MediaRole.EXTEND_FROM if operation is Operation.EXTEND else MediaRole.SOURCE
    media = {role: (Path("x"),)} if source else {}
    return read_order({"prompt": "a fox", **fields}, operation, media, source, PRESETS)


def test_omitted_values_are_made_explicit() -> None:
    made = order(attempt_id="att_1")
    assert (made.width, made.height, made.seconds, made.total_seconds) == (720, 1280, 4, 4)
    assert made.video_id == video_id("att_1")
    assert made.seed == order(attempt_id="att_1").seed != order(attempt_id="att_2").seed
    assert order().attempt_id != order().attempt_id


def test_given_values_are_kept_as_text_or_number() -> None:
    made = order(seed="7", seconds=4, size="1792x1024", num_inference_steps="20", negative_prompt="blur")
    assert (made.seed, made.width, made.height, made.steps, made.negative_prompt) == (
        7,
        1792,
        1024,
        20,
        "blur",
    )
    assert order(seed=0).seed == 0
    assert order(seconds="4.0").seconds == 4


def test_an_extension_keeps_its_sources_size_and_says_the_stitched_length() -> None:
    made = order(Operation.EXTEND, SOURCE, size="720x1280", seconds="4")
    assert (made.width, made.height, made.seconds, made.total_seconds) == (640, 360, 4, 12)


def test_an_edit_takes_its_sources_size_and_length_unless_told() -> None:
    made = order(Operation.EDIT, SOURCE)
    assert (made.width, made.height, made.seconds) == (640, 360, 8)
    told = order(Operation.EDIT, SOURCE, size="1280x720", seconds="8", strength="0.5")
    assert (told.width, told.height, told.seconds, told.strength) == (1280, 720, 8, 0.5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("prompt", "  "),
        ("prompt", 5),
        ("prompt", "x" * 32_001),
        ("model", "sora-2"),
        ("size", "100x100"),
        ("seconds", "5"),
        ("seconds", "long"),
        ("seconds", "1/0"),
        ("seed", "-1"),
        ("seed", "x"),
        ("seed", True),
        ("seed", 2**63),
        ("num_inference_steps", "1"),
        ("num_inference_steps", "nan"),
        ("guidance_scale", "many"),
        ("strength", 2),
        ("quality", "best"),
        ("audio", "loud"),
        ("audio", True),
        ("attempt_id", ""),
        ("attempt_id", 7),
    ],
)
def test_a_bad_value_is_a_400_that_names_its_field(field: str, value: Any) -> None:
    with pytest.raises(WorkerError) as caught:
        order(**{field: value})
    assert (caught.value.status, caught.value.param) == (400, field)
    assert field in caught.value.envelope()["error"]["message"] or field == "model"


def test_the_native_size_has_the_files_aspect() -> None:
    wan, tiny = FAMILIES["wan"], PRESETS["onereel/tiny-random"].weights
    assert wan.native_size(720, 1280, tiny) == (80, 144)
    assert wan.native_size(1280, 720, tiny) == (144, 80)
    assert wan.native_size(720, 1280, PRESETS["local/wan2.1-1.3b"].weights) == (480, 832)
    for width, height in ((640, 360), (500, 500), (1920, 800), (16, 4000)):
        native = wan.native_size(width, height, tiny)
        assert all(side % 16 == 0 for side in native)
        assert native[0] * native[1] <= 80 * 144
    for width, height in ((720, 1280), (1024, 1792), (1792, 1024), (640, 360)):
        assert all(
            side % 32 == 0 for side in wan.native_size(width, height, PRESETS["local/wan2.2-5b"].weights)
        )
    assert FAMILIES["demo"].native_size(1280, 720, PRESETS["onereel/demo"].weights) == (32, 32)


def test_frames_follow_the_familys_rule() -> None:
    assert [FAMILIES["wan"].frames(seconds, Decimal(16)) for seconds in (1, 4, 5)] == [17, 65, 81]
    assert FAMILIES["demo"].frames(4, Decimal(4)) == 16


def test_a_model_that_is_not_served_or_cannot_do_it_is_refused() -> None:
    with pytest.raises(WorkerError, match=r"serves onereel/demo, .* not 'x'"):
        order(model="x")
    with pytest.raises(WorkerError, match="cannot extend; it can edit, generate, remix"):
        order(Operation.EXTEND, SOURCE, model="local/wan2.1-1.3b")
    text_only = {"prompt": "a fox", "model": "local/wan2.1-1.3b"}
    picture = {MediaRole.FIRST_FRAME: (Path("x"),)}
    with pytest.raises(WorkerError, match="takes no first_frame here; it takes video"):
        read_order(text_only, Operation.GENERATE, picture, None, PRESETS)
