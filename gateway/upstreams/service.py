"""What the operator does with upstreams: add, change, pause, resume, give a new credential, remove, check."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from pydantic import ValidationError
from sqlalchemy import Connection

from gateway.audit.notes import caller
from gateway.clock import Clock
from gateway.crypto import SecretBox
from gateway.db import Database
from gateway.errors import ApiError, BadRequest, NotFound
from gateway.idempotency.service import Claim, record
from gateway.jobs import breaker
from gateway.upstreams import pauses, store
from gateway.upstreams.forms import CredentialForm, PauseForm, UpstreamChanges, UpstreamForm
from gateway.upstreams.health import Health
from gateway.upstreams.probe import Probed, probe
from gateway.upstreams.standing import Standing, standing
from gateway.upstreams.view import public_check, public_upstream
from gateway.upstreams.watch import UpstreamWatch
from gateway.upstreams.workers import Workers
from gateway.videos.routing import Catalogue, Model
from providers.configured import configured, known_types
from providers.contract import Adapter
from providers.spec import UpstreamSpec

log = structlog.get_logger(__name__)

Json = dict[str, Any]


class UpstreamService:
    """The upstreams of this installation. Every change holds at once here, within a second everywhere. Raises ApiError."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        *,
        secrets: SecretBox,
        catalogue: Catalogue,
        health: Health,
        watch: UpstreamWatch,
        workers: Workers,
        adapter: Callable[[UpstreamSpec], Adapter],
    ) -> None:
        self._db = db
        self._clock = clock
        self._secrets = secrets
        self._catalogue = catalogue
        self._health = health
        self._watch = watch
        self._workers = workers
        self._adapter = adapter

    async def list(self) -> Json:
        """Show every upstream."""
        await self._watch.refresh()
        return {"object": "list", "data": [self._shown(each) for each in self._catalogue.upstreams()]}

    def standings(self) -> dict[str, Standing]:
        """Say how each stands, as this process last heard."""
        return {
            each.name: standing(each, self._health, self._workers) for each in self._catalogue.upstreams()
        }

    def loading(self, model: Model) -> bool:
        """Whether only workers of ours serve it and none has it in memory, as this process last heard."""
        return all(
            route.local
            and all(
                self._workers.state(server, route.spec.upstream_id) != "loaded"
                for server in self._workers.servers(route.upstream)
            )
            for route in model.routes
        )

    async def get(self, name: str) -> Json:
        """Show one."""
        await self._watch.refresh()
        return self._shown(self._offered(name))

    async def create(self, form: UpstreamForm, claim: Claim | None = None) -> Json:
        """Add one: its models are offered at once."""
        await self._watch.refresh()
        settings = form.model_dump(mode="json", exclude={"name", "api_key"}, exclude_none=True)
        if form.type not in known_types():
            raise BadRequest(
                f"There is no upstream type '{form.type}'. Types: {', '.join(sorted(known_types()))}.",
                param="type",
            )
        self._check(form.name, settings, form.api_key)
        secret = None if form.api_key is None else self._encrypted(form.api_key)
        by = caller()

        def write(conn: Connection) -> None:
            if self._catalogue.is_configured(form.name) or store.is_taken(conn, form.name):
                raise BadRequest(
                    f"There is an upstream '{form.name}' already, or one was just removed: choose another name.",
                    param="name",
                    code="name_taken",
                )
            store.add(conn, form.name, settings, secret)
            breaker.lift(conn, form.name)  # of an earlier one of this name
            by.note(conn, "upstream.created", form.name, after=settings)

        return await self._changed(form.name, write, claim)

    async def update(self, name: str, changes: UpstreamChanges, claim: Claim | None = None) -> Json:
        """Change the fields that were sent."""
        said = changes.model_dump(mode="json", exclude_unset=True)
        await self._watch.refresh()
        present, by = self._offered(name).credential, caller()

        def write(conn: Connection) -> None:
            row = store.find(conn, name, lock=True)
            settings = {key: value for key, value in {**row.settings, **said}.items() if value is not None}
            self._check(name, settings, present)
            store.change(conn, name, settings)
            by.note(conn, "upstream.updated", name, before=row.settings, after=settings)

        return await self._changed(name, write, claim)

    async def rotate(self, name: str, form: CredentialForm, claim: Claim | None = None) -> Json:
        """Give it a new credential. What has begun is ended under its own; a pause that the old one caused is over."""
        await self._watch.refresh()
        self._build(self._offered(name).with_credential(form.api_key, 0), "api_key")
        secret, by = self._encrypted(form.api_key), caller()

        def write(conn: Connection) -> None:
            version = store.rotate(conn, store.find(conn, name, lock=True), secret)
            by.note(conn, "upstream.rotated", name, after={"credential_version": version})
            pauses.resume(conn, name, automatic_only=True)

        return await self._changed(name, write, claim)

    async def pause(self, name: str, form: PauseForm, claim: Claim | None = None) -> Json:
        """Send nothing new there; what has begun is ended. Configured upstreams, too."""
        await self._watch.refresh()
        self._offered(name)
        by = caller()

        def write(conn: Connection) -> None:
            pauses.resume(conn, name)
            pauses.pause(conn, name, pauses.BY_OPERATOR, form.reason)
            by.note(conn, "upstream.paused", name, after={"reason": form.reason})

        return await self._changed(name, write, claim)

    async def resume(self, name: str, claim: Claim | None = None) -> Json:
        """End the pause and close the breaker."""
        await self._watch.refresh()
        self._offered(name)
        by = caller()

        def write(conn: Connection) -> None:
            pauses.resume(conn, name)
            breaker.lift(conn, name)
            by.note(conn, "upstream.resumed", name)

        return await self._changed(name, write, claim)

    async def remove(self, name: str) -> Json:
        """Take it out; the videos it has begun are still fetched."""
        by = caller()

        def write(conn: Connection) -> int:
            row = store.find(conn, name, lock=True)
            store.remove(conn, name)
            by.note(conn, "upstream.deleted", name, before=row.settings)
            return store.live_attempts(conn, name)

        live = await self._db.write(write)
        await self._watch.refresh()
        return {"name": name, "object": "upstream.deleted", "deleted": True, "live_videos": live}

    async def check(self, name: str | None = None) -> Json:
        """Ask one or all of them, of a fleet each server, something that costs nothing."""
        await self._watch.refresh()
        await self._workers.refresh()
        upstreams = self._catalogue.upstreams() if name is None else [self._offered(name)]
        specs = [server for each in upstreams for server in self._workers.servers(each) or [each]]
        answers = await asyncio.gather(*(self._probe(spec) for spec in specs))
        data = [public_check(spec, probed) for spec, probed in zip(specs, answers, strict=True)]
        return {"object": "list", "data": data}

    async def _probe(self, spec: UpstreamSpec) -> Probed:
        try:
            adapter = self._adapter(spec)
        except ValueError as error:  # of an unknown type, or with options that its adapter refuses
            return Probed("broken", str(error), 0.0)
        return await probe(adapter, self._clock.monotonic)

    async def _changed(self, name: str, change: Callable[[Connection], None], claim: Claim | None) -> Json:
        await self._db.write(change)
        await self._watch.refresh()
        answer = self._shown(self._offered(name))
        if claim is not None:
            await self._db.write(lambda conn: record(conn, claim, 200, answer, self._clock.now_ms()))
        log.info("upstream_changed", upstream=name)
        return answer

    def _shown(self, spec: UpstreamSpec) -> Json:
        return public_upstream(spec, self._catalogue, self._health, self._workers)

    def _offered(self, name: str) -> UpstreamSpec:
        found = next((each for each in self._catalogue.upstreams() if each.name == name), None)
        if found is None:
            raise NotFound(f"No upstream '{name[:100]}' here.", param="name", code="upstream_not_found")
        return found

    def _check(self, name: str, settings: Mapping[str, Any], secret: str | None) -> None:
        """BadRequest unless it makes an upstream that serves something."""
        try:
            spec = configured({**settings, "name": name})
        except ValidationError as error:
            raise _refusal(error) from None
        except ValueError as error:
            raise BadRequest(f"{error}.", param="models") from None
        if not spec.models:
            raise BadRequest(
                f"Missing 'models': no catalogue lists any for the type '{spec.type}', so say what it serves.",
                param="models",
                code="missing_required_parameter",
            )
        self._build(spec.with_credential(secret, 0) if secret else spec, "options")

    def _build(self, spec: UpstreamSpec, param: str) -> None:
        """BadRequest where its adapter refuses the options or the form of the credential."""
        try:
            self._adapter(spec)
        except ValueError as error:
            raise BadRequest(f"{error}.", param=param) from None

    def _encrypted(self, secret: str) -> str:
        return self._secrets.encrypt(secret.encode()).decode()


def _refusal(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_input=False)[0]
    param = "".join(f"[{part}]" if n else str(part) for n, part in enumerate(first["loc"])) or "models"
    if first["type"] == "missing":
        return BadRequest(
            f"Missing '{param}': no catalogue fills it in for this type.",
            param=param,
            code="missing_required_parameter",
        )
    return BadRequest(
        f"Invalid value for '{param}': {first['msg'].removeprefix('Value error, ')}.", param=param
    )
