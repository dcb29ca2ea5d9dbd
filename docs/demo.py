"""`make demo`: start onereel, send one prompt through the stock OpenAI SDK, save the video, stop everything."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import numpy as np
import openai
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from local_backend.demo.judge import judge

PROMPT = "a red circle moves left over a blue background"
ADMIN_KEY = "demo-operator-key-0123456789abcdef"
console = Console(stderr=True)


@contextmanager
def server(data_dir: Path) -> Iterator[str]:
    """A gateway with its local worker on a free port; stopped, with all it started, on the way out."""
    command = [str(Path(sys.executable).parent / "onereel"), "serve"]
    environment = {
        **os.environ,
        "ONEREEL_DATA_DIR": str(data_dir),
        "ONEREEL_CONFIG": str(data_dir / "onereel.toml"),
        "ONEREEL_PORT": "0",
        "ONEREEL_ADMIN_KEY": ADMIN_KEY,
        "ONEREEL_LOCAL__ENABLED": "true",
    }
    log = (data_dir / "server.log").open("wb")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield wait_ready(process, data_dir)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        log.close()


def wait_ready(process: "subprocess.Popen[bytes]", data_dir: Path) -> str:
    """The base URL, once /health/ready answers 200."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with suppress(OSError, ValueError, KeyError):
            url: str = json.loads((data_dir / "lock").read_text())["url"]
            with urllib.request.urlopen(f"{url}/health/ready", timeout=2) as answer:
                if answer.status == 200:
                    return url
        time.sleep(0.1)
    console.print((data_dir / "server.log").read_text())
    raise SystemExit("onereel did not start; its log is above")


def make_key(base_url: str) -> str:
    """An API key for a developer, made through the API as an operator would."""

    def call(path: str, body: dict[str, object] | None = None) -> dict[str, object]:
        request = urllib.request.Request(
            base_url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            result: dict[str, object] = json.load(answer)
            return result

    projects = call("/v1/organization/projects")["data"]
    if not isinstance(projects, list):
        raise SystemExit("the server listed no project")
    made = call(f"/v1/organization/projects/{projects[0]['id']}/api_keys", {"name": "demo"})
    return str(made["value"])


def make_video(client: openai.OpenAI, out: Path) -> openai.types.Video:
    """The part a developer writes; everything here is the unmodified SDK."""
    video = client.videos.create(prompt=PROMPT)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(video.status, total=100)
        while video.status in ("queued", "in_progress"):
            time.sleep(0.3)
            video = client.videos.retrieve(video.id)
            progress.update(bar, description=video.status, completed=video.progress)
    if video.status != "completed":
        raise SystemExit(f"the video failed: {video.error}")
    client.videos.download_content(video.id).write_to_file(out)
    return video


def seen(path: Path) -> str:
    """What the file shows, read from every sixth frame, made small."""
    with av.open(str(path)) as container:
        frames = [
            frame.reformat(width=90, height=160, format="rgb24").to_ndarray()
            for index, frame in enumerate(container.decode(video=0))
            if index % 6 == 0
        ]
    return judge(np.stack(frames) / 255).caption


def main() -> None:
    """Print what came out: path, duration, size, price and time."""
    warnings.simplefilter("ignore", DeprecationWarning)  # the SDK warns that OpenAI's own server is gone
    started = time.monotonic()
    out = Path("out") / "demo.mp4"
    out.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="onereel-demo-") as folder:
        console.print("starting onereel with its local worker (a small diffusion model on this machine) ...")
        with server(Path(folder)) as base_url:
            client = openai.OpenAI(base_url=f"{base_url}/v1", api_key=make_key(base_url))
            console.print(f'client.videos.create(prompt="{PROMPT}")')
            video = make_video(client, out)
    cost = (video.model_extra or {})["cost"]
    print(f"a judge that sees only the pixels says: {seen(out)}")
    print(f"{out}  {video.seconds} s  {video.size}  {out.stat().st_size / 1e6:.2f} MB")
    print(
        f"model {video.model}, price ${cost['amount']} ({cost['status']}), {time.monotonic() - started:.1f} s in all"
    )


if __name__ == "__main__":
    main()
