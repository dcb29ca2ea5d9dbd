"""The pages there are, for whom, and in which order."""

from dataclasses import dataclass
from typing import Final

from gateway.members.sessions import Visitor
from gateway.principal import Scope


@dataclass(frozen=True, slots=True)
class Item:
    """One link of the navigation. `icon` is a symbol of static/icons.svg; `scope` None: for everybody signed in."""

    label: str
    path: str
    icon: str
    scope: Scope | None = None

    def leads_to(self, path: str) -> bool:
        """Whether a page lies under this link."""
        return path == self.path or (self.path != "/" and path.startswith(f"{self.path}/"))


@dataclass(frozen=True, slots=True)
class Section:
    """Links that belong together."""

    label: str
    items: tuple[Item, ...]


_SECTIONS: Final = (
    Section(
        "",
        (
            Item("Overview", "/", "overview"),
            Item("Playground", "/playground", "playground", Scope.VIDEOS_WRITE),
            Item("Videos", "/videos", "videos", Scope.VIDEOS_READ),
            Item("Models", "/models", "models"),
        ),
    ),
    Section(
        "Build",
        (
            Item("API keys", "/keys", "keys", Scope.VIDEOS_WRITE),
            Item("Webhooks", "/webhooks", "webhooks", Scope.WEBHOOKS),
            Item("Docs", "/docs", "docs"),
        ),
    ),
    Section(
        "Organization",
        (
            Item("Billing", "/billing", "billing", Scope.BILLING_READ),
            Item("Budgets", "/budgets", "budgets", Scope.BILLING_READ),
            Item("Projects", "/projects", "projects", Scope.ORGANIZATION),
            Item("Members", "/members", "members", Scope.ORGANIZATION),
            Item("Audit log", "/audit", "audit", Scope.ORGANIZATION),
        ),
    ),
    Section(
        "Operator",
        (
            Item("Upstreams", "/operator/upstreams", "upstreams", Scope.OPERATOR),
            Item("Workers", "/operator/workers", "workers", Scope.OPERATOR),
            Item("Queue", "/operator/queue", "queue", Scope.OPERATOR),
            Item("Unresolved", "/operator/unknown", "unknown", Scope.OPERATOR),
            Item("Reconciliation", "/operator/reconciliation", "reconciliation", Scope.OPERATOR),
            Item("Organizations", "/operator/organizations", "organizations", Scope.OPERATOR),
        ),
    ),
)


def sections_for(visitor: Visitor | None) -> list[Section]:
    """List what a person may open."""
    found = []
    for section in _SECTIONS:
        items = tuple(each for each in section.items if _opens(visitor, each))
        if items:
            found.append(Section(section.label, items))
    return found


def _opens(visitor: Visitor | None, item: Item) -> bool:
    if visitor is None:
        return item.path.startswith("/docs")
    return item.scope is None or visitor.may(item.scope)
