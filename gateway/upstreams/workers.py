"""The servers behind upstreams that are fleets, and what our own workers can make: as this process last heard.

A DNS name with several addresses is several servers. Nobody registers: only what the operator named is asked, so a
token cannot aim the gateway at a host.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import structlog

from gateway.clock import Clock
from gateway.events import Hints
from gateway.upstreams.health import Away
from gateway.videos.routing import Catalogue
from providers.contract import Adapter, ListsModels, ModelState, ProviderError
from providers.sockets import Resolver, system_addresses
from providers.spec import UpstreamSpec
from providers.urls import origin

log = structlog.get_logger(__name__)

SECONDS: Final = 5.0
_TICK_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What a worker said last. `models` None: it never answered. `reachable`: it answered the last time."""

    models: Mapping[str, ModelState] | None
    reachable: bool


_NOTHING: Final = Heard(None, reachable=True)


class Workers:
    """Addresses by upstream, models by worker. `refresh` asks them all; `run` does it every few seconds."""

    def __init__(
        self,
        clock: Clock,
        catalogue: Catalogue,
        adapter: Callable[[UpstreamSpec], Adapter],
        hints: Hints,
        resolve: Resolver = system_addresses,
    ) -> None:
        self._clock = clock
        self._catalogue = catalogue
        self._adapter = adapter
        self._hints = hints
        self._resolve = resolve
        self._addresses: dict[tuple[str, str], tuple[str, ...]] = {}  # by name and base_url
        self._nowhere_since: dict[str, float] = {}
        self._heard: dict[str, Heard] = {}
        self._stopping = asyncio.Event()

    def servers(self, upstream: UpstreamSpec) -> list[UpstreamSpec]:
        """Each server of a fleet, none where its name has no address; any other upstream is its own server."""
        if not upstream.is_fleet or upstream.address is not None:
            return [upstream]
        return [upstream.at(address) for address in self._addresses.get(_key(upstream), ())]

    def nowhere(self, upstream: UpstreamSpec) -> Away:
        """Why a fleet without servers takes nothing."""
        now = self._clock.monotonic()
        return Away(_TICK_SECONDS, now - self._nowhere_since.setdefault(upstream.name, now))

    def is_gone(self, server: UpstreamSpec) -> bool:
        """Whether the fleet's name no longer leads to this server."""
        return server.address is not None and server.address not in self._addresses.get(_key(server), ())

    def heard(self, upstream: UpstreamSpec) -> Heard:
        """What it said last; one that was never asked counts as reachable."""
        return self._heard.get(upstream.name, _NOTHING)

    def state(self, upstream: UpstreamSpec, model: str) -> ModelState | None:
        """Where the model's weights are; missing too where it is not served. None: the worker never told."""
        models = self.heard(upstream).models
        return None if models is None else models.get(model, "missing")

    def lost(self, upstream: UpstreamSpec) -> None:
        """It did not answer a job: others come first until it answers again."""
        self._heard[upstream.name] = Heard(self.heard(upstream).models, reachable=False)

    async def refresh(self) -> None:
        """Resolve every fleet's name, then ask each worker of ours for its models. Bounded: ten seconds."""
        upstreams = self._catalogue.upstreams()
        fleets = [each for each in upstreams if each.is_fleet]
        found = await asyncio.gather(*(self._resolved(each) for each in fleets))
        self._addresses = {_key(each): addresses for each, addresses in zip(fleets, found, strict=True)}
        self._nowhere_since = {
            each.name: self._nowhere_since.get(each.name, self._clock.monotonic())
            for each, addresses in zip(fleets, found, strict=True)
            if not addresses
        }
        workers = [server for each in upstreams if each.dialect == "local" for server in self.servers(each)]
        answers = await asyncio.gather(*(self._asked(worker) for worker in workers))
        before, self._heard = self._heard, {w.name: a for w, a in zip(workers, answers, strict=True)}
        if before != self._heard:
            self._hints.jobs.set()

    async def run(self) -> None:
        """Until `stop`."""
        while not self._stopping.is_set():
            seen = self._catalogue.revision
            try:
                await self.refresh()
            except Exception:
                log.exception("workers_not_asked")
            end = self._clock.monotonic() + SECONDS
            while self._clock.monotonic() < end and seen == self._catalogue.revision:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _TICK_SECONDS)
                    return

    async def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    async def _resolved(self, fleet: UpstreamSpec) -> tuple[str, ...]:
        """The addresses of one family: a server with both is one server. Where DNS fails, those that were known."""
        known = self._addresses.get(_key(fleet), ())
        _, host, port = origin(fleet.base_url)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                found = await self._resolve(host, port)
        except (OSError, TimeoutError) as error:
            log.warning("fleet_not_resolved", upstream=fleet.name, host=host, error=str(error))
            return known
        addresses = tuple(sorted(each for each in found if ":" not in each) or sorted(found))
        if addresses != known:
            log.info("fleet_changed", upstream=fleet.name, servers=len(addresses))
        return addresses

    async def _asked(self, worker: UpstreamSpec) -> Heard:
        try:
            adapter = self._adapter(worker)
            if not isinstance(adapter, ListsModels):
                return _NOTHING
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return Heard(await adapter.models(), reachable=True)
        except (ProviderError, TimeoutError, ValueError):
            return Heard(self.heard(worker).models, reachable=False)


def _key(upstream: UpstreamSpec) -> tuple[str, str]:
    return upstream.account, urlsplit(upstream.base_url).netloc
