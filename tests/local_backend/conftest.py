"""One model folder and one worker process for all tests of a run; small media made on the spot."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from local_backend.encode import Mp4Writer
from local_backend.frames import probe_video

TOKEN = "test-token"
MODEL = "onereel/tiny-random"


def start_worker(
    models: Path, work: Path, *options: str, parent: int | None = None
) -> tuple[subprocess.Popen[bytes], int]:
    """A worker process and its port."""
    command = [
        sys.executable,
        "-m",
        "local_backend",
        f"--models-dir={models}",
        f"--work-dir={work}",
        f"--models={MODEL},onereel/demo,local/wan2.2-5b",
        *options,
    ]
    process = subprocess.Popen(
        [*command, f"--parent-pid={parent or os.getpid()}"],
        stdout=subprocess.PIPE,
        env={**os.environ, "ONEREEL_WORKER_TOKEN": TOKEN},
    )
    assert process.stdout is not None
    port: int = json.loads(process.stdout.readline())["port"]
    return process, port


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def worker(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a running worker."""
    process, port = start_worker(models_dir, tmp_path_factory.mktemp("work"))
    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", headers=headers, timeout=30) as client:
        while client.get(f"http://127.0.0.1:{port}/health").json()["status"] == "loading":
            time.sleep(0.05)
        yield client
    process.terminate()
    assert process.wait(10) == 0


def facts(path: Path) -> tuple[int, int, float, float]:
    """Width and height in pixels, frames per second, seconds."""
    found = probe_video(path)
    return found.width, found.height, float(found.rate), float(found.duration)


def picture(width: int, height: int, step: int = 0) -> NDArray[np.uint8]:
    """A colour gradient that moves with `step`."""
    x = np.linspace(0, 255, width)[None, :, None] * np.ones((height, 1, 3))
    shifted = (x + np.array([0, 80, 160]) + step * 5) % 256
    return np.asarray(shifted, np.uint8)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("media") / "first.png"
    Image.fromarray(picture(360, 640)).save(path)
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 s of 180x320 at 12 frames per second, whose last frame is plain red."""
    path = tmp_path_factory.mktemp("media") / "clip.mp4"
    with Mp4Writer(path, 180, 320, Fraction(12)) as writer:
        for step in range(23):
            writer.add(av.VideoFrame.from_ndarray(picture(180, 320, step), format="rgb24"))
        red = np.zeros((320, 180, 3), np.uint8)
        red[..., 0] = 255
        writer.add(av.VideoFrame.from_ndarray(red, format="rgb24"))
    return path
