import hashlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from local_backend import encode, frames, sound
from local_backend.clip import Clip, Frames, Sound
from local_backend.errors import Cancelled
from tests.local_backend.conftest import facts


def noise(count: int = 5, height: int = 64, width: int = 36) -> Frames:
    return np.random.default_rng(1).integers(0, 256, (count, height, width, 3), np.uint8)


def boxes(path: Path) -> list[bytes]:
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        found.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at : at + 4])
    return found


@pytest.mark.parametrize("size", [(720, 1280), (1792, 1024)])
def test_a_clip_has_exactly_the_asked_size_and_length(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "a.mp4"
    done: list[float] = []
    encode.write_clip(path, Clip(noise()), size=size, rate=24, seconds=1, tick=done.append)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == size
        assert stream.duration * stream.time_base == 1
        assert (stream.codec_context.name, stream.codec_context.profile) == ("h264", "High")
        assert stream.pix_fmt == "yuv420p"
        context = stream.codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace) == (1, 1, 1)
        assert context.color_range == 1
        assert len(list(container.decode(stream))) == 24
    assert boxes(path).index(b"moov") < boxes(path).index(b"mdat")
    assert done == sorted(done)
    assert (len(done), done[-1]) == (24, 1)


def test_the_same_frames_are_the_same_file(tmp_path: Path) -> None:
    digests = set()
    for number in range(2):
        path = tmp_path / f"{number}.mp4"
        encode.write_clip(path, Clip(noise()), size=(720, 1280), rate=24, seconds=1, tick=lambda _: None)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_colours_survive(tmp_path: Path) -> None:
    path = tmp_path / "red.mp4"
    plain = np.zeros((2, 64, 36, 3), np.uint8)
    plain[..., 0] = 255
    encode.write_clip(path, Clip(plain), size=(72, 128), rate=4, seconds=1, tick=lambda _: None)
    pixels = np.asarray(frames.last_frame(path))
    assert np.abs(pixels.reshape(-1, 3).mean(0) - [255, 0, 0]).max() < 6


def test_frames_are_spread_over_the_length_and_blended() -> None:
    ramp = np.stack([np.full((4, 4, 3), value, np.uint8) for value in (0, 128, 255)])
    levels = [int(frame.to_ndarray()[0, 0, 0]) for frame in encode.paced(ramp, 5)]
    assert levels == [0, 64, 128, 192, 255]


def test_another_aspect_keeps_the_centre_without_stretching() -> None:
    assert encode.cropped(noise(1, 100, 100), (200, 100)).shape == (1, 50, 100, 3)
    assert encode.cropped(noise(1, 100, 100), (100, 200)).shape == (1, 100, 50, 3)
    assert encode.cropped(noise(1, 256, 144), (720, 1280)).shape == (1, 256, 144, 3)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def stop(_: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        encode.write_clip(tmp_path / "a.mp4", Clip(noise()), size=(72, 128), rate=24, seconds=1, tick=stop)
    assert list(tmp_path.iterdir()) == []


def test_joining_keeps_the_sources_frames_size_and_pace(tmp_path: Path, clip: Path) -> None:
    path = tmp_path / "joined.mp4"
    encode.write_joined(path, clip, Clip(noise(), shown=1), seconds=1, tick=lambda _: None)
    assert facts(path) == (180, 320, 12, 3)
    old = [np.asarray(frame.to_image(), np.float32) for frame in frames.decoded(clip)]
    new = [np.asarray(frame.to_image(), np.float32) for frame in frames.decoded(path)]
    assert (len(old), len(new)) == (24, 36)
    assert max(np.abs(a - b).mean() for a, b in zip(old, new, strict=False)) < 8


def test_the_frame_that_both_parts_share_is_shown_once(tmp_path: Path, clip: Path) -> None:
    made = np.zeros((15, 64, 36, 3), np.uint8)
    made[:3] = 255  # stand for the source's last frames
    encode.write_joined(tmp_path / "joined.mp4", clip, Clip(made, shown=3), seconds=1, tick=lambda _: None)
    joined = [np.asarray(f.to_image(), np.float32).mean() for f in frames.decoded(tmp_path / "joined.mp4")]
    assert len(joined) == 36
    assert max(joined[24:]) < 20


def tone(seconds: float, hertz: float, rate: int = 24_000, channels: int = 2) -> Sound:
    moments = np.arange(round(seconds * rate)) / rate
    return Sound(np.tile(np.sin(2 * np.pi * hertz * moments).astype(np.float32) / 2, (channels, 1)), rate)


def pitch(path: Path, start: float, end: float) -> float:
    """The loudest frequency between two moments, 0 for silence."""
    heard = sound.track(path, 24_000)
    assert heard is not None
    part = heard[0, round(start * 24_000) : round(end * 24_000)]
    if np.abs(part).max() < 0.01:
        return 0
    spectrum = np.abs(np.fft.rfft(part))
    return float(spectrum.argmax() * 24_000 / len(part))


def test_sound_is_cut_to_the_frames_or_followed_by_silence(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    clip = Clip(noise(), sound=tone(1.5, 440, channels=1))
    encode.write_clip(path, clip, size=(72, 128), rate=24, seconds=2, tick=lambda _: None)
    with av.open(str(path)) as container:
        track = container.streams.audio[0]
        assert (track.codec_context.name, track.layout.name, track.rate) == ("aac", "stereo", 24_000)
        assert float(track.duration * track.time_base) == pytest.approx(2, abs=0.05)
    assert pitch(path, 0.2, 1.2) == pytest.approx(440, abs=5)
    assert pitch(path, 1.7, 1.95) == 0


def test_an_extension_goes_on_sounding_where_its_source_ends(tmp_path: Path) -> None:
    source, path = tmp_path / "source.mp4", tmp_path / "joined.mp4"
    clip = Clip(noise(24, 128, 72), sound=tone(1, 440))
    encode.write_clip(source, clip, size=(72, 128), rate=24, seconds=1, tick=lambda _: None)
    # the first half second of what is made shows the source's end again
    more = Clip(noise(25, 128, 72), sound=tone(2, 880), rate=Fraction(24), shown=13)
    encode.write_joined(path, source, more, seconds=1, tick=lambda _: None)
    assert facts(path) == (72, 128, 24, 2)
    assert pitch(path, 0.2, 0.9) == pytest.approx(440, abs=5)
    assert pitch(path, 1.1, 1.9) == pytest.approx(880, abs=5)
    silent = Clip(noise(25, 128, 72), shown=1)
    encode.write_joined(path, source, silent, seconds=1, tick=lambda _: None)
    assert pitch(path, 0.2, 0.9) == pytest.approx(440, abs=5)
    assert pitch(path, 1.2, 1.9) == 0
