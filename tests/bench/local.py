"""`python -m tests.bench.local`: what the bundled worker costs over calling its pipeline, on a CPU.

The worker and a plain loop over the same pipeline and encoder take turns, each alone on the machine while it works.
Then: what writing, previewing and signing a file takes, and whether memory grows over a hundred videos.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
import numpy as np
import psutil

from gateway.media.claim import Claim
from gateway.media.identity import SigningIdentity
from gateway.media.pool import MediaTools
from gateway.settings import Limits, Settings
from local_backend.clip import Clip, Frames, quantized
from local_backend.encode import write_clip
from providers.contract import Operation
from tests.server import ROOT

TOKEN: Final = "bench"
PROMPT: Final = "a red circle moves left over a blue background"
SIZE: Final = (720, 1280)
POLL_SECONDS: Final = 0.25  # what the worker asks for


def main() -> None:
    """Measure what is asked for and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="overhead,files,memory")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--videos", type=int, default=100)
    parser.add_argument("--loop", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop:
        _loop()
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    if "overhead" in options.only:
        overhead(options.rounds)
    if "files" in options.only:
        asyncio.run(files())
    if "memory" in options.only:
        memory(options.videos)


def overhead(rounds: int) -> None:
    """What the worker takes for a video that is asked for over HTTP, against the same pipeline and encoder called one after the other.

    Beside other work CPU seconds say more than wall time; the worker's hold its HTTP server and the polls.
    """
    with (
        TemporaryDirectory() as name,
        worker(Path(name)) as (client, process),
        plain_loop(Path(name)) as direct,
    ):
        video(client, 0)
        direct(0)
        walls, cpus = [], []
        for seed in range(1, rounds + 1):
            order = (True, False) if seed % 2 else (False, True)
            took = {ours: _ours(client, process, seed) if ours else direct(seed) for ours in order}
            walls.append((took[True][0], took[False][0]))
            cpus.append((took[True][1], took[False][1]))
            print(f"  round {seed}: worker {took[True]} s, direct {took[False]} s (wall, CPU)", flush=True)
    for kind, pairs in (("wall time", walls), ("CPU", cpus)):
        ratios = [100 * (ours / theirs - 1) for ours, theirs in pairs]
        print(
            f"overhead of the worker, {kind}: {statistics.median(ratios):+.1f} % (rounds {min(ratios):+.1f} to"
            f" {max(ratios):+.1f}), medians {statistics.median(a for a, _ in pairs):.3f} and"
            f" {statistics.median(b for _, b in pairs):.3f} s"
        )


def _ours(client: httpx.Client, process: psutil.Process, seed: int) -> tuple[float, float]:
    before = process.cpu_times()
    took = video(client, seed)
    after = process.cpu_times()
    return round(took, 3), round(after.user + after.system - before.user - before.system, 3)


@contextmanager
def worker(folder: Path, model: str = "onereel/demo") -> Iterator[tuple[httpx.Client, psutil.Process]]:
    """A worker process, ready."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "local_backend",
            f"--models-dir={folder}",
            f"--work-dir={folder}",
            f"--models={model}",
        ],
        env={**os.environ, "ONEREEL_WORKER_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    base = f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
    headers = {"authorization": f"Bearer {TOKEN}"}
    try:
        with httpx.Client(base_url=base, headers=headers, timeout=60) as client:
            while client.get("/health").json()["status"] != "ready":
                time.sleep(0.1)
            yield client, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def video(client: httpx.Client, seed: int, **fields: Any) -> float:
    """Seconds that the worker had it in hand, from its first stage to the finished file, polled meanwhile."""
    began = time.monotonic()
    answer = client.post("/v1/videos", json={"prompt": PROMPT, "seed": seed, "seconds": "4", **fields})
    made = answer.raise_for_status().json()["id"]
    while (state := client.get(f"/v1/videos/{made}").json())["status"] != "completed":
        assert state["status"] != "failed"
        time.sleep(POLL_SECONDS)
    assert time.monotonic() - began > sum(state["stage_seconds"].values())
    client.delete(f"/v1/videos/{made}")
    return float(sum(state["stage_seconds"].values()))


@contextmanager
def plain_loop(folder: Path) -> Iterator[Callable[[int], tuple[float, float]]]:
    """A process that makes a file for each seed it reads; gives the wall and CPU seconds it took."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.local", "--loop"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    def make(seed: int) -> tuple[float, float]:
        stdin.write(f"{seed} {folder / 'direct.mp4'}\n")
        stdin.flush()
        wall, cpu = map(float, stdout.readline().split())
        return round(wall, 3), round(cpu, 3)

    try:
        yield make
    finally:
        stdin.close()
        process.wait(20)


def _loop() -> None:
    import torch

    from local_backend.demo.pipeline import DemoPipeline

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    pipeline = DemoPipeline.from_pretrained()
    for line in sys.stdin:
        seed, path = line.split()
        began, spent = time.monotonic(), time.process_time()
        output = pipeline(PROMPT, generator=torch.Generator().manual_seed(int(seed)))
        clip = Clip(quantized(output.frames[0]))
        write_clip(Path(path), clip, size=SIZE, rate=24, seconds=4, tick=lambda _: None, fit="pad")
        print(time.monotonic() - began, time.process_time() - spent, flush=True)


async def files() -> None:
    """Seconds to write 81 frames, to make their previews and to sign the file; medians of three."""
    print(
        f"{'81 frames':24} {'write':>8} {'x real time':>12} {'thumbnail':>10} {'sprites':>8} {'sign':>8} {'size':>9}"
    )
    with TemporaryDirectory() as name:
        identity = SigningIdentity(Settings(data_dir=Path(name))).loaded
        claim = Claim("video_1", "onereel/demo", Operation.GENERATE, 1_790_000_000_000)
        media = MediaTools(Limits())
        sign = partial(media.sign, claim=claim, identity=identity)
        try:
            for size in ((832, 480), (1280, 720)):
                for kind, draw in (("smooth", _smooth), ("noise", _noise)):
                    clip = Clip(draw(*size), Fraction(16))
                    await _file(f"{kind} {size[0]}x{size[1]}", clip, media, sign)
        finally:
            await media.close()


async def _file(label: str, clip: Clip, media: MediaTools, sign: Callable[..., Any]) -> None:
    size = (clip.frames.shape[2], clip.frames.shape[1])
    with TemporaryDirectory() as name:
        path, out = Path(name, "a.mp4"), Path(name, "out")
        write = _median(lambda: write_clip(path, clip, size=size, rate=16, seconds=5, tick=lambda _: None))
        thumb = await _median_of(lambda: media.thumbnail(path, out))
        sprite = await _median_of(lambda: media.spritesheet(path, out))
        facts = await media.probe(path)
        signed = await _median_of(lambda: sign(path, out, facts=facts))
        print(
            f"{label:24} {write:7.2f}s {5 / write:11.1f}x {thumb:9.3f}s {sprite:7.3f}s {signed:7.3f}s"
            f" {path.stat().st_size / 1e6:7.2f}MB",
            flush=True,
        )


def _median(do: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        began = time.monotonic()
        do()
        times.append(time.monotonic() - began)
    return statistics.median(times)


async def _median_of(do: Callable[[], Any]) -> float:
    times = []
    for _ in range(3):
        began = time.monotonic()
        await do()
        times.append(time.monotonic() - began)
    return statistics.median(times)


def _noise(width: int, height: int) -> Frames:
    return np.random.default_rng(1).integers(0, 256, (81, height, width, 3), np.uint8)


def _smooth(width: int, height: int) -> Frames:
    """A gradient that moves."""
    row = (np.arange(width)[None] + 8 * np.arange(81)[:, None]) % 512
    ramp = np.minimum(row, 511 - row).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(ramp[:, None, :, None], (81, height, width, 3)))


def memory(videos: int) -> None:
    """Resident memory of a worker after each of so many videos, and how much it grew over the last four fifths."""
    with TemporaryDirectory() as name, worker(Path(name), "onereel/tiny-random") as (client, process):
        rss = []
        for seed in range(videos):
            video(client, seed, num_inference_steps=2)
            rss.append(process.memory_info().rss / 1e6)
            if (seed + 1) % 10 == 0:
                print(f"  {seed + 1:4} videos: {rss[-1]:.0f} MB", flush=True)
    settled = rss[len(rss) // 5 :]
    slope = float(np.polyfit(np.arange(len(settled)), settled, 1)[0]) * 1000
    grew = "growth" if slope > 50 else "no growth"
    print(
        f"memory: {_spark(rss)} {rss[0]:.0f} to {rss[-1]:.0f} MB, {slope:+.1f} kB a video after the first fifth: {grew}"
    )


def _spark(values: list[float]) -> str:
    low, high = min(values), max(values)
    shown = [values[index * len(values) // 40] for index in range(min(40, len(values)))]
    return "".join("▁▂▃▄▅▆▇█"[int(7 * (each - low) / max(1e-9, high - low))] for each in shown)


if __name__ == "__main__":
    main()
