from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from local_backend import frames
from local_backend.errors import MediaError
from tests.local_backend.conftest import facts


def test_an_image_is_upright_rgb(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("L", (40, 20)).save(path, exif=exif)
    read = frames.read_image(path)
    assert (read.mode, read.size) == ("RGB", (20, 40))
    assert frames.fit(read, 64, 64).size == (64, 64)


@pytest.mark.parametrize(
    "content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\x00" * 40, b"GIF89a" + b"\0" * 30]
)
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(MediaError, match="not a readable"):
        frames.read_image(path)


def test_an_image_with_too_many_pixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (8000, 7000)).save(path)
    with pytest.raises(MediaError, match="more than 50000000 pixels"):
        frames.read_image(path)


def test_a_video_is_probed_and_sampled(clip: Path) -> None:
    assert facts(clip) == (180, 320, 12, 2)
    assert len(frames.sampled(clip, 17, lambda image: image.resize((16, 32)))) == 17
    more = frames.sampled(clip, 60, lambda image: image.resize((16, 32)))
    assert len(more) == 60
    assert {image.size for image in more} == {(16, 32)}


def test_the_last_frame_is_the_last(clip: Path) -> None:
    red, green, blue = np.asarray(frames.last_frame(clip)).reshape(-1, 3).mean(0)
    assert red > 240
    assert max(green, blue) < 15


def test_what_is_no_video_is_refused(tmp_path: Path, image: Path, clip: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[:600])
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\n/etc/hostname\n")
    for path in (image, broken, playlist):
        with pytest.raises(MediaError, match="not a readable MP4"):
            frames.probe_video(path)


def test_a_sound_file_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match="no video track"):
        frames.probe_video(path)


def test_the_tail_is_the_last_frames_at_another_rate(clip: Path) -> None:
    """12 frames a second, seen as 6: every second one, and the very last last."""
    tail = frames.tail(clip, 5, Fraction(6), lambda image: image.resize((8, 8)))
    every = [frame.to_image().resize((8, 8)) for frame in frames.decoded(clip)]
    assert [image.tobytes() for image in tail] == [every[index].tobytes() for index in (15, 17, 19, 21, 23)]
    long = frames.tail(clip, 60, Fraction(6), lambda image: image.resize((8, 8)))
    assert long[0].tobytes() == every[0].tobytes()
    assert long[-1].tobytes() == every[-1].tobytes()
