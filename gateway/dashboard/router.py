"""Every page, behind one session check."""

from typing import Final

from litestar import Controller, Router
from litestar.di import Provide
from litestar.types import ASGIApp

from gateway.dashboard.failures import page_failures
from gateway.dashboard.form import provide_form
from gateway.dashboard.page import Pages
from gateway.dashboard.pages_account import AccountPages
from gateway.dashboard.pages_audit import AuditPages
from gateway.dashboard.pages_billing import BillingPages
from gateway.dashboard.pages_billing_operator import BillingOperatorPages
from gateway.dashboard.pages_billing_stripe import BillingStripePages
from gateway.dashboard.pages_budgets import BudgetsPages
from gateway.dashboard.pages_docs import DocsPages
from gateway.dashboard.pages_entrance import EntrancePages
from gateway.dashboard.pages_keys import KeysPages
from gateway.dashboard.pages_members import MembersPages
from gateway.dashboard.pages_models import ModelsPages
from gateway.dashboard.pages_oidc import OidcPages
from gateway.dashboard.pages_organizations import OrganizationsPages
from gateway.dashboard.pages_overview import OverviewPages
from gateway.dashboard.pages_playground import PlaygroundPages
from gateway.dashboard.pages_projects import ProjectsPages
from gateway.dashboard.pages_reconciliation import ReconciliationPages
from gateway.dashboard.pages_shared import SharedPages
from gateway.dashboard.pages_upstreams import UpstreamsPages
from gateway.dashboard.pages_video import VideoPages
from gateway.dashboard.pages_videos import VideosPages
from gateway.dashboard.pages_webhooks import WebhooksPages
from gateway.dashboard.pages_work import WorkPages
from gateway.dashboard.session import Session, provide_visitor
from gateway.services import Services

PAGES: Final[tuple[type[Controller], ...]] = (
    OverviewPages,
    PlaygroundPages,
    ModelsPages,
    DocsPages,
    EntrancePages,
    OidcPages,
    AccountPages,
    MembersPages,
    BudgetsPages,
    KeysPages,
    WebhooksPages,
    ProjectsPages,
    AuditPages,
    BillingPages,
    BillingStripePages,
    BillingOperatorPages,
    UpstreamsPages,
    WorkPages,
    ReconciliationPages,
    OrganizationsPages,
    VideosPages,
    VideoPages,
    SharedPages,
)


def dashboard(services: Services, pages: Pages) -> Router:
    """Build the pages of one application."""
    public_url = services.settings.public_url

    def session(app: ASGIApp) -> ASGIApp:  # a function: a router is copied with all that it holds
        return Session(app, services.sessions, services.limits, public_url=public_url, secure=pages.secure)

    return Router(
        path="/",
        route_handlers=PAGES,
        middleware=[session],
        dependencies={
            "pages": Provide(lambda: pages, sync_to_thread=False),
            "visitor": Provide(provide_visitor, sync_to_thread=False),
            "form": Provide(provide_form),
        },
        exception_handlers=page_failures(pages),
        include_in_schema=False,
        opt={"public": True},
    )
