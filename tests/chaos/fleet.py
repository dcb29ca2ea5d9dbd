"""Real `onereel worker` processes behind one name, and one of them killed in the midst of a video."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from gateway.jobs.routes import seed_of
from providers.configured import configured
from tests.gateway.live import live, settings_for
from tests.server import ROOT, free_port

TOKEN = "of-the-fleet"
MODEL = "onereel/tiny-random"
NAME = "gpu.test"
WORKER = [sys.executable, "-m", "gateway.cli", "worker"]
SLOW = {"num_inference_steps": 24}


@contextmanager
def workers(
    folder: Path, port: int, addresses: Sequence[str]
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """`onereel worker` at each address."""
    (folder / "token").write_text(TOKEN)
    running: dict[str, subprocess.Popen[bytes]] = {}
    options = [f"--port={port}", f"--models={MODEL}", f"--token-file={folder / 'token'}"]
    folders = [f"--models-dir={folder / 'models'}", f"--work-dir={folder / 'work'}"]
    try:
        for address in addresses:
            running[address] = subprocess.Popen([*WORKER, f"--host={address}", *options, *folders], cwd=ROOT)
        yield running
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def until(found: Any, seconds: float = 120) -> Any:
    """What `found` answers, once it is anything."""
    end = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return answer


def problems(folder: Path) -> list[str]:
    """Kill -9 a worker in the midst of a video; what was not as it must be."""
    port, addresses = free_port(), ["127.0.0.2", "127.0.0.3"]

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    table = {"name": "gpu", "type": "local", "base_url": f"http://{NAME}:{port}/v1", "api_key": TOKEN}
    settings = settings_for(folder / "data", upstreams=(configured({**table, "models": [MODEL]}),))
    with (
        workers(folder, port, addresses) as running,
        live(settings, resolve=resolve) as gateway,
        gateway.client() as client,
    ):
        body = {"prompt": "a red fox", "model": MODEL, "provider_options": SLOW}
        video = client.post("/v1/videos", json=body).json()
        taken = until(lambda: in_progress(port, addresses))
        running[taken].kill()
        (other,) = (each for each in addresses if each != taken)
        ended = until(lambda: done(client, video["id"]))
        attempts = client.get(f"/v1/videos/{video['id']}/attempts").json()["data"]
        made = listed(port, other)
        (shown,) = client.get("/v1/upstreams").json()["data"]
        content = client.get(f"/v1/videos/{video['id']}/content").content
    checks = {
        f"the video is {ended['status']}": ended["status"] == "completed",
        f"the attempts are {attempts}": [(each["upstream"], each["status"]) for each in attempts]
        == [(f"gpu@{taken}", "lost"), (f"gpu@{other}", "completed")],
        f"the other worker made {made}": [each["seed"] for each in made] == [seed_of(video["id"])],
        f"the servers are {shown}": [each["address"] for each in shown["servers"]] == addresses,
        "the content is no MP4": content[4:8] == b"ftyp",
    }
    return [said for said, sound in checks.items() if not sound]


def listed(port: int, address: str) -> list[dict[str, Any]]:
    try:
        headers = {"authorization": f"Bearer {TOKEN}"}
        answer = httpx.get(f"http://{address}:{port}/v1/videos", headers=headers)
    except httpx.TransportError:
        return []
    return list(answer.json()["data"])


def in_progress(port: int, addresses: Sequence[str]) -> str | None:
    for address in addresses:
        if any(each["step"] > 0 for each in listed(port, address)):
            return address
    return None


def done(client: httpx.Client, video_id: str) -> dict[str, Any] | None:
    video = client.get(f"/v1/videos/{video_id}").json()
    return dict(video) if video["status"] in {"completed", "failed"} else None
