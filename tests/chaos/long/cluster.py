"""A whole cluster on this machine: PostgreSQL, Redis, an object store, five upstreams, and eight processes of ours."""

import asyncio
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.crypto import new_key
from tests.chaos.long.clients import ADMIN_KEY
from tests.chaos.long.members import Member
from tests.chaos.long.outside import ObjectStore, Postgres
from tests.chaos.long.upstreams import SECRET, TINY, Upstreams
from tests.chaos.receiver import Receiver
from tests.postgres import create_database
from tests.redis import Redis

APIS, JOBS, WORKERS = 2, 4, 2
SKEW: Final = 180.0
"""Seconds by which the clock of each process is wrong at most, either way."""


class Cluster:
    """All of it, under one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.postgres = Postgres()
        self.redis = Redis()
        self.objects = ObjectStore()
        self.upstreams = Upstreams()
        self.receiver = Receiver()
        self.apis: list[Member] = []
        self.jobs: list[Member] = []
        self.workers: list[Member] = []
        self.database_url = ""

    @property
    def members(self) -> list[Member]:
        return [*self.apis, *self.jobs, *self.workers]

    async def start(self) -> None:
        """Start everything; ours come last."""
        self.database_url = create_database(self.postgres.uri, "chaos_long")
        self.redis.start()
        await self.objects.start()
        self.upstreams.start()
        (self.folder / "token").write_text(SECRET)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.workers = [
            Member(f"worker-{n}", "worker", self.folder, environment, model=TINY) for n in range(WORKERS)
        ]
        self.upstreams.write_config(
            self.folder / "onereel.toml", {worker.name: worker.port for worker in self.workers}
        )
        first = Member("api-0", "api", self.folder, {}, skew=SKEW)
        self.apis = [first, *(Member(f"api-{n}", "api", self.folder, {}, skew=SKEW) for n in range(1, APIS))]
        self.jobs = [Member(f"jobs-{n}", "jobs", self.folder, {}, skew=SKEW) for n in range(JOBS)]
        shared = self._environment(first.url)
        for member in (*self.apis, *self.jobs):
            member.environment = {**shared, "ONEREEL_DATA_DIR": str(self.folder / f"data-{member.name}")}
        self.workers[0].start()  # the first builds the model that both serve
        await asyncio.sleep(1)
        for member in self.members[: -len(self.workers)]:
            member.start()

    def start_other_workers(self) -> None:
        for worker in self.workers[1:]:
            worker.start()

    def _environment(self, public_url: str) -> dict[str, str]:
        own = {
            "ONEREEL_CONFIG": str(self.folder / "onereel.toml"),
            "ONEREEL_DATABASE_URL": self.database_url,
            "ONEREEL_REDIS_URL": self.redis.url,
            "ONEREEL_ADMIN_KEY": ADMIN_KEY,
            "ONEREEL_PUBLIC_URL": public_url,
            "ONEREEL_LOCAL__ENABLED": "false",
            "ONEREEL_SECURITY__ENCRYPTION_KEYS": json.dumps([new_key()]),
            "ONEREEL_SECURITY__ALLOWED_PRIVATE_HOSTS": json.dumps(
                [self.receiver.host, *(fake.foreign_host for fake in self.upstreams.fakes.values())]
            ),
            "ONEREEL_JOBS__LEASE_SECONDS": "4",
            "ONEREEL_JOBS__RENEW_SECONDS": "1.3",
            "ONEREEL_JOBS__LOOKUP_WAIT_SECONDS": "1.5",
            "ONEREEL_JOBS__UNKNOWN_GRACE_SECONDS": "6",
            "ONEREEL_JOBS__MAX_TRIES": "40",
            "ONEREEL_ROUTING__COOL_DOWN_SECONDS": "0.5",
            "ONEREEL_ROUTING__LONGEST_COOL_DOWN_SECONDS": "2",
            "ONEREEL_LOG_LEVEL": "WARNING",
            "CHAOS_HOLD": "0.15",
        }
        return {**os.environ, **self.objects.environment, **own}

    async def stop(self) -> None:
        for member in self.members:
            with suppress(Exception):
                member.close()
        await self.objects.stop()
        self.upstreams.stop()
        self.receiver.close()
        self.redis.__exit__(None, None, None)
        self.postgres.__exit__()
