"""How long videos wait for a place, by simulation, and whether that is what a real run shows. By hand:

python -m tests.bench.queueing [--places 8] [--service 10] [--utilization 0.85] [--seconds 200]

A real gateway on PostgreSQL sends Poisson arrivals to an upstream with so many places (a GPU worker is an upstream with
one place for each GPU). The simulation gets the arrivals, the service times, and what the gateway itself adds to each:
from a place that is free to a begun video, and from an upstream that is done to a place that is free. These two are
read twice: from the run (the reproduction), and before it from lone videos for which nobody waits (the prediction).
"""

import argparse
import asyncio
import contextlib
import heapq
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from typing import Any, Final

import aiohttp

from gateway.jobs.context import poll_delay
from tests.bench.fleet import Fleet
from tests.bench.load import create_body
from tests.bench.polling import ADAPTER_SECONDS, control
from tests.bench.service import Service
from tests.bench.upstream import wait_until_answers
from tests.server import ROOT, free_port, upstream_table

MODEL: Final = "bench/u0"
CALIBRATED: Final = 24
_MEAN_SPREAD: Final = 1.05  # of `poll_delay`
_LAST_POLLS: Final = 8
LIMIT: Final = 0.1
"""How far mean and p95 of the simulation may be from the run's."""

_ROWS: Final = """
SELECT v.created_at / 1000.0 AS created, a.created_at / 1000.0 AS begun, v.completed_at / 1000.0 AS completed,
    a.handle->>'id' AS upstream_id
FROM videos v JOIN attempts a ON a.video_id = v.id WHERE v.state = 'completed' ORDER BY v.created_at
"""


@dataclass(frozen=True, slots=True)
class Station:
    """An upstream, or the GPU workers of one model: `places` videos at once, each `service` long, the others wait.

    It is asked every `poll_after` seconds, None: in the gateway's own rhythm. Seconds that the gateway adds: `pickup`
    from free to taken, `answer` for each request, `settle` from knowing that it is done to the place being free.
    """

    places: int
    service: Service
    poll_after: float | None = None
    pickup: float = 0.0
    answer: float = 0.0
    settle: float = 0.0

    def known_after(self, service: float) -> float:
        """Seconds from the start of a video to the answer that says it is done, for a given service time."""
        asked = self.answer
        if (
            self.poll_after is not None
        ):  # of many polls in equal steps only the last few need to be gone through
            step = self.answer + self.poll_after * _MEAN_SPREAD
            asked += max(0, int(service / step) - _LAST_POLLS) * step
        while True:
            asked += poll_delay(self.poll_after, ADAPTER_SECONDS, asked)
            if asked >= service:
                return asked + self.answer
            asked += self.answer


@dataclass(frozen=True, slots=True)
class Wait:
    """One video: when it came, how long it waited, how long it held its place. Seconds."""

    arrived: float
    delay: float
    held: float


def simulate(
    stations: Sequence[Station], arrivals: Iterable[float], services: Sequence[Iterator[float]]
) -> list[Wait]:
    """First come, first served by the first station that has a place. Service times come in the order of the starts."""
    free = [station.places for station in stations]
    waiting: deque[float] = deque()
    ends: list[tuple[float, int]] = []  # when a place of which station is free again
    waits: list[Wait] = []

    def begin(arrived: float, now: float, number: int) -> None:
        station = stations[number]
        begun = now + station.pickup
        held = station.known_after(next(services[number])) + station.settle
        free[number] -= 1
        heapq.heappush(ends, (begun + held, number))
        waits.append(Wait(arrived, begun - arrived, held))

    def end_until(now: float) -> None:
        while ends and ends[0][0] <= now:
            moment, number = heapq.heappop(ends)
            free[number] += 1
            if waiting:
                begin(waiting.popleft(), moment, number)

    for arrived in arrivals:
        end_until(arrived)
        room = next((number for number, places in enumerate(free) if places), None)
        if room is None:
            waiting.append(arrived)
        else:
            begin(arrived, arrived, room)
    end_until(math.inf)
    return waits


def poisson(rate: float, count: int, seed: int) -> list[float]:
    """Arrival times in seconds, so many a second."""
    source = random.Random(seed)
    return list(accumulate(source.expovariate(rate) for _ in range(count)))


def poisson_within(seconds: float, count: int, seed: int) -> list[float]:
    """Poisson arrivals of which it is known that so many came within so many seconds."""
    source = random.Random(seed)
    return sorted(source.uniform(0.0, seconds) for _ in range(count))


@dataclass(frozen=True, slots=True)
class Summary:
    """Seconds."""

    mean: float
    p95: float

    @classmethod
    def of(cls, delays: Iterable[float]) -> "Summary":
        ordered = sorted(delays)
        return cls(statistics.fmean(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))])


def steady(station: Station, utilization: float, count: int, seed: int) -> Summary:
    """Queue delay at this utilization (arrivals times service time over places), the first tenth left out."""
    rate = utilization * station.places / station.service.mean
    random.seed(seed)  # the spread of polls
    waits = simulate([station], poisson(rate, count, seed), [station.service.times(seed + 1)])
    return Summary.of(wait.delay for wait in waits[count // 10 :])


# --- the measured run


@dataclass(frozen=True, slots=True)
class Seen:
    """One video of the real run. Seconds since the epoch; `ended` is when the upstream was done."""

    created: float
    begun: float
    completed: float
    ended: float


@dataclass
class Rig:
    """A real gateway with one upstream."""

    fleet: Fleet
    port: int
    station: Station
    key: str

    def serve(self, seed: int) -> None:
        """From now on videos take the service times of this seed."""
        service, after = self.station.service, self.station.poll_after
        asked = "" if after is None else f"&poll_after_ms={after * 1000:.0f}"
        control(self.port, f"set?mean={service.mean}&sigma={service.sigma}&seed={seed}{asked}")

    def run(self, moments: Sequence[float]) -> list[Seen]:
        """Create videos at these moments; answers them all once they have ended."""
        before = len(self.fleet.look.rows(_ROWS))
        asyncio.run(_arrive(self.fleet["api"].api_url, self.key, moments))
        deadline = time.monotonic() + 600
        while len(rows := self.fleet.look.rows(_ROWS)) < before + len(moments):
            if time.monotonic() > deadline:
                raise TimeoutError("the videos did not end in 600 s")
            time.sleep(0.5)
        ends = control(self.port, "ends")
        return [
            Seen(
                float(row["created"]), float(row["begun"]), float(row["completed"]), ends[row["upstream_id"]]
            )
            for row in rows[before:]
        ]


async def _arrive(url: str, key: str, moments: Sequence[float]) -> None:
    began = time.monotonic()
    headers = {"Authorization": f"Bearer {key}"}

    async def one(session: aiohttp.ClientSession, moment: float) -> None:
        await asyncio.sleep(began + moment - time.monotonic())
        async with session.post(f"{url}/videos", json=create_body(MODEL)) as answer:
            if answer.status != 200:
                raise RuntimeError(await answer.text())

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:
        await asyncio.gather(*(one(session, moment) for moment in moments))


def calibrated(station: Station, seen: Sequence[Seen], seed: int) -> Station:
    """The station with what the gateway added to these videos."""
    services = station.service.times(seed)
    asked = statistics.fmean(station.known_after(took) - took for took in (next(services) for _ in seen))
    lag = statistics.fmean(each.completed - each.ended for each in seen)
    return replace(station, pickup=_pickup(station.places, seen), settle=max(0.0, lag - asked))


def _pickup(places: int, seen: Sequence[Seen]) -> float:
    """Seconds from the moment that a video could have begun, the place being free and the video there, until it did."""
    begins = sorted((each.begun, each.created) for each in seen)
    freed = [0.0] * places + sorted(each.completed for each in seen)
    gaps = [begun - max(created, free) for (begun, created), free in zip(begins, freed, strict=False)]
    return max(0.0, statistics.fmean(gaps))


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Run it, simulate it; both as figures."""
    station = Station(options.places, Service(options.service), options.poll_after, answer=0.1)
    rate = options.utilization * options.places / options.service
    with _rig(station) as rig:
        rig.serve(options.seed)
        gap = options.service / options.places * 2  # half of the places are taken
        lone = calibrated(station, rig.run([gap * number for number in range(CALIBRATED)]), options.seed)
        rig.serve(options.seed + 1)
        seen = rig.run(poisson_within(options.seconds, round(rate * options.seconds), options.seed + 2))
    return _compared(lone, calibrated(station, seen, options.seed + 1), seen, options)


def _compared(
    lone: Station, station: Station, seen: Sequence[Seen], options: argparse.Namespace
) -> dict[str, Any]:
    real = Summary.of(each.begun - each.created for each in seen)
    arrivals = [each.created for each in seen]
    others = sorted(steady_run(station, options, seed).mean for seed in range(200))
    return {
        "station": asdict(station),
        "lone": asdict(lone),
        "videos": len(seen),
        "utilization": _used(station, len(seen), options.seed + 1, arrivals[-1] - arrivals[0]),
        "held": statistics.fmean(each.completed - each.begun for each in seen),
        "measured": asdict(real),
        "simulated": _again(station, arrivals, options.seed + 1, real),
        "predicted": _again(lone, arrivals, options.seed + 1, real),
        "other_seeds": {"mean": statistics.median(others), "p5": others[10], "p95": others[-11]},
        "load": os.getloadavg()[0],
    }


def _used(station: Station, count: int, seed: int, seconds: float) -> float:
    """Service times as they were drawn, over what the places could give in this time."""
    times = station.service.times(seed)
    return sum(next(times) for _ in range(count)) / (station.places * seconds)


def _again(station: Station, arrivals: Sequence[float], seed: int, real: Summary) -> dict[str, float]:
    """The same arrivals and service times, simulated; polls are spread at random, so it is the median of many."""
    runs = [
        Summary.of(wait.delay for wait in simulate([station], arrivals, [station.service.times(seed)]))
        for _ in range(50)
    ]
    mean, p95 = (statistics.median(getattr(run, name) for run in runs) for name in ("mean", "p95"))
    return {"mean": mean, "p95": p95, "mean_off": mean / real.mean - 1, "p95_off": p95 / real.p95 - 1}


def steady_run(station: Station, options: argparse.Namespace, seed: int) -> Summary:
    """A run as long as the measured one with other arrivals and service times."""
    rate = options.utilization * station.places / station.service.mean
    arrivals = poisson_within(options.seconds, round(rate * options.seconds), 1000 + seed)
    waits = simulate([station], arrivals, [station.service.times(2000 + seed)])
    return Summary.of(wait.delay for wait in waits)


@contextlib.contextmanager
def _rig(station: Station) -> Iterator[Rig]:
    port = free_port()
    config = upstream_table(
        f"http://127.0.0.1:{port}/u0/v1", name="u0", model=MODEL, max_concurrent=station.places
    )
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.polling_upstream", str(port)])
    try:
        wait_until_answers(f"http://127.0.0.1:{port}/control/polls", timeout=30)
        with Fleet(config) as fleet:
            fleet.start_api()
            fleet.start_jobs()
            yield Rig(fleet, port, station, fleet["api"].make_key())
    finally:
        process.terminate()
        process.wait()


def report(found: dict[str, Any]) -> str:
    """As text."""
    station, lone, service = found["station"], found["lone"], Service(**found["station"]["service"])
    lines = [
        f"{found['videos']} videos at {station['places']} places, utilization {found['utilization']:.0%}",
        f"service {service.mean:g} s (variation {service.variation:.2f}), a place was held {found['held']:.2f} s",
        f"from free to begun {_ms(station['pickup'])} (lone videos {_ms(lone['pickup'])})",
        f"from known to free {_ms(station['settle'])} (lone videos {_ms(lone['settle'])})",
        f"{'queue delay':13}{'measured':>12}{'simulated':>12}{'deviation':>12}{'from lone videos':>20}{'deviation':>12}",
    ]
    real, same, lone_run = found["measured"], found["simulated"], found["predicted"]
    for name in ("mean", "p95"):
        off = f"{name}_off"
        lines.append(
            f"{name:13}{real[name]:>10.2f} s{same[name]:>10.2f} s{same[off]:>+12.1%}{lone_run[name]:>18.2f} s{lone_run[off]:>+12.1%}"
        )
    other = found["other_seeds"]
    met = all(abs(same[f"{name}_off"]) <= LIMIT for name in ("mean", "p95"))
    lines.append(
        f"runs like this with other seeds: mean {other['mean']:.2f} s, nine of ten from {other['p5']:.2f} to {other['p95']:.2f} s"
    )
    lines.append(f"within {LIMIT:.0%}: {'yes' if met else 'NO'} (load of the machine {found['load']:.1f})")
    return "\n".join(lines)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def main() -> None:
    """Measure and compare, or draw."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.queueing")
    parser.add_argument("--places", type=int, default=8)
    parser.add_argument("--service", type=float, default=10.0, help="seconds, the mean")
    parser.add_argument("--poll-after", type=float, default=0.5)
    parser.add_argument("--utilization", type=float, default=0.85)
    parser.add_argument("--seconds", type=float, default=200.0)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    found = measured(options)
    print(report(found))
    out = ROOT / ".bench"
    out.mkdir(exist_ok=True)
    path = out / f"queueing-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(found, indent=1))
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
