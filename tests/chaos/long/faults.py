"""The faults of the long form: each strikes, is lifted, and its way back is timed."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal

from tests.chaos.driver import WINDOWS
from tests.chaos.long.clients import Clients
from tests.chaos.long.cluster import Cluster
from tests.chaos.long.members import Member
from tests.chaos.long.timeline import Mark
from tests.chaos.long.upstreams import HANGING, TINY

LIMIT: Final = 30.0
"""Seconds from the end of a fault to a new video that is completed, and to everything else being as before."""
PATIENCE: Final = 90.0
ROUND: Final = (
    "kill jobs",
    "stop jobs",
    "postgresql fast",
    "kill jobs",
    "kill api",
    "storage 503",
    "kill jobs",
    "redis killed",
    "postgresql immediate",
    "kill worker",
    "kill jobs",
    "upstream hangs",
    "stop api",
    "kill jobs",
    "redis flushed",
    "postgresql kill",
    "storage reset",
    "kill jobs",
    "stop worker",
    "redis frozen",
)
_AIMED: Final = 4.0
"""Seconds to wait for a process that is in a window into which too few kills have fallen."""


@dataclass
class Struck:
    """What a fault leaves to be made good: the model of the probe, who must be ready, which videos must end."""

    lifted: float
    model: str = f"acme/{HANGING}"
    member: Member | None = None
    in_hand: set[str] = field(default_factory=set)


@dataclass
class Faults:
    """Strikes a cluster and times its ways back."""

    cluster: Cluster
    clients: Clients
    live: Callable[[set[str]], Awaitable[int]]
    needed: dict[str, int]
    started: float = field(default_factory=time.monotonic)
    marks: list[Mark] = field(default_factory=list)
    windows: Counter[str] = field(default_factory=Counter)
    kills: int = 0

    @property
    def missing(self) -> list[str]:
        """Windows into which too few kills have fallen."""
        return [window for window, wanted in self.needed.items() if self.windows[window] < wanted]

    async def strike(self, kind: str) -> Mark:
        """One fault from its begin to the moment at which it is made good."""
        begun = time.monotonic()
        what, how = kind.split()
        striking: dict[str, Callable[[], Awaitable[Struck]]] = {
            "kill": partial(self._kill, how),
            "stop": partial(self._freeze, how),
            "postgresql": partial(self._postgresql, how),
            "redis": partial(self._redis, how),
            "storage": partial(self._storage, how),
            "upstream": self._hang,
        }
        struck = await striking[what]()
        recovered, ways = await self._recovered(struck, f"probe-{len(self.marks)}")
        after = self.started
        back = recovered - after if recovered is not None else None
        mark = Mark(kind, begun - after, struck.lifted - after, back, ways, os.getloadavg()[0])
        self.marks.append(mark)
        return mark

    async def _recovered(self, struck: Struck, key: str) -> tuple[float | None, dict[str, float]]:
        """When a new video was completed, the process answered, and the videos in its hand had come to their end; and
        after how many seconds each of these was so, in their order."""
        ways = {
            "a new video": self.clients.probe(struck.model, key, PATIENCE, self._api(struck.member)),
            "the process": self._is_ready(struck.member),
            "what it had in hand": self._all_ended(struck.in_hand),
        }
        came: dict[str, float] = {}

        async def come(name: str, way: Awaitable[bool]) -> bool:
            made_good = await way
            came[name] = time.monotonic() - struck.lifted
            return made_good

        whole = all(await asyncio.gather(*(come(name, way) for name, way in ways.items())))
        return (time.monotonic() if whole else None), came

    def _api(self, member: Member | None) -> Member | None:
        return member if member is not None and member.role == "api" else None

    async def _is_ready(self, member: Member | None) -> bool:
        deadline = time.monotonic() + PATIENCE
        while member is not None and not await member.ready(self.clients.http):
            if time.monotonic() > deadline:
                return False
            member.supervise()
            await asyncio.sleep(0.1)
        return True

    async def _all_ended(self, caught: set[str]) -> bool:
        deadline = time.monotonic() + PATIENCE
        while caught and await self.live(caught):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.25)
        return True

    async def _kill(self, role: str) -> Struck:
        victim = await self._victim(role)
        caught = await asyncio.to_thread(victim.kill)
        self.kills += 1
        self.windows += Counter({window: int(bool(caught[window])) for window in WINDOWS})
        await asyncio.sleep(random.uniform(0, 0.5))
        victim.start()
        model = TINY if role == "worker" else f"acme/{HANGING}"
        return Struck(time.monotonic(), model, victim, set().union(*caught.values()))

    async def _victim(self, role: str) -> Member:
        """Anyone; of the job processes one that is in a window that too few kills fell into, if one is soon."""
        members = {"api": self.cluster.apis, "jobs": self.cluster.jobs, "worker": self.cluster.workers}[role]
        deadline = time.monotonic() + (_AIMED if role == "jobs" and self.missing else 0.0)
        while time.monotonic() < deadline:
            for member in random.sample(members, len(members)):
                if any(member.inside(window) for window in self.missing):
                    return member
            await asyncio.sleep(0.01)
        return random.choice(members)

    async def _freeze(self, role: str) -> Struck:
        victim = await self._victim(role)
        victim.freeze()
        caught: set[str] = set().union(*(victim.inside(window) for window in WINDOWS))
        await asyncio.sleep(random.uniform(6, 10))  # longer than a lease
        victim.thaw()
        model = TINY if role == "worker" else f"acme/{HANGING}"
        return Struck(time.monotonic(), model, victim, caught)

    async def _postgresql(self, how: str) -> Struck:
        mode: Literal["fast", "immediate", "kill"] = (
            "fast" if how == "fast" else "immediate" if how == "immediate" else "kill"
        )
        await asyncio.to_thread(self.cluster.postgres.stop, mode)
        await asyncio.sleep(random.uniform(1, 4))
        await asyncio.to_thread(self.cluster.postgres.start)
        return Struck(time.monotonic())

    async def _redis(self, how: str) -> Struck:
        redis = self.cluster.redis
        if how == "flushed":
            await asyncio.to_thread(redis.command, "FLUSHALL")
        elif how == "frozen":
            redis.freeze()
            await asyncio.sleep(random.uniform(4, 8))
            redis.thaw()
        else:
            await asyncio.to_thread(redis.kill)
            await asyncio.sleep(random.uniform(2, 6))
            await asyncio.to_thread(redis.start)
        return Struck(time.monotonic())

    async def _storage(self, how: str) -> Struck:
        self.cluster.objects.refuse("503" if how == "503" else "reset")
        await asyncio.sleep(random.uniform(5, 10))
        self.cluster.objects.refuse("")
        return Struck(time.monotonic())

    async def _hang(self) -> Struck:
        pid = self.cluster.upstreams.pid(HANGING)
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(random.uniform(8, 14))
        os.kill(pid, signal.SIGCONT)
        return Struck(time.monotonic())
