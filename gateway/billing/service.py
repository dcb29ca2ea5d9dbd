"""Credit, budgets and terms: what an organization may spend, and the operator's hand on it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from sqlalchemy import Connection, update

from billing import budgets
from billing.balance import locked_balance
from billing.entries import LedgerConflict, entry_id
from billing.ledger_moves import adjust, credit, refund, restore, set_terms, suspend
from billing.lots import grant_credit
from billing.meters import cancel_usage
from billing.money import format_usd
from gateway.audit.notes import Of, caller
from gateway.billing import store
from gateway.billing.books import Books, Page
from gateway.billing.forms import (
    AdjustmentForm,
    BudgetChanges,
    BudgetForm,
    CreditForm,
    RefundForm,
    TermsForm,
)
from gateway.billing.included import grant_included
from gateway.billing.view import (
    DeletedBudget,
    OrganizationTerms,
    Refund,
    public_balance,
    public_budget,
    public_credit,
    public_plan,
)
from gateway.clock import Clock
from gateway.db import Database
from gateway.errors import BadRequest
from gateway.idempotency.service import Claim, record
from gateway.ids import new_id
from gateway.keys.forms import budget_values
from gateway.keys.plans import KnownPlans
from gateway.keys.store import PageQuery
from gateway.keys.tables import organizations
from gateway.principal import Principal, Scope
from gateway.settings import Settings

Json = dict[str, Any]


class BillingService:
    """One per process. Every method acts in the caller's organization unless an operator names another."""

    def __init__(self, db: Database, clock: Clock, settings: Settings) -> None:
        self._db = db
        self._clock = clock
        self._plans = KnownPlans(settings.plans)
        self.books = Books(db, clock)

    async def balance(self, principal: Principal) -> Json:
        """Show what can be spent."""
        organization_id = principal.organization_id
        return public_balance(await self._db.read(lambda conn: store.balance(conn, organization_id)))

    async def ledger(self, principal: Principal, page: PageQuery) -> Page:
        """List the entries of the books."""
        return await self.books.page(principal, page)

    async def ledger_csv(
        self, principal: Principal, after: str | None, *, descending: bool
    ) -> AsyncIterator[str]:
        """Every entry behind `after` as CSV, read as fast as it is taken. BadRequest for an unknown `after`."""
        return await self.books.csv(principal, after, descending=descending)

    async def credits(self, principal: Principal, page: PageQuery, organization: str | None = None) -> Page:
        """List what the operator gave; of another organization only to an operator."""
        organization_id = organization or principal.organization_id
        if organization_id != principal.organization_id:
            principal.require(Scope.OPERATOR)

        def read(conn: Connection) -> Page:
            if organization is not None:
                store.organization(conn, organization)
            rows, more = store.credits_page(conn, organization_id, page)
            return Page([public_credit(row) for row in rows], more)

        return await self._db.read(read)

    def plans(self) -> list[Json]:
        """List the plans."""
        return [public_plan(plan) for plan in self._plans.all()]

    async def give_credit(self, principal: Principal, form: CreditForm, claim: Claim | None = None) -> Json:
        """Give credit to an organization. Operator only."""
        principal.require(Scope.OPERATOR)
        now, subject = self._clock.now_ms(), new_id("act")
        ends = None if form.expires_at is None else form.expires_at * 1000
        if ends is not None and ends <= now:
            raise BadRequest("'expires_at' must be a time to come, in Unix seconds.", param="expires_at")
        organization_id, by = form.organization or principal.organization_id, caller(principal)
        common: Json = {
            "subject": subject,
            "organization_id": organization_id,
            "amount_micros": form.amount_usd,
            "memo": form.reason,
            "now": now,
        }

        def write(conn: Connection) -> Json:
            store.organization(conn, organization_id)
            if ends is None:
                credit(conn, **common)
            else:
                grant_credit(conn, expires_at=ends, **common)
            answer = public_credit(store.credit(conn, subject))
            by.note(conn, "credit.granted", subject, Of(organization_id), after=answer)
            record(conn, claim, 200, answer, now)
            return answer

        return await self._db.write(write)

    async def correct(self, principal: Principal, form: AdjustmentForm, claim: Claim | None = None) -> Json:
        """Correct paid credit, up or down; answers the balance. Operator only."""
        principal.require(Scope.OPERATOR)
        now, subject = self._clock.now_ms(), new_id("act")
        organization_id, by = form.organization or principal.organization_id, caller(principal)

        def write(conn: Connection) -> Json:
            store.organization(conn, organization_id)
            before = public_balance(store.balance(conn, organization_id))
            adjust(
                conn,
                subject=subject,
                organization_id=organization_id,
                amount_micros=form.amount_usd,
                memo=form.reason,
                now=now,
            )
            answer = public_balance(store.balance(conn, organization_id))
            told = {**answer, "reason": form.reason}
            by.note(conn, "credit.adjusted", subject, Of(organization_id), before=before, after=told)
            record(conn, claim, 200, answer, now)
            return answer

        return await self._db.write(lambda conn: _refusing(write, conn, "amount_usd"))

    async def refund(self, principal: Principal, form: RefundForm, claim: Claim | None = None) -> Json:
        """Give back what a video was charged; usage that Stripe was told of is taken back where it still can. Operator only."""
        principal.require(Scope.OPERATOR)
        now, by = self._clock.now_ms(), caller(principal)

        def write(conn: Connection) -> Json:
            organization_id = store.payer_of(conn, form.video)
            entry = refund(
                conn,
                subject=form.video,
                organization_id=organization_id,
                amount_micros=form.amount_usd,
                memo=form.reason,
                now=now,
            )
            if store.is_refunded(conn, form.video):
                cancel_usage(conn, entry_id(form.video, "capture"), now)
            amount = dict(entry.amounts)["customer"]
            answer = Refund(
                id=entry.id,
                video=form.video,
                organization_id=organization_id,
                amount_usd=format_usd(amount),
                reason=form.reason,
                created_at=now // 1000,
            ).model_dump()
            by.note(conn, "video.refunded", form.video, Of(organization_id), after=answer)
            record(conn, claim, 200, answer, now)
            return answer

        return await self._db.write(lambda conn: _refusing(write, conn, "amount_usd"))

    async def list_budgets(self, principal: Principal, page: PageQuery) -> Page:
        """List the budgets in force with what is used of them now."""
        organization_id, now = principal.organization_id, self._clock.now_ms()

        def read(conn: Connection) -> Page:
            rows, more = store.budgets_page(conn, organization_id, page)
            used = store.used(conn, rows, now)
            return Page([public_budget(row, *used[row.id]) for row in rows], more)

        return await self._db.read(read)

    async def create_budget(self, principal: Principal, form: BudgetForm, claim: Claim | None = None) -> Json:
        """Set a budget; it counts from now on."""
        now, budget_id = self._clock.now_ms(), new_id("bud")
        scope_id, by = _scope_id(principal, form), caller(principal)

        def write(conn: Connection) -> Json:
            if form.scope in {"project", "key"} and not store.owns(
                conn, principal.organization_id, form.scope, scope_id
            ):
                raise BadRequest(
                    f"No {form.scope} of this organization has the id '{scope_id[:100]}'.", param="scope_id"
                )
            values = budget_values(budget_id, principal.organization_id, form, now)
            row = store.insert_budget(conn, {**values, "scope": form.scope, "scope_id": scope_id})
            answer = public_budget(row, *store.used(conn, [row], now)[budget_id])
            by.note(conn, "budget.created", budget_id, Of(row.organization_id), after=answer)
            record(conn, claim, 200, answer, now)
            return answer

        return await self._db.write(write)

    async def change_budget(
        self, principal: Principal, budget_id: str, form: BudgetChanges, claim: Claim | None = None
    ) -> Json:
        """Change a budget's amount or strictness; what is used stays."""
        now, by = self._clock.now_ms(), caller(principal)

        def write(conn: Connection) -> Json:
            row = store.budget(conn, principal.organization_id, budget_id)
            before = public_budget(row, 0, now)
            sent, other = (
                (form.amount_usd, form.seconds) if row.unit == "usd" else (form.seconds, form.amount_usd)
            )
            if other is not None:
                raise BadRequest(
                    f"This budget counts {row.unit}.",
                    param="seconds" if row.unit == "usd" else "amount_usd",
                )
            locked_balance(conn, principal.organization_id)
            changed = {"amount": sent, "hard": form.hard}
            store.change_budget(
                conn, budget_id, {name: value for name, value in changed.items() if value is not None}
            )
            if sent is not None:
                budgets.reset_marks(conn, budget_id, sent, budgets.period_start(row.period, now))
            row = store.budget(conn, principal.organization_id, budget_id)
            answer = public_budget(row, *store.used(conn, [row], now)[budget_id])
            of = row.organization_id
            by.note(conn, "budget.updated", budget_id, Of(of), before=before, after=answer)
            record(conn, claim, 200, answer, now)
            return answer

        return await self._db.write(write)

    async def delete_budget(self, principal: Principal, budget_id: str) -> Json:
        """Take a budget out of force; open holds still correct what they counted."""
        now, by = self._clock.now_ms(), caller(principal)

        def write(conn: Connection) -> Json:
            row = store.budget(conn, principal.organization_id, budget_id)
            locked_balance(conn, principal.organization_id)
            store.change_budget(conn, budget_id, {"archived_at": now})
            before = public_budget(row, 0, now)
            by.note(conn, "budget.deleted", budget_id, Of(row.organization_id), before=before)
            return DeletedBudget(id=budget_id).model_dump()

        return await self._db.write(write)

    async def terms(self, principal: Principal, organization_id: str) -> Json:
        """Show an organization with its terms. Operator only."""
        principal.require(Scope.OPERATOR)
        return await self._db.read(lambda conn: _terms(conn, organization_id))

    async def change_terms(
        self, principal: Principal, organization_id: str, form: TermsForm, claim: Claim | None = None
    ) -> Json:
        """Change an organization's plan, margin or way to pay; holds within a second. Operator only."""
        principal.require(Scope.OPERATOR)
        now, by = self._clock.now_ms(), caller(principal)
        if form.plan is not None:
            self._plans.named(form.plan)
        if form.name is None and "name" in form.model_fields_set:
            raise BadRequest("'name' cannot be null; leave it out to keep it.", param="name")

        def write(conn: Connection) -> Json:
            before = _terms(conn, organization_id)
            values = form.model_dump(include={"name", "plan", "margin"} & form.model_fields_set)
            if form.margin is not None:
                values["margin"] = f"{form.margin:f}"
            values = {name: value for name, value in values.items() if value is not None or name == "margin"}
            if values:
                conn.execute(
                    update(organizations).where(organizations.c.id == organization_id).values(values)
                )
            _pay(conn, organization_id, form, now)
            row = store.organization(conn, organization_id)
            plan = self._plans.get(row.plan)
            if plan is not None:
                grant_included(conn, organization_id, plan, now)
            answer = _terms(conn, organization_id)
            of = organization_id
            by.note(conn, "organization.updated", of, Of(of), before=before, after=answer)
            record(conn, claim, 200, answer, now)
            return answer

        return await self._db.write(lambda conn: _refusing(write, conn, "billing_mode"))


def _scope_id(principal: Principal, form: BudgetForm) -> str:
    if form.scope == "organization":
        if form.scope_id not in {None, principal.organization_id}:
            raise BadRequest(
                "A budget of the organization is of your own: leave 'scope_id' out.", param="scope_id"
            )
        return principal.organization_id
    if form.scope_id is not None:
        return form.scope_id
    raise BadRequest(f"A budget of a {form.scope} needs its 'scope_id'.", param="scope_id")


def _pay(conn: Connection, organization_id: str, form: TermsForm, now: int) -> None:
    if form.billing_mode is not None or form.credit_limit_usd is not None:
        set_terms(
            conn,
            organization_id,
            subject=new_id("act"),
            now=now,
            mode=form.billing_mode,
            credit_limit=form.credit_limit_usd,
        )
    if form.suspended:
        suspend(conn, organization_id, "operator")
    elif form.suspended is not None:
        reason = store.balance(conn, organization_id).suspended
        if reason is not None:
            restore(conn, organization_id, reason)


def _terms(conn: Connection, organization_id: str) -> Json:
    row = store.organization(conn, organization_id)
    answer = OrganizationTerms(
        id=row.id,
        name=row.name,
        created_at=row.created_at // 1000,
        plan=row.plan,
        margin=row.margin,
        billing=public_balance(store.balance(conn, organization_id)),
    )
    return answer.model_dump()


def _refusing(write: Callable[[Connection], Json], conn: Connection, param: str) -> Json:
    try:
        return write(conn)
    except LedgerConflict as error:
        raise BadRequest(f"{str(error)[:1].upper()}{str(error)[1:]}.", param=param) from error
