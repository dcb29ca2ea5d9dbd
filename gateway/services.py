"""What one process works with, made once by the composition root and handed to handlers by name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.audit.service import AuditService
from gateway.billing.service import BillingService
from gateway.billing.stripe import StripeService
from gateway.billing.trail import MoneyTrail
from gateway.clock import Clock
from gateway.db import Database
from gateway.events import Hints
from gateway.files.service import FileService
from gateway.idempotency.service import Idempotency
from gateway.keys.limits import RequestLimits
from gateway.keys.service import KeyService
from gateway.media.pool import MediaTools
from gateway.members.invitations import Invitations
from gateway.members.oidc import OidcMembers, OidcProvider
from gateway.members.service import MemberService
from gateway.members.sessions import Sessions
from gateway.settings import Settings
from gateway.storage import Storage
from gateway.telemetry import Metrics
from gateway.tracing import Tracing
from gateway.upstreams.service import UpstreamService
from gateway.upstreams.unresolved import Unresolved
from gateway.upstreams.work import Work
from gateway.usage.overview import OverviewService
from gateway.usage.reconciliation import Reconciliation
from gateway.usage.service import UsageService
from gateway.videos.callbacks import Callbacks
from gateway.videos.content import VideoContent
from gateway.videos.input_links import InputLinks
from gateway.videos.routing import Catalogue
from gateway.videos.service import VideoService
from gateway.videos.sharing import Sharing
from gateway.webhooks.service import WebhookService


@dataclass(frozen=True)
class Services:
    """Every service of the process. Each field is a dependency of handlers under its own name."""

    settings: Settings
    clock: Clock
    db: Database
    storage: Storage
    media: MediaTools
    catalogue: Catalogue
    keys: KeyService
    limits: RequestLimits
    sessions: Sessions
    members: MemberService
    invitations: Invitations
    oidc: OidcProvider
    oidc_members: OidcMembers
    idempotency: Idempotency
    videos: VideoService
    content: VideoContent
    sharing: Sharing
    trail: MoneyTrail
    files: FileService
    webhooks: WebhookService
    billing: BillingService
    usage: UsageService
    overviews: OverviewService
    audit: AuditService
    reconciliation: Reconciliation
    callbacks: Callbacks
    stripe: StripeService
    hints: Hints
    metrics: Metrics
    tracing: Tracing
    inputs: InputLinks
    upstreams: UpstreamService
    work: Work
    unresolved: Unresolved
    upload_dir: Path

    def by_name(self) -> dict[str, Any]:
        """List them as handlers ask for them."""
        return dict(vars(self))
