"""/v1/billing: balance, ledger, credit, budgets and plans; /v1/organizations/{id}: the operator's terms."""

from typing import Annotated, Any, Final

from litestar import Controller, Request, Response, delete, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import PathParameter, QueryParameter

from gateway.billing import forms, view
from gateway.billing.service import BillingService
from gateway.errors import BadRequest
from gateway.http.accept import ACCEPT, Accept, Json
from gateway.http.auth import requires
from gateway.http.csv_answer import CSV, Form, csv_answer, provide_csv_form
from gateway.http.openapi import documented
from gateway.http.pagination import PAGE, PageRequest, listed
from gateway.keys.service import KeyService
from gateway.keys.store import PageQuery
from gateway.principal import Principal, Scope

AnyRequest = Request[Any, Any, Any]
BudgetId = Annotated[str, PathParameter(description="The budget's id.", max_length=64)]
OrganizationId = Annotated[str, PathParameter(description="The organization's id.", max_length=64)]
Payer = Annotated[
    str | None,
    QueryParameter(
        min_length=1, max_length=64, description="Of another organization than your own: operators only."
    ),
]

_READ: Final = requires(Scope.BILLING_READ)
_WRITE: Final = requires(Scope.BILLING_WRITE)
_OPERATOR: Final = requires(Scope.OPERATOR)


def _query(page: PageRequest) -> PageQuery:
    return PageQuery(page.limit, page.after, page.descending)


class BillingController(Controller):
    """What an organization can spend and has spent."""

    path = "/v1/billing"
    tags = ["billing"]
    dependencies = ACCEPT

    @get(
        "/balance",
        opt=_READ,
        operation_class=documented(answer=view.Balance),
        summary="Retrieve the balance",
    )
    async def balance(
        self, principal: NamedDependency[Principal], billing: NamedDependency[BillingService]
    ) -> Json:
        """Show what can be spent and what is held."""
        return await billing.balance(principal)

    @get(
        "/ledger",
        opt=_READ,
        dependencies={**PAGE, "chosen": Provide(provide_csv_form, sync_to_thread=False)},
        operation_class=documented(answer=view.LedgerList, media=(CSV,)),
        summary="List ledger entries",
    )
    async def ledger(
        self,
        request: AnyRequest,
        principal: NamedDependency[Principal],
        billing: NamedDependency[BillingService],
        page: NamedDependency[PageRequest],
        chosen: NamedDependency[Form],
    ) -> Response[Any]:
        """List every step of the books: holds, captures, releases, credit; as CSV one row per line of an entry."""
        if chosen == "json":
            return Response(listed(await billing.ledger(principal, _query(page))))
        if "limit" in request.query_params:
            raise BadRequest("A file has the whole list: leave out 'limit'.", param="limit")
        lines = await billing.ledger_csv(principal, page.after, descending=page.descending)
        return csv_answer(lines, "ledger")

    @get(
        "/credits",
        opt=_READ,
        dependencies=PAGE,
        operation_class=documented(answer=view.CreditList),
        summary="List credits",
    )
    async def credits(
        self,
        principal: NamedDependency[Principal],
        billing: NamedDependency[BillingService],
        page: NamedDependency[PageRequest],
        organization: Payer = None,
    ) -> Json:
        """List the credit that the operator gave."""
        return listed(await billing.credits(principal, _query(page), organization))

    @post(
        "/credits",
        opt=_OPERATOR,
        status_code=200,
        operation_class=documented(body=forms.CreditForm, answer=view.Credit),
        summary="Grant credit",
    )
    async def grant_credit(
        self,
        principal: NamedDependency[Principal],
        billing: NamedDependency[BillingService],
        accept: NamedDependency[Accept],
    ) -> Json:
        """Give an organization credit; with `expires_at` it is promotional."""
        return await accept(forms.CreditForm, lambda form, claim: billing.give_credit(principal, form, claim))

    @post(
        "/adjustments",
        opt=_OPERATOR,
        status_code=200,
        operation_class=documented(body=forms.AdjustmentForm, answer=view.Balance),
        summary="Correct credit",
    )
    async def adjust_credit(
        self,
        principal: NamedDependency[Principal],
        billing: NamedDependency[BillingService],
        accept: NamedDependency[Accept],
    ) -> Json:
        """Correct an organization's paid credit, up or down."""
        return await accept(forms.AdjustmentForm, lambda form, claim: billing.correct(principal, form, claim))

    @post(
        "/refunds",
        opt=_OPERATOR,
        status_code=200,
        operation_class=documented(body=forms.RefundForm, answer=view.Refund),
        summary="Refund a video",
    )
    async def refund(
        self,
        principal: NamedDependency[Principal],
        billing: NamedDependency[BillingService],
        accept: NamedDependency[Accept],
    ) -> Json:
        """Give back what a video was charged, or a part of it."""
        return await accept(forms.RefundForm, lambda form, claim: billing.refund(principal, form, claim))

    @get(
        "/budgets",
        opt=_READ,
        dependencies=PAGE,
        operation_class=documented(answer=view.BudgetList),
        summary="List budgets",
    )
    async def budgets(
        self,
        principal: NamedDependency[Principal],
        billing: NamedDependency[BillingService],
        page: NamedDependency[PageRequest],
    ) -> Json:
        """List the budgets in force and what is used of them."""
        return listed(await billing.list_budgets(principal, _query(page)))

    @post(
        "/budgets",
        opt=_WRITE,
        status_code=200,
        operation_class=documented(body=forms.BudgetForm, answer=view.Budget),
        summary="Create a budget",
    )
    async def create_budget(
        self,
        principal: NamedDependency[Principal],
        billing: NamedDependency[BillingService],
        accept: NamedDependency[Accept],
    ) -> Json:
        """Limit what the organization, a project, a key or an end user may spend in a UTC day or month."""
        return await accept(
            forms.BudgetForm, lambda form, claim: billing.create_budget(principal, form, claim)
        )

    @post(
        "/budgets/{budget_id:str}",
        opt=_WRITE,
        status_code=200,
        operation_class=documented(body=forms.BudgetChanges, answer=view.Budget),
        summary="Modify a budget",
    )
    async def change_budget(
        self,
        budget_id: BudgetId,
        principal: NamedDependency[Principal],
        billing: NamedDependency[BillingService],
        accept: NamedDependency[Accept],
    ) -> Json:
        """Give a budget another amount, or make it hard or soft."""
        return await accept(
            forms.BudgetChanges, lambda form, claim: billing.change_budget(principal, budget_id, form, claim)
        )

    @delete(
        "/budgets/{budget_id:str}",
        opt=_WRITE,
        status_code=200,
        operation_class=documented(answer=view.DeletedBudget),
        summary="Delete a budget",
    )
    async def delete_budget(
        self,
        budget_id: BudgetId,
        principal: NamedDependency[Principal],
        billing: NamedDependency[BillingService],
    ) -> Json:
        """Take a budget out of force."""
        return await billing.delete_budget(principal, budget_id)

    @get(
        "/plans",
        opt=_READ,
        operation_class=documented(answer=view.PlanList),
        summary="List plans",
        sync_to_thread=False,
    )
    def plans(self, billing: NamedDependency[BillingService]) -> Json:
        """List the plans of this installation."""
        return {"object": "list", "data": billing.plans()}


class OrganizationTermsController(Controller):
    """How an organization is served and pays: the operator's business."""

    path = "/v1/organizations/{organization_id:str}"
    tags = ["organization"]
    opt = _OPERATOR
    dependencies = ACCEPT

    @get(
        operation_class=documented(answer=view.OrganizationTerms),
        summary="Retrieve an organization",
    )
    async def retrieve_organization(
        self,
        organization_id: OrganizationId,
        principal: NamedDependency[Principal],
        billing: NamedDependency[BillingService],
    ) -> Json:
        """Show an organization with its plan and balance."""
        return await billing.terms(principal, organization_id)

    @post(
        status_code=200,
        operation_class=documented(body=forms.TermsForm, answer=view.OrganizationTerms),
        summary="Modify an organization",
    )
    async def modify_organization(
        self,
        *,
        organization_id: OrganizationId,
        principal: NamedDependency[Principal],
        billing: NamedDependency[BillingService],
        keys: NamedDependency[KeyService],
        accept: NamedDependency[Accept],
    ) -> Json:
        """Change an organization's name, plan, margin, way to pay, credit limit, or suspend it."""
        try:
            return await accept(
                forms.TermsForm,
                lambda form, claim: billing.change_terms(principal, organization_id, form, claim),
            )
        finally:
            keys.forget()
