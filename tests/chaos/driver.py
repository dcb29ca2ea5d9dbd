"""One crash run: real processes, real fakes, kill -9 at random, and then the checker."""

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
from sqlalchemy import func, select

from gateway.clock import Clock
from gateway.db import Database
from gateway.db_open import open_database
from gateway.jobs.tables import jobs, outbox
from gateway.settings import Settings
from gateway.videos.states import LIVE
from gateway.videos.tables import videos
from providers.testing import FakeUpstream
from tests.chaos import money
from tests.chaos.checker import Findings, Upstream, check, in_folder
from tests.chaos.receiver import Receiver

ADMIN_KEY = "chaos-operator-key"
CAP = 8
SPARED = 3.0
"""Seconds in which a woken process commits what it had in hand, before a kill may fall on it."""
MORE = 20
"""Videos for each kill beyond the plan."""
CANCELLED = 9
"""Every so manieth video is cancelled."""
SAFETIES = ("key", "lookup", "none")
WINDOWS = {
    "submit": ("attempt.committed", {"submit.answered"}),
    "store": ("store.begin", {"settle.begin"}),
    "settle": ("settle.begin", {"settle.done"}),
}


@dataclass
class Plan:
    """What to do to whom. Seconds."""

    database_url: str
    folder: Path
    processes: int = 1
    videos: int = 400
    kills: int = 15
    kill_every: tuple[float, float] = (0.4, 1.6)
    needed: dict[str, int] = field(default_factory=lambda: {"submit": 5, "store": 5, "settle": 3})
    stops: int = 0
    storage_failures: int = 1
    skew: float = 90.0
    hold: float = 0.15
    fault: str = ""
    lease: float = 4.0
    renew: float = 1.3
    freeze: float = 15.0
    answer_ms: tuple[int, int] = (0, 200)
    patience: float = 90.0
    seed: int = 0


@dataclass
class Outcome:
    findings: Findings
    kills: int
    windows: Counter[str]
    stops: int
    seconds: float
    plan: Plan

    @property
    def void(self) -> list[str]:
        """Windows that too few kills fell into."""
        return [
            f"{n}: {self.windows[n]} of {want}"
            for n, want in self.plan.needed.items()
            if self.windows[n] < want
        ]


class Process:
    """One onereel under a fixed port; every start is a new identity."""

    def __init__(self, plan: Plan, number: int, environment: dict[str, str]) -> None:
        self._plan = plan
        self._environment = environment
        self.log = plan.folder / f"milestones-{number}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._output = (plan.folder / f"process-{number}.log").open("ab")
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        skew = random.uniform(-self._plan.skew, self._plan.skew)
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.process", "--port", str(self.port)],
            env={**self._environment, "CHAOS_SKEW": f"{skew:.1f}", "CHAOS_LOG": str(self.log)},
            stdout=self._output,
            stderr=self._output,
        )

    def restart_if_it_gave_up(self) -> None:
        """What a supervisor does: a start that found no storage ends with an error."""
        if self.popen.poll() is not None:
            self.start()

    def kill(self) -> Counter[str]:
        """SIGKILL; answers in which windows it fell."""
        self.popen.kill()
        self.popen.wait()
        return Counter({window: int(bool(self.inside(window))) for window in WINDOWS})

    def inside(self, window: str) -> set[str]:
        """The videos that this process has in a window now, or had when it died."""
        opens, closes = WINDOWS[window]
        found: set[str] = set()
        for line in self.log.read_text().splitlines() if self.log.exists() else []:
            who, name, video_id = line.split()
            if who != str(self.popen.pid):
                continue
            if name == opens:
                found.add(video_id)
            elif name in closes:
                found.discard(video_id)
        return found

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def end(self) -> None:
        self.popen.kill()
        self.popen.wait()
        self._output.close()


class Driver:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        plan.folder.mkdir(parents=True, exist_ok=True)
        random.seed(plan.seed or None)
        self.receiver = Receiver()
        settings = {
            "submit_delay_ms": plan.answer_ms,
            "answer_delay_ms": plan.answer_ms,
            "run_seconds": (0.5, 2.0),
        }
        self.fakes = {
            safety: FakeUpstream(
                poll_after_ms=300,
                idempotency=safety == "key",
                lookup=safety == "lookup",
                cost_usd="0.30" if safety == "lookup" else None,
                **settings,
            ).start()
            for safety in SAFETIES
        }
        self.storage = plan.folder / "storage"
        environment = self._environment()
        self.processes = [Process(plan, n, environment) for n in range(plan.processes)]
        self.accepted: dict[int, str] = {}
        self.windows: Counter[str] = Counter()
        self.refused: list[str] = []
        self.kills = self.stops = 0
        self.killed = asyncio.Condition()
        self.frozen: list[Process] = []

    def _environment(self) -> dict[str, str]:
        config = self.plan.folder / "onereel.toml"
        money.write_config(config, {name: fake.base_url for name, fake in self.fakes.items()}, CAP)
        return {
            **os.environ,
            "ONEREEL_CONFIG": str(config),
            "ONEREEL_DATA_DIR": str(self.plan.folder / "data"),
            "ONEREEL_DATABASE_URL": self.plan.database_url,
            "ONEREEL_STORAGE_URL": f"file://{self.storage}",
            "ONEREEL_ADMIN_KEY": ADMIN_KEY,
            "ONEREEL_LOCAL__ENABLED": "false",
            "ONEREEL_SECURITY__ALLOWED_PRIVATE_HOSTS": json.dumps([self.receiver.host]),
            "ONEREEL_JOBS__LEASE_SECONDS": str(self.plan.lease),
            "ONEREEL_JOBS__RENEW_SECONDS": str(self.plan.renew),
            "ONEREEL_JOBS__LOOKUP_WAIT_SECONDS": "1.5",
            "ONEREEL_JOBS__UNKNOWN_GRACE_SECONDS": "6",
            "ONEREEL_JOBS__MAX_TRIES": "40",
            "ONEREEL_ROUTING__COOL_DOWN_SECONDS": "0.5",
            "ONEREEL_ROUTING__LONGEST_COOL_DOWN_SECONDS": "2",
            "ONEREEL_LOG_LEVEL": "WARNING",
            "CHAOS_HOLD": str(self.plan.hold),
            "CHAOS_FAULT": self.plan.fault,
        }

    async def run(self) -> Outcome:
        started = time.monotonic()
        database = open_database(
            Settings(database_url=self.plan.database_url, data_dir=self.plan.folder), Clock()
        )
        try:
            limits, headers = httpx.Limits(max_connections=16), {"Authorization": f"Bearer {ADMIN_KEY}"}
            async with httpx.AsyncClient(timeout=10, limits=limits, headers=headers) as client:
                await self._wait_ready(client)
                most = self.plan.videos + MORE * self.plan.kills
                await money.prepare(client, self.processes[0].url, self.plan.videos, most)
                trouble = asyncio.create_task(self._trouble(client, database))
                await asyncio.gather(*(self._submit_share(client, n) for n in range(8)), trouble)
            await self._settle(database)
            stats = {name: fake.stats() for name, fake in self.fakes.items()}
            upstreams = [Upstream(name, CAP, name, stats[name]) for name in SAFETIES]
            found = await check(
                database, self.accepted.values(), upstreams, self.receiver, in_folder(self.storage)
            )
            found.problems += self.refused
        finally:
            await database.close()
            for process in self.processes:
                process.end()
            for fake in self.fakes.values():
                fake.stop()
            self.receiver.close()
        return Outcome(found, self.kills, self.windows, self.stops, time.monotonic() - started, self.plan)

    async def _wait_ready(self, client: httpx.AsyncClient) -> None:
        for process in self.processes:
            for _ in range(900):
                with suppress(httpx.HTTPError):
                    if (await client.get(f"{process.url}/health/ready")).status_code == 200:
                        break
                await asyncio.sleep(0.1)
            else:
                raise RuntimeError(f"a process did not start; see {self.plan.folder}")

    async def _submit_share(self, client: httpx.AsyncClient, share: int) -> None:
        """Spread over most of the kills, with a backlog for the rest: each finds work in hand."""
        for n in range(share, self.plan.videos, 8):
            async with self.killed:
                await self.killed.wait_for(partial(self._is_turn_of, n))
            await self._submit(client, n)

    def _is_turn_of(self, n: int) -> bool:
        return self.kills >= n * self.plan.kills * 0.75 / self.plan.videos

    async def _submit(self, client: httpx.AsyncClient, n: int) -> None:
        """A careful client: the same Idempotency-Key until it has an answer, whichever process gives it."""
        body = {
            "model": f"acme/{SAFETIES[n % 3]}",
            "prompt": f"clip {n}",
            "size": "720x1280",
            "webhook_url": f"http://{self.receiver.host}/hook",
        }
        headers = {"Idempotency-Key": f"clip-{n}"}
        while True:
            process = random.choice(self.processes)
            with suppress(httpx.HTTPError):
                answer = await client.post(f"{process.url}/v1/videos", json=body, headers=headers)
                if answer.status_code == 200:
                    self.accepted[n] = answer.json()["id"]
                    if n % CANCELLED == 0:
                        await self._cancel(client, self.accepted[n])
                    return
                if "insufficient_quota" in answer.text:  # there is credit for every video
                    self.refused.append(f"video {n} was refused: {answer.text}")
                    return
                if answer.status_code < 500 and answer.status_code != 429:
                    raise RuntimeError(f"a create was refused: {answer.text}")
            await asyncio.sleep(0.1)

    async def _cancel(self, client: httpx.AsyncClient, video_id: str) -> None:
        """Anywhere in its life, perhaps after its end; asked until it is answered."""
        await asyncio.sleep(random.uniform(0, 1.5))
        while True:
            with suppress(httpx.HTTPError):
                url = random.choice(self.processes).url
                if (await client.post(f"{url}/v1/videos/{video_id}/cancel")).status_code < 500:
                    return
            await asyncio.sleep(0.1)

    async def _trouble(self, client: httpx.AsyncClient, database: Database) -> None:
        storage_at = {random.randrange(1, max(2, self.plan.kills)) for _ in range(self.plan.storage_failures)}
        stop_at = sorted(random.sample(range(self.plan.kills), min(self.plan.stops, self.plan.kills)))
        frozen: list[asyncio.Task[None]] = []
        more: list[asyncio.Task[None]] = []
        while self._kills_wanted():
            if self.kills >= self.plan.kills:  # a kill beyond the plan gets work of its own to interrupt
                first = self.plan.videos + MORE * self.kills
                await money.grant(client, (await self._live(self._awake())).url, MORE, f"more-{first}")
                more += [asyncio.create_task(self._submit(client, n)) for n in range(first, first + MORE)]
            await self._live(self._awake())
            await asyncio.sleep(random.uniform(*self.plan.kill_every))
            if self.kills in storage_at:
                storage_at.discard(self.kills)
                await self._break_storage()
            if stop_at and self.kills >= stop_at[0] and len(self.frozen) + 1 < len(self.processes):
                stop_at.pop(0)
                frozen.append(asyncio.create_task(self._freeze(await self._live(self._awake()), database)))
            process = await self._victim()
            self.windows += await asyncio.to_thread(process.kill)
            async with self.killed:
                self.kills += 1
                self.killed.notify_all()
            process.start()
        await asyncio.gather(*frozen, *more)

    def _kills_wanted(self) -> bool:
        """As many as planned, and a few more where too few fell into a window that counts."""
        missing = any(self.windows[name] < wanted for name, wanted in self.plan.needed.items())
        return self.kills < self.plan.kills or (missing and self.kills < 2 * self.plan.kills)

    async def _victim(self) -> Process:
        """Mostly a process that is up: a kill during start is worth testing too, but finds nothing in hand."""
        awake = self._awake()
        return random.choice(awake) if self.kills % 5 == 4 else await self._live(awake)

    def _awake(self) -> list[Process]:
        return [process for process in self.processes if process not in self.frozen]

    async def _live(self, candidates: list[Process]) -> Process:
        """Any of them that answers, as soon as one does."""
        async with httpx.AsyncClient(timeout=1) as client:
            for _ in range(400):
                random.shuffle(candidates)
                for process in candidates:
                    process.restart_if_it_gave_up()
                    with suppress(httpx.HTTPError):
                        if (await client.get(f"{process.url}/health/ready")).status_code == 200:
                            return process
                await asyncio.sleep(0.05)
        raise RuntimeError(f"no process came up; see {self.plan.folder}")

    async def _break_storage(self) -> None:
        """For a second and a half nothing can be written."""
        away = self.storage.with_name("storage-away")
        if not self.storage.is_dir():
            return
        self.storage.rename(away)
        self.storage.write_text("not a folder")
        await asyncio.sleep(1.5)
        self.storage.unlink()
        away.rename(self.storage)

    async def _freeze(self, process: Process, database: Database) -> None:
        """A twin: stopped in the middle of a create, and woken once its siblings have ended that video."""
        self.frozen.append(process)  # from here on no kill falls on it
        try:
            if caught := await self._stop_inside_submit(process):
                await self._ended(caught, database)
                process.signal(signal.SIGCONT)
                self.stops += 1
                await asyncio.sleep(SPARED)
        finally:
            self.frozen.remove(process)

    async def _stop_inside_submit(self, process: Process) -> set[str]:
        """SIGSTOP; answers the videos whose create it has in hand, which must be so once it stands still."""
        for _ in range(500):
            if process.inside("submit"):
                process.signal(signal.SIGSTOP)
                if caught := process.inside("submit"):
                    return caught
                process.signal(signal.SIGCONT)
            await asyncio.sleep(0.02)
        return set()

    async def _ended(self, caught: set[str], database: Database) -> None:
        """Wait until others have ended these videos, at most `freeze` seconds."""
        live = select(func.count()).where(videos.c.id.in_(caught), videos.c.state.in_(LIVE))
        deadline = time.monotonic() + self.plan.freeze
        while time.monotonic() < deadline:
            await asyncio.sleep(0.25)
            if await database.read(lambda conn: conn.execute(live).scalar_one()) == 0:
                return

    async def _settle(self, database: Database) -> None:
        """Wait until nothing is live and every event is delivered, or patience ends."""
        busy = select(
            select(func.count()).select_from(jobs).scalar_subquery()
            + select(func.count()).select_from(outbox).where(outbox.c.state == "pending").scalar_subquery()
        )
        deadline = time.monotonic() + self.plan.patience
        while time.monotonic() < deadline:
            if await database.read(lambda conn: conn.execute(busy).scalar_one()) == 0:
                return
            for process in self.processes:
                process.restart_if_it_gave_up()
            await asyncio.sleep(0.25)


def run(plan: Plan) -> Outcome:
    shutil.rmtree(plan.folder, ignore_errors=True)
    return asyncio.run(Driver(plan).run())
