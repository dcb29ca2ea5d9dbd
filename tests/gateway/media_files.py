"""Real media made at test time."""

import io
from pathlib import Path

import av
import numpy as np
from PIL import Image


def make_video(
    path: Path,
    *,
    codec: str = "libx264",
    container: str = "mp4",
    width: int = 320,
    height: int = 180,
    frames: int = 48,
    fps: int = 24,
    dark_frames: int = 0,
    audio: bool = False,
) -> Path:
    """Encode a moving pattern that begins with `dark_frames` of black."""
    pattern = np.random.default_rng(7).integers(60, 255, (height // 4, width // 4, 3), dtype=np.uint8)
    picture = pattern.repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        sound = output.add_stream("aac", rate=48000) if audio else None
        for index in range(frames):
            shown = picture * 0 if index < dark_frames else np.roll(picture, index * 2, axis=1)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(shown), format="rgb24")))
        output.mux(stream.encode())
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate = 48000
            output.mux(sound.encode(silence))
            output.mux(sound.encode())
    return path


def make_image(kind: str, size: tuple[int, int] = (64, 48)) -> bytes:
    """Encode a picture; kind is JPEG, PNG or WEBP."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 30, 90)).save(buffer, kind)
    return buffer.getvalue()
