"""/keys: who may call for the present project, how much, and until when."""

import json
import shlex
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from gateway.billing.service import BillingService
from gateway.clock import Clock
from gateway.dashboard.dates import day_end, day_of
from gateway.dashboard.form import Form
from gateway.dashboard.page import Pages, redirect
from gateway.http.auth import requires
from gateway.keys.forms import KeyChanges, KeyForm, parse
from gateway.keys.permission import grantable, manages_all_keys
from gateway.keys.service import KeyService
from gateway.keys.store import PageQuery
from gateway.members.service import MemberService
from gateway.members.sessions import Visitor
from gateway.principal import DEFAULT_SCOPES, Scope
from gateway.videos.routing import Catalogue

AnyRequest = Request[Any, Any, Any]
Json = dict[str, Any]
_ON_A_PAGE: Final = 50
_LIMITS: Final = ("requests_per_minute", "concurrent_videos")
WORDS: Final[Mapping[Scope, tuple[str, str]]] = {
    Scope.VIDEOS_WRITE: ("Make videos", "Create, remix, extend, cancel and delete. This spends money."),
    Scope.VIDEOS_READ: ("See videos", "List them, follow them, download them."),
    Scope.FILES_WRITE: ("Upload files", "Pictures and clips that videos start from; delete them."),
    Scope.FILES_READ: ("See files", "List and download uploads."),
    Scope.WEBHOOKS: ("Manage webhooks", "Endpoints of this project, their secrets and deliveries."),
    Scope.USAGE_READ: ("See usage", "Videos and costs of the whole organization."),
    Scope.BILLING_READ: ("See the books", "Balance, ledger, invoices and budgets."),
    Scope.BILLING_WRITE: ("Pay and set budgets", "Top up, automatic recharge, budgets."),
    Scope.ORGANIZATION: ("Manage the organization", "Projects, keys and the audit log."),
    Scope.OPERATOR: ("Operate this installation", "Everything, in every organization."),
}


class KeysPages(Controller):
    """Keys of the present project: all of them for administrators, for developers those that they made."""

    path = "/keys"
    opt = requires(Scope.VIDEOS_WRITE)

    @get()
    async def keys_page(
        self,
        *,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        keys: NamedDependency[KeyService],
        billing: NamedDependency[BillingService],
        members: NamedDependency[MemberService],
        clock: NamedDependency[Clock],
        pages: NamedDependency[Pages],
        after: FromQuery[str | None] = None,
    ) -> Response[str]:
        """List keys with what is used of their budgets."""
        found = await keys.list_keys(
            visitor.principal, visitor.project_id, PageQuery(_ON_A_PAGE, after or None, True)
        )
        ids = [key["id"] for key in found.data]
        return pages.show(
            request,
            "keys/keys.html",
            keys=found.data,
            next=f"/keys?after={quote(ids[-1])}" if found.has_more else None,
            budgets=await billing.books.budgets_of(visitor.principal, "key", ids),
            makers=await members.names({key["created_by"] for key in found.data if key["created_by"]}),
            words=WORDS,
            default_scopes=sorted(DEFAULT_SCOPES),
            all_keys=manages_all_keys(visitor.principal),
            now=clock.now_ms() // 1000,
        )

    @get("/new")
    async def new_key(
        self,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        catalogue: NamedDependency[Catalogue],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show the form of a new key."""
        allowed = grantable(visitor.principal)
        key = {
            "name": "",
            "scopes": [scope for scope in DEFAULT_SCOPES if scope in allowed],
            "models": None,
            "requests_per_minute": None,
            "concurrent_videos": None,
        }
        return pages.show(request, "keys/form.html", key=key, **_choices(visitor, catalogue, key))

    @post("/new", status_code=200)
    async def make(
        self,
        request: AnyRequest,
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        keys: NamedDependency[KeyService],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Make a key and show its value this once."""
        wanted = parse(KeyForm, _new(form))
        made = await keys.create_key(visitor.principal, visitor.project_id, wanted)
        example = _curl(pages.base_url(request), made)
        return pages.show(request, "keys/made.html", key=made, example=example)

    @get("/{key_id:str}")
    async def key_page(
        self,
        *,
        request: AnyRequest,
        key_id: FromPath[str],
        visitor: NamedDependency[Visitor],
        keys: NamedDependency[KeyService],
        catalogue: NamedDependency[Catalogue],
        pages: NamedDependency[Pages],
    ) -> Response[str]:
        """Show the form of one key. Forbidden for who may not change it."""
        visitor.principal.require(Scope.ORGANIZATION)
        key = await keys.get_key(visitor.principal, visitor.project_id, key_id)
        return pages.show(request, "keys/form.html", key=key, **_choices(visitor, catalogue, key))

    @post("/{key_id:str}", status_code=303)
    async def change(
        self,
        key_id: FromPath[str],
        form: NamedDependency[Form],
        visitor: NamedDependency[Visitor],
        keys: NamedDependency[KeyService],
    ) -> Response[None]:
        """Change a key: what the form left empty has no limit."""
        changes = parse(KeyChanges, _changes(form))
        await keys.update_key(visitor.principal, visitor.project_id, key_id, changes)
        return redirect("/keys", done="The key was changed. It holds within a second.")

    @post("/{key_id:str}/revoke", status_code=303)
    async def revoke(
        self,
        key_id: FromPath[str],
        form: NamedDependency[Form],  # noqa: ARG002  (the check)
        visitor: NamedDependency[Visitor],
        keys: NamedDependency[KeyService],
    ) -> Response[None]:
        """End a key for good."""
        await keys.revoke_key(visitor.principal, visitor.project_id, key_id)
        return redirect("/keys", done="The key was revoked.")


def _choices(visitor: Visitor, catalogue: Catalogue, key: Json) -> Json:
    allowed = grantable(visitor.principal) | set(key["scopes"])
    models = {model.id for model in catalogue.models()} | set(key["models"] or ())
    return {
        "scopes": [(scope, *words) for scope, words in WORDS.items() if scope in allowed],
        "models": sorted(models),
        "expires_on": day_of(key.get("expires_at")),
    }


def _new(form: Form) -> Json:
    fields = {name: value for name, value in form.fields.items() if name not in {"budget", "expires_at"}}
    if expires := form.text("expires_at"):
        fields["expires_at"] = day_end(expires, "expires_at")
    budget = form.fields.get("budget")
    if isinstance(budget, dict) and "amount_usd" in budget:
        fields["budget"] = {**budget, "hard": budget.get("hard") == "true"}
    return fields


def _changes(form: Form) -> Json:
    expires = form.text("expires_at")
    return {
        **form.fields,
        "scopes": form.texts("scopes"),
        "models": form.texts("models") or None,
        **{name: form.text(name) for name in _LIMITS},
        "expires_at": day_end(expires, "expires_at") if expires else None,
    }


def _curl(base_url: str, key: Json) -> str:
    bearer = f'-H "Authorization: Bearer {key["value"]}"'
    if Scope.VIDEOS_WRITE not in key["scopes"]:
        return f"curl {base_url}/v1/models {bearer}"
    body = {"prompt": "a paper boat on a quiet lake"}
    if key["models"]:
        body = {"model": key["models"][0], **body}
    return (
        f'curl {base_url}/v1/videos {bearer} \\\n  -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(json.dumps(body))}"
    )
