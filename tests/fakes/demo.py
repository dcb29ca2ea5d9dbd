"""One video through every adapter: `python -m tests.fakes.demo`.

Starts the fakes, `onereel serve` with one upstream per adapter in front of them, and asks the stock OpenAI SDK for a
video of each. Prints a table; the exit status says whether every video was completed.
"""

import json
import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import openai
from rich.console import Console
from rich.table import Table

from tests.fakes import FakeProviders, fakes
from tests.server import Server

PROMPT: Final = "a lighthouse at dusk, waves rolling in"
_TIMEOUT_SECONDS: Final = 180


@dataclass(frozen=True)
class Line:
    """What became of one provider's video: costs in USD, the time it took, and the bytes that came."""

    provider: str
    model: str
    status: str
    attempts: int
    charged: str
    upstream_cost: str
    seconds: float
    size: int
    error: str = ""


def configuration(fake: FakeProviders) -> str:
    """Write onereel.toml: one upstream per type, with the one model that its fake names as an example."""
    hosts = json.dumps([fake.foreign_host])
    return "\n".join([f"[security]\nallowed_private_hosts = {hosts}", *(_upstream(fake, t) for t in fakes())])


def run(server: Server, types: Iterable[str]) -> list[Line]:
    """Make one video of each type, all at once."""
    client = openai.OpenAI(base_url=server.api_url, api_key=server.make_key("demo"))
    wanted = list(types)
    warnings.filterwarnings("ignore", message="The Sora API", category=DeprecationWarning)
    with client, ThreadPoolExecutor(len(wanted)) as pool:
        return list(pool.map(lambda type_: _made(client, server, type_), wanted))


def _made(client: openai.OpenAI, server: Server, type_: str) -> Line:
    example = _example(type_)
    started = time.monotonic()
    create: Any = client.videos.create  # the SDK's types know only OpenAI's sizes and lengths
    video = create(
        model=f"demo/{type_}",
        prompt=PROMPT,
        size=example["size"],
        seconds=str(example["seconds"]),
    )
    while video.status in {"queued", "in_progress"} and time.monotonic() - started < _TIMEOUT_SECONDS:
        time.sleep(0.25)
        video = client.videos.retrieve(video.id)
    took = time.monotonic() - started
    data = client.videos.download_content(video.id).read() if video.status == "completed" else b""
    attempts = server.call("GET", f"/v1/videos/{video.id}/attempts")["data"]
    costs = [Decimal(each["cost"]["usd"]) for each in attempts if each.get("cost") and each["cost"]["usd"]]
    return Line(
        provider=type_,
        model=str(example["model"]),
        status=video.status,
        attempts=len(attempts),
        charged=video.to_dict()["cost"]["amount"],
        upstream_cost=f"{sum(costs, Decimal(0)):.6f}" if costs else "",
        seconds=took,
        size=len(data),
        error="" if video.error is None else f"{video.error.code}: {video.error.message}",
    )


def _example(type_: str) -> dict[str, Any]:
    return {"model": "fake-1", "size": "1280x720", "seconds": 4, **fakes()[type_].example}


def _upstream(fake: FakeProviders, type_: str) -> str:
    spec, example = fake.upstream(type_), _example(type_)
    return f"""
[[upstreams]]
name = "{spec.name}"
type = "{spec.type}"
base_url = "{spec.base_url}"
api_key = {json.dumps(spec.credential)}
credit_usd = "0.01"
options = {_toml(spec.options)}
[[upstreams.models]]
id = "demo/{type_}"
upstream_model = "{example["model"]}"
seconds = [{example["seconds"]}]
{_shape(example)}
parameters = []
price_per_second_usd = "0.10"
wire = {_toml(example.get("wire", {}))}
"""


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return (
            "{ " + ", ".join(f"{json.dumps(name)} = {_toml(inner)}" for name, inner in value.items()) + " }"
        )
    return json.dumps(value)


def main() -> int:
    """Run and print."""
    with FakeProviders(run_seconds=[0.5, 2.0]) as fake, Server(config=configuration(fake)) as server:
        lines = run(server, fakes())
    table = Table("provider", "model", "status", "attempts", "charged", "upstream cost", "seconds", "bytes")
    for line in lines:
        shown = (line.charged, line.upstream_cost, f"{line.seconds:.1f}", f"{line.size:,}")
        table.add_row(line.provider, line.model, line.error or line.status, str(line.attempts), *shown)
    console = Console(width=140)
    console.print(table)
    done = sum(line.status == "completed" for line in lines)
    console.print(f"{done} of {len(lines)} videos completed")
    return 0 if done == len(lines) else 1


if __name__ == "__main__":
    sys.exit(main())


def _shape(example: Mapping[str, Any]) -> str:
    if "resolution" not in example:
        return f'sizes = ["{example["size"]}"]'
    return f'resolutions = ["{example["resolution"]}"]\naspect_ratios = ["{example["aspect_ratio"]}"]'
