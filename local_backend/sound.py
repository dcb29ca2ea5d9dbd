"""The sound of a video that goes on: its own track, then what the model made."""

from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from local_backend.clip import Clip, Sound
from local_backend.errors import MediaError
from local_backend.frames import DEMUXERS

_RATE: Final = 48_000  # of a file whose only sound is the source's


def joined(source: Path, clip: Clip, seconds: Fraction) -> Sound | None:
    """The source's sound for its `seconds`, then the clip's without the part shown already; None if both are silent."""
    rate = _RATE if clip.sound is None else clip.sound.rate
    before = track(source, rate)
    if before is None and clip.sound is None:
        return None
    length = round(seconds * rate)
    head = np.zeros((2, length), np.float32)
    if before is not None:
        kept = before[:, :length]
        head[:, : kept.shape[1]] = kept
    if clip.sound is None:
        return Sound(head, rate)
    shown = round(max(0, clip.shown - 1) / clip.rate * rate)
    tail = np.broadcast_to(clip.sound.samples, (2, clip.sound.samples.shape[-1]))[:, shown:]
    return Sound(np.concatenate([head, tail], axis=1), rate)


def track(path: Path, rate: int) -> NDArray[np.float32] | None:
    """The first sound track of a file as stereo at `rate` hertz, shape (2, samples); None without one."""
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=rate)
    try:
        with av.open(str(path), options=DEMUXERS) as container:
            if not container.streams.audio:
                return None
            decoded = container.decode(container.streams.audio[0])
            parts = [part.to_ndarray() for frame in decoded for part in resampler.resample(frame)]
            parts += [part.to_ndarray() for part in resampler.resample(None)]
    except (av.FFmpegError, OSError):
        raise MediaError("The video's sound cannot be read.") from None
    return np.concatenate(parts, axis=1) if parts else None
