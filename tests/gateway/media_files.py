"""Real media made at test time."""

import io
import struct
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
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> Path:
    """Encode a moving pattern that begins with `dark_frames` of black."""
    quick = {"preset": "ultrafast"} if codec == "libx264" else {}
    pattern = np.random.default_rng(7).integers(60, 255, (height // 4, width // 4, 3), dtype=np.uint8)
    picture = pattern.repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=fps, options=quick | (options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
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


def with_sound(path: Path, out: Path, codec: str, *, container: str = "mp4", seconds: int = 2) -> Path:
    """Copy a video beside a tone of that codec."""
    with av.open(str(path)) as source, av.open(str(out), "w", format=container) as output:
        picture = source.streams.video[0]
        shown = output.add_stream_from_template(picture)
        sound = output.add_stream(codec, rate=48000, options={"strict": "-2"})
        for packet in source.demux(picture):
            if packet.dts is not None:
                packet.stream = shown
                output.mux(packet)
        step = sound.codec_context.frame_size or 960
        for begin in range(0, seconds * 48000, step):
            wave = np.sin(np.arange(begin, begin + step) / 48000 * 440 * 2 * np.pi).astype(np.float32) * 0.5
            frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 48000, begin
            output.mux(sound.encode(frame))
        output.mux(sound.encode())
    return out


def turned(path: Path, degrees: int) -> Path:
    """Tell players in the header to turn an MP4 by 90 (counterclockwise) or 180 degrees."""
    one = 0x10000
    matrix = {90: (0, -one, one, 0), 180: (-one, 0, 0, -one)}[degrees]
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    struct.pack_into(">iiiiiiiii", data, at, *matrix[:2], 0, *matrix[2:], 0, 0, 0, 0x40000000)
    path.write_bytes(data)
    return path


def make_image(kind: str, size: tuple[int, int] = (64, 48)) -> bytes:
    """Encode a picture; kind is JPEG, PNG or WEBP."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 30, 90)).save(buffer, kind)
    return buffer.getvalue()
