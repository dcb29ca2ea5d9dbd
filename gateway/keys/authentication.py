"""From a bearer token to a principal: a dictionary look-up, re-read at least every second.

What is read is trusted for one second from the moment the read began, so a key revoked anywhere fails within a
second in every process. All tokens asked for in the same moment are read with one query.
"""

import asyncio
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

import structlog

from billing.balance import Mode
from billing.plans import Plan, Plans
from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import ApiError, NotFound, Unauthorized, Unavailable
from gateway.keys import store
from gateway.keys.last_use import LastUse
from gateway.keys.tokens import digest
from gateway.principal import Principal, Scope

TRUST_SECONDS: Final = 1.0
MAX_KNOWN: Final = 100_000
MAX_REFUSED: Final = 10_000

_UNKNOWN: Final = (
    "Incorrect API key provided. Check that the whole key was copied; `onereel keys create` makes a new one."
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A principal or a refusal, to be believed until `until` (monotonic seconds)."""

    until: float
    principal: Principal | None = None
    refusal: str = _UNKNOWN


_Future = asyncio.Future[_Answer]


@dataclass(frozen=True, slots=True)
class _Organization:
    """Who pays for a project, and on what terms."""

    id: str
    plan: Plan
    margin: Decimal | None
    billing_mode: Mode


class Terms:
    """What an organization's plan and margin mean by this installation's configuration."""

    def __init__(self, plans: Plans, margin: Decimal | None) -> None:
        self._plans = plans
        self._margin = margin

    def of(self, row: store.AnyRow) -> _Organization:
        """Read a row's `organization_id`, `plan`, `margin` and `mode`.

        A plan that was taken out of the configuration allows nothing until it is put back.
        """
        plan = self._plans.get(row.plan)
        if plan is None:
            log.error("plan_unknown", plan=row.plan)
            plan = Plan(id=row.plan, description="not configured", models=())
        margin = Decimal(row.margin) if row.margin is not None else plan.margin or self._margin
        return _Organization(str(row.organization_id), plan, margin, row.mode)


class Authenticator:
    """Knows the keys of the last second. One per process."""

    def __init__(self, db: Database, clock: Clock, terms: Terms) -> None:
        self._db = db
        self._clock = clock
        self._terms = terms
        self._last_use = LastUse(db)
        self._operators: dict[str, Principal] = {}
        self._known: dict[str, _Answer] = {}
        self._refused: dict[str, _Answer] = {}
        self._projects: dict[str, tuple[_Organization, float]] = {}
        self._project_reads: dict[str, asyncio.Task[_Organization]] = {}
        self._asked: dict[str, _Future] = {}
        self._reading: asyncio.Task[None] | None = None

    def add_operator(self, token: str, principal: Principal) -> None:
        """Accept a token that is not in the database, for as long as this process lives."""
        self._operators[digest(token)] = principal

    async def authenticate(self, token: str) -> Principal:
        """Say who calls. Unauthorized for a key that is unknown, revoked, expired or of an archived project."""
        hashed = digest(token)
        operator = self._operators.get(hashed)
        if operator is not None:
            return await self._on_terms(operator, operator.project_id)
        answer = self._known.get(hashed) or self._refused.get(hashed)
        if answer is None or answer.until <= self._clock.monotonic():
            answer = await self._ask(hashed)
        if answer.principal is None:
            raise Unauthorized(answer.refusal, headers={"WWW-Authenticate": "Bearer"})
        return answer.principal

    async def acting_in(self, principal: Principal, project_id: str) -> Principal:
        """Let an operator act in another project. NotFound for everyone else's and for unknown projects."""
        if project_id == principal.project_id:
            return principal
        if Scope.OPERATOR not in principal.scopes:
            raise _no_project(project_id)
        return await self._on_terms(principal, project_id)

    async def person(self, user_id: str, project_id: str, scopes: AbstractSet[Scope]) -> Principal:
        """Make a caller of a signed-in person: the id stands where a key's does."""
        return await self._on_terms(Principal("", project_id, user_id, frozenset(scopes)), project_id)

    async def _on_terms(self, caller: Principal, project_id: str) -> Principal:
        payer = await self._organization_of(project_id)
        return replace(
            caller,
            organization_id=payer.id,
            project_id=project_id,
            plan=payer.plan,
            margin=payer.margin,
            billing_mode=payer.billing_mode,
        )

    def forget(self) -> None:
        """Believe nothing any longer: a key or project has just changed in this process."""
        self._known.clear()
        self._refused.clear()
        self._projects.clear()
        self._project_reads.clear()

    async def _organization_of(self, project_id: str) -> _Organization:
        cached = self._projects.get(project_id)
        if cached is not None and cached[1] > self._clock.monotonic():
            return cached[0]
        reading = self._project_reads.get(project_id)
        if reading is None:
            reading = asyncio.create_task(self._read_organization(project_id))
            self._project_reads[project_id] = reading
        return await asyncio.shield(reading)  # one caller's cancellation is not the others'

    async def _read_organization(self, project_id: str) -> _Organization:
        """Read it for all who ask meanwhile; what was read before a `forget` is not remembered."""
        began = self._clock.monotonic()
        try:
            row = await self._db.read(lambda conn: store.project_anywhere(conn, project_id))
        except Exception as error:
            log.exception("projects_not_read")
            raise _unreadable() from error
        finally:
            latest = self._project_reads.get(project_id) is asyncio.current_task()
            if latest:
                del self._project_reads[project_id]
        if row is None:
            raise _no_project(project_id)
        payer = self._terms.of(row)
        if latest:
            self._projects[project_id] = (payer, began + TRUST_SECONDS)
        return payer

    async def _ask(self, hashed: str) -> _Answer:
        """Join the next read. A read that has already begun is not joined: it may be too old."""
        future = self._asked.get(hashed)
        if future is None:
            future = self._asked[hashed] = asyncio.get_running_loop().create_future()
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read_asked())
        return await asyncio.shield(future)  # one caller's cancellation is not the others'

    async def _read_asked(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            began, now_ms = self._clock.monotonic(), self._clock.now_ms()
            hashes = list(asked)
            try:
                rows = await self._db.read(lambda conn, hashes=hashes: store.find_by_hashes(conn, hashes))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            except Exception as error:
                log.exception("keys_not_read")
                _refuse(asked.values(), error)
                continue
            used = []
            for hashed, future in asked.items():
                answer = _judge(rows.get(hashed), began, now_ms, self._terms)
                self._remember(hashed, answer)
                if answer.principal is not None:
                    used.append(rows[hashed])
                if not future.done():
                    future.set_result(answer)
            self._last_use.note(used, now_ms)

    def _remember(self, hashed: str, answer: _Answer) -> None:
        self._known.pop(hashed, None)
        self._refused.pop(hashed, None)
        known = answer.principal is not None
        answers, bound = (self._known, MAX_KNOWN) if known else (self._refused, MAX_REFUSED)
        answers[hashed] = answer
        if len(answers) > bound:  # the first is the one read longest ago
            del answers[next(iter(answers))]


def _refuse(futures: Iterable[_Future], cause: Exception) -> None:
    for future in futures:
        if not future.done():
            error: ApiError = _unreadable()
            error.__cause__ = cause
            future.set_exception(error)


def _unreadable() -> Unavailable:
    return Unavailable("The API key could not be checked just now; retry in a second.")


def _judge(row: store.AnyRow | None, began: float, now_ms: int, terms: Terms) -> _Answer:
    """Decide on a key as it was at `began`; an expiry shortens how long the answer is believed."""
    until = began + TRUST_SECONDS
    if row is None:
        return _Answer(until)
    if row.revoked_at is not None:
        return _Answer(until, refusal=f"This API key ({row.redacted_value}) was revoked.")
    if row.project_archived_at is not None:
        return _Answer(until, refusal=f"The project of this API key ({row.redacted_value}) is archived.")
    if row.expires_at is not None:
        if row.expires_at <= now_ms:
            return _Answer(until, refusal=f"This API key ({row.redacted_value}) has expired.")
        until = min(until, began + (row.expires_at - now_ms) / 1000)
    return _Answer(until, principal_of(row, terms))


def principal_of(row: store.AnyRow, terms: Terms) -> Principal:
    """Read the caller that a key row stands for; a scope that this release does not know gives nothing."""
    payer = terms.of(row)
    return Principal(
        organization_id=payer.id,
        plan=payer.plan,
        margin=payer.margin,
        billing_mode=payer.billing_mode,
        project_id=row.project_id,
        key_id=row.id,
        scopes=frozenset(Scope(scope) for scope in row.scopes if scope in set(Scope)),
        models=None if row.models is None else frozenset(row.models),
        requests_per_minute=row.requests_per_minute,
        concurrent_videos=row.concurrent_videos,
    )


def _no_project(project_id: str) -> NotFound:
    return NotFound(
        f"No project with the id '{project_id}' (header X-Onereel-Project).",
        param="X-Onereel-Project",
        code="project_not_found",
    )
