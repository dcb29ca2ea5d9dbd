"""Every controller of the API."""

from typing import Final

from litestar import Controller

from gateway.http.audit_logs import AuditLogsController
from gateway.http.billing import BillingController, OrganizationTermsController
from gateway.http.billing_stripe import StripeController
from gateway.http.callbacks import CallbacksController
from gateway.http.content import ContentController
from gateway.http.files import FilesController
from gateway.http.inputs import InputsController
from gateway.http.keys import ApiKeysController, OrganizationsController, ProjectsController
from gateway.http.models import ModelsController
from gateway.http.reconciliation import ReconciliationController
from gateway.http.upstreams import UpstreamsController
from gateway.http.usage import CostsController, UsageController
from gateway.http.videos import VideosController
from gateway.http.webhook_endpoints import WebhookEndpointsController, WebhookEventTypesController

CONTROLLERS: Final[tuple[type[Controller], ...]] = (
    VideosController,
    ContentController,
    ModelsController,
    FilesController,
    WebhookEndpointsController,
    WebhookEventTypesController,
    CallbacksController,
    InputsController,
    UpstreamsController,
    ProjectsController,
    ApiKeysController,
    OrganizationsController,
    StripeController,
    OrganizationTermsController,
    BillingController,
    UsageController,
    CostsController,
    ReconciliationController,
    AuditLogsController,
)
