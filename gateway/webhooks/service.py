"""Webhook endpoints of a project: who is told, under which secret, and what became of it."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, insert

from gateway.audit.notes import Of, caller
from gateway.clock import Clock
from gateway.crypto import SecretBox
from gateway.db import Database
from gateway.errors import BadRequest
from gateway.events import Hints
from gateway.idempotency.service import Claim, record
from gateway.ids import new_id
from gateway.jobs.outbox_rows import endpoint_secrets
from gateway.settings import Settings
from gateway.webhooks import store
from gateway.webhooks.default_secret import DefaultSecret, read_default_secret, rotate_default_secret
from gateway.webhooks.event import event_body
from gateway.webhooks.forms import EndpointChanges, EndpointForm
from gateway.webhooks.sending import Sender
from gateway.webhooks.signing import new_secret, secret_hint
from gateway.webhooks.store import PageQuery
from gateway.webhooks.tables import webhook_endpoints as endpoints
from gateway.webhooks.view import (
    DEFAULT_ENDPOINT,
    public_default_endpoint,
    public_delivery,
    public_endpoint,
)
from providers.urls import UnsafeUrl, check_public_url

MAX_ENDPOINTS: Final = 100
KEEP_OLD_MS: Final = 24 * 3_600_000
SAMPLE_VIDEO: Final = "video_" + "0" * 32

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of public objects, and whether more follow."""

    data: list[Json]
    has_more: bool


class WebhookService:
    """Every method acts inside one project; what belongs to another is NotFound.

    The id "default" stands for the requests' own `webhook_url`: its secret can be read and rotated, its
    deliveries listed and repeated. Writing methods take the request's idempotency `claim` and record under it
    what they answer, always without the signing secret: `with_secret` adds that for the answer itself.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        *,
        secrets: SecretBox,
        sender: Sender,
        settings: Settings,
        hints: Hints,
    ) -> None:
        self._db = db
        self._clock = clock
        self._box = secrets
        self._sender = sender
        self._allowed = settings.security.allowed_private_hosts
        self._hints = hints

    async def create(self, project_id: str, form: EndpointForm, claim: Claim | None = None) -> Json:
        """Register an endpoint under a new secret. BadRequest for an address that is not public."""
        self._check_url(form.url)
        now = self._clock.now_ms()
        secret, by = new_secret(), caller()
        values = {
            "id": new_id("we"),
            "project_id": project_id,
            "name": form.name,
            "url": form.url,
            "event_types": sorted(set(form.event_types)),
            **self._sealed(secret),
            "created_at": now,
            "updated_at": now,
        }

        def write(conn: Connection) -> Json:
            if store.count_endpoints(conn, project_id) >= MAX_ENDPOINTS:
                raise BadRequest(
                    f"A project has at most {MAX_ENDPOINTS} webhook endpoints; delete one first.",
                    code="too_many_webhook_endpoints",
                )
            conn.execute(insert(endpoints).values(values))
            created = public_endpoint(store.endpoint(conn, project_id, str(values["id"])))
            of = Of(by.organization_id, project_id)
            by.note(conn, "webhook_endpoint.created", created["id"], of, after=created)
            record(conn, claim, 200, created, now)
            return created

        return await self._db.write(write)

    async def retrieve(self, project_id: str, endpoint_id: str) -> Json:
        """Read one endpoint, or the default one."""
        if endpoint_id == DEFAULT_ENDPOINT:
            return public_default_endpoint(await self._default(project_id))
        return public_endpoint(await self._endpoint(project_id, endpoint_id))

    async def list_endpoints(self, project_id: str, query: PageQuery) -> Page:
        """List endpoints, without the default one."""
        page = await self._db.read(lambda conn: store.page_of_endpoints(conn, project_id, query))
        return Page([public_endpoint(row) for row in page.rows], page.has_more)

    async def update(
        self, project_id: str, endpoint_id: str, changes: EndpointChanges, claim: Claim | None = None
    ) -> Json:
        """Change name, address or event types. A new address also serves what still waits."""
        self._refuse_default(endpoint_id)
        if changes.url is not None:
            self._check_url(changes.url)
        now, by = self._clock.now_ms(), caller()
        wanted = changes.model_dump(exclude_none=True)
        if "event_types" in wanted:
            wanted["event_types"] = sorted(set(wanted["event_types"]))

        def write(conn: Connection) -> Json:
            row = store.endpoint(conn, project_id, endpoint_id)
            before = public_endpoint(row)
            changed = {name: value for name, value in wanted.items() if getattr(row, name) != value}
            if changed:
                row = store.change_endpoint(conn, project_id, endpoint_id, {**changed, "updated_at": now})
            answer = public_endpoint(row)
            of = Of(by.organization_id, project_id)
            by.note(conn, "webhook_endpoint.updated", endpoint_id, of, before=before, after=answer)
            record(conn, claim, 200, answer, now)
            return answer

        return await self._db.write(write)

    async def delete(self, project_id: str, endpoint_id: str) -> Json:
        """Delete an endpoint; nothing more is sent to it."""
        self._refuse_default(endpoint_id)
        now, by = self._clock.now_ms(), caller()

        def write(conn: Connection) -> None:
            before = public_endpoint(store.endpoint(conn, project_id, endpoint_id))
            store.delete_endpoint(conn, project_id, endpoint_id, now)
            of = Of(by.organization_id, project_id)
            by.note(conn, "webhook_endpoint.deleted", endpoint_id, of, before=before)

        await self._db.write(write)
        return {"id": endpoint_id, "object": "webhook_endpoint.deleted", "deleted": True}

    async def rotate_secret(
        self, project_id: str, endpoint_id: str, *, keep_old: bool, claim: Claim | None = None
    ) -> Json:
        """Make a new secret; with `keep_old` deliveries carry both signatures for 24 hours."""
        now = self._clock.now_ms()
        keep_ms = KEEP_OLD_MS if keep_old else 0
        sealed, by = self._sealed(new_secret()), caller()

        def write(conn: Connection) -> Json:
            if endpoint_id == DEFAULT_ENDPOINT:
                answer = public_default_endpoint(
                    rotate_default_secret(conn, self._box, project_id, now, keep_ms)
                )
            else:
                old = store.endpoint(conn, project_id, endpoint_id)
                kept = {
                    "previous_secret": old.secret if keep_old else None,
                    "previous_secret_until": now + keep_ms if keep_old else None,
                }
                values = {**sealed, **kept, "updated_at": now}
                answer = public_endpoint(store.change_endpoint(conn, project_id, endpoint_id, values))
            of = Of(by.organization_id, project_id)
            by.note(conn, "webhook_endpoint.secret_rotated", endpoint_id, of, after={"keep_old": keep_old})
            record(conn, claim, 200, answer, now)
            return answer

        return await self._db.write(write)

    async def with_secret(self, project_id: str, answer: Json) -> Json:
        """Add `signing_secret` to the answer of a create or rotation, also when it is a replayed one."""
        if answer["id"] == DEFAULT_ENDPOINT:
            secret = (await self._default(project_id)).secret
        else:
            row = await self._endpoint(project_id, answer["id"])
            secret = self._box.decrypt(row.secret).decode()
        return {**answer, "signing_secret": secret, "signing_secret_hint": secret_hint(secret)}

    async def send_test(
        self, project_id: str, endpoint_id: str, event_type: str, claim: Claim | None = None
    ) -> Json:
        """Send a sample event at once and report the receiver's status. BadRequest if nobody answers."""
        self._refuse_default(endpoint_id)
        row = await self._endpoint(project_id, endpoint_id)
        now = self._clock.now_ms()
        event_id = new_id("evt")
        body = event_body(event_id, event_type, {"id": SAMPLE_VIDEO}, now // 1000)
        outcome = await self._sender.send(row.url, event_id, body, endpoint_secrets(row, self._box, now))
        if outcome.status is None:
            raise BadRequest(
                f"The endpoint gave no answer ({outcome.detail}). Check that its url is reachable from here.",
                param="url",
                code="webhook_unreachable",
            )
        answer = {
            "object": "webhook_endpoint.test",
            "webhook_endpoint_id": endpoint_id,
            "event_type": event_type,
            "status_code": outcome.status,
            "success": True,
        }
        if claim is not None:
            await self._db.write(lambda conn: record(conn, claim, 200, answer, now))
        return answer

    async def list_deliveries(self, project_id: str, endpoint_id: str, query: PageQuery) -> Page:
        """List what was or will be sent to an endpoint."""
        url = await self._url(project_id, endpoint_id)
        page = await self._db.read(
            lambda conn: store.page_of_deliveries(conn, project_id, endpoint_id, query)
        )
        return Page([public_delivery(row, url) for row in page.rows], page.has_more)

    async def deliveries_of_video(self, project_id: str, video_id: str) -> list[Json]:
        """List what was or will be told of a video, the latest first; the latest hundred."""
        rows = await self._db.read(lambda conn: store.deliveries_of_video(conn, project_id, video_id, 100))
        return [public_delivery(row, None) for row in rows]

    async def redeliver(
        self, project_id: str, endpoint_id: str, delivery_id: str, claim: Claim | None = None
    ) -> Json:
        """Send a delivery again at once, under the same event id."""
        url = await self._url(project_id, endpoint_id)
        now = self._clock.now_ms()

        def write(conn: Connection) -> Json:
            answer = public_delivery(store.redeliver(conn, project_id, endpoint_id, delivery_id), url)
            record(conn, claim, 200, answer, now)
            return answer

        answer = await self._db.write(write)
        self._hints.outbox_due()
        return answer

    async def _endpoint(self, project_id: str, endpoint_id: str) -> Row[Any]:
        return await self._db.read(lambda conn: store.endpoint(conn, project_id, endpoint_id))

    async def _url(self, project_id: str, endpoint_id: str) -> str | None:
        if endpoint_id == DEFAULT_ENDPOINT:
            return None
        return str((await self._endpoint(project_id, endpoint_id)).url)

    async def _default(self, project_id: str) -> DefaultSecret:
        now = self._clock.now_ms()
        return await self._db.write(lambda conn: read_default_secret(conn, self._box, project_id, now))

    def _sealed(self, secret: str) -> Json:
        return {"secret": self._box.encrypt(secret.encode()), "secret_hint": secret_hint(secret)}

    def _check_url(self, url: str) -> None:
        try:
            check_public_url(url, self._allowed)
        except UnsafeUrl as error:
            raise BadRequest(f"Invalid value for 'url': {error}.", param="url", code="invalid_url") from None

    def _refuse_default(self, endpoint_id: str) -> None:
        if endpoint_id == DEFAULT_ENDPOINT:
            raise BadRequest(
                "The endpoint 'default' stands for each request's own webhook_url: only its secret can be "
                "rotated and its deliveries be read or repeated.",
                param="webhook_endpoint_id",
            )
