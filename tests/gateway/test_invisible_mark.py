"""Our own invisible mark: read back after H.264, not seen, and not found where it is not."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.media.pool import MediaTools
from gateway.media.qim import BITS, bits_of, factory, pictures_of, read
from gateway.settings import Limits

PAYLOAD = bytes.fromhex("019abcdef0123456")
Pictures = list[NDArray[np.uint8]]


def moving(count: int = 24, size: tuple[int, int] = (1280, 720)) -> Pictures:
    """A soft gradient with a disc that moves over it and a little grain: brightness only."""
    draw = np.random.default_rng(5)
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    made = []
    for step in range(count):
        picture = 60 + 90 * x / size[0] + 30 * np.sin(y / 70)
        picture[np.hypot(x - 300 - 20 * step, y - 360) < 150] = 210
        made.append(np.clip(picture + draw.normal(0, 2, picture.shape), 0, 255).astype(np.uint8))
    return made


def marked(pictures: Pictures) -> Pictures:
    copies = [picture.copy() for picture in pictures]
    embed = factory(PAYLOAD, (copies[0].shape[1], copies[0].shape[0]))
    assert embed is not None
    for copy in copies:
        embed(copy)
    return copies


def encoded(pictures: Pictures, path: Path, crf: int) -> Path:
    height, width = pictures[0].shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(24), options={"crf": str(crf), "preset": "veryfast"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            grey = av.VideoFrame.from_ndarray(picture, format="gray")
            container.mux(stream.encode(grey.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("crf", [18, 23, 28])
def test_it_is_read_back_after_h264(tmp_path: Path, crf: int) -> None:
    path = encoded(marked(moving()), tmp_path / "a.mp4", crf)
    assert read(pictures_of(path)).payload == PAYLOAD


def test_it_is_hardly_seen() -> None:
    before = moving(2)
    errors = [(a.astype(float) - b) ** 2 for a, b in zip(before, marked(before), strict=True)]
    assert 10 * np.log10(255**2 / np.mean(errors)) > 36


def test_none_is_found_where_none_is(tmp_path: Path) -> None:
    reading = read(pictures_of(encoded(moving(), tmp_path / "a.mp4", 23)))
    assert reading.payload is None
    right = np.mean((reading.votes > 0) == bits_of(PAYLOAD))
    assert 0.25 < right < 0.75
    assert len(reading.votes) == BITS


async def test_a_picture_too_small_for_it_is_not_said_to_carry_it(tmp_path: Path) -> None:
    tools = MediaTools(Limits())
    for size, carries in (((320, 180), True), ((160, 96), False)):
        path, out = encoded(moving(4, size), tmp_path / f"{size[0]}.mp4", 20), tmp_path / "out.mp4"
        facts = await tools.probe(path)
        found = await tools.mark(
            path, out, facts=facts, invisible="gateway.media.qim:factory", payload=PAYLOAD
        )
        assert found is carries
    await tools.close()
