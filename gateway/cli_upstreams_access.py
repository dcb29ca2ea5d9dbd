"""What `onereel upstreams` asks, over either way in: HTTP, or the service on an unused database."""

from functools import partial
from typing import Any
from urllib.parse import quote

from gateway.adapters import Adapters
from gateway.cli_client import ServerClient, find_server
from gateway.cli_offline import offline_database
from gateway.cli_terminal import run
from gateway.clock import Clock
from gateway.crypto import open_secret_box
from gateway.events import Hints
from gateway.keys.forms import parse
from gateway.logs import configure_logging
from gateway.settings import Settings
from gateway.telemetry import Metrics
from gateway.upstreams.forms import CredentialForm, PauseForm, UpstreamForm
from gateway.upstreams.health import Health
from gateway.upstreams.service import UpstreamService
from gateway.upstreams.watch import UpstreamWatch
from gateway.upstreams.workers import Workers
from gateway.videos.routing import Catalogue
from providers.http import HttpDoor
from providers.registry import build_adapter

Json = dict[str, Any]


def call(settings: Settings, method: str, path: str, body: Json | None) -> Json:
    """Carry out one call of the API. CommandError for a refusal."""
    client = find_server(settings, admin=True)
    if client is not None:
        return _over_http(client, method, quote(path), body)
    configure_logging("console", "WARNING")  # stdout is for data
    return run(_offline(settings, method, path, body or {}))


def _over_http(client: ServerClient, method: str, path: str, body: Json | None) -> Json:
    if method == "GET":
        return client.get(path).body
    return client.delete(path).body if method == "DELETE" else client.post(path, body).body


async def _offline(settings: Settings, method: str, path: str, body: Json) -> Json:
    async with offline_database(settings) as db:
        clock, hints, metrics, catalogue = Clock(), Hints(), Metrics(), Catalogue(settings)
        secrets, door = open_secret_box(settings), HttpDoor()
        health = Health(db, clock, settings.routing, metrics)
        adapter = Adapters(partial(build_adapter, http=door))
        service = UpstreamService(
            db,
            clock,
            secrets=secrets,
            catalogue=catalogue,
            health=health,
            watch=UpstreamWatch(db, secrets, catalogue, health, hints),
            workers=Workers(clock, catalogue, adapter, hints),
            adapter=adapter,
        )
        try:
            return await _answer(service, method, path.removeprefix("/v1/upstreams").split("/")[1:], body)
        finally:
            await door.close()


async def _answer(service: UpstreamService, method: str, parts: list[str], body: Json) -> Json:
    match method, parts:
        case "GET", []:
            return await service.list()
        case "DELETE", [name]:
            return await service.remove(name)
        case _, []:
            return await service.create(parse(UpstreamForm, body))
        case _, ["check"]:
            return await service.check()
        case _, [name, action]:
            return await _act(service, name, action, body)
    raise AssertionError(f"{method} {parts}")


async def _act(service: UpstreamService, name: str, action: str, body: Json) -> Json:
    match action:
        case "check":
            return await service.check(name)
        case "rotate":
            return await service.rotate(name, parse(CredentialForm, body))
        case "pause":
            return await service.pause(name, parse(PauseForm, body))
        case _:
            return await service.resume(name)
