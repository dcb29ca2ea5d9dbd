"""/audit: who changed what, and when."""

from typing import Any, Final
from urllib.parse import urlencode

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromQuery
from litestar.response import Stream

from gateway.audit.service import MOST_OF_A_FILE, AuditService, Wanted
from gateway.dashboard.audit_words import TYPES, differences, name_in, words_of
from gateway.dashboard.dates import day_end, day_start
from gateway.dashboard.names import Names
from gateway.dashboard.page import Pages
from gateway.http.auth import requires
from gateway.http.csv_answer import csv_answer
from gateway.keys.service import KeyService
from gateway.keys.store import PageQuery
from gateway.members.service import MemberService
from gateway.members.sessions import Visitor
from gateway.principal import Scope

AnyRequest = Request[Any, Any, Any]
Json = dict[str, Any]
_ON_A_PAGE: Final = 50
_MOST_CHOICES: Final = 100
_COLUMNS: Final = {"event": "type", "project": "project_id", "actor": "actor_key_id", "object": "object_id"}


def provide_asked(  # noqa: PLR0917  (the parameters of a link)
    event: FromQuery[str | None] = None,
    project: FromQuery[str | None] = None,
    actor: FromQuery[str | None] = None,
    object: FromQuery[str | None] = None,  # noqa: A002  (its name in links)
    since: FromQuery[str | None] = None,
    until: FromQuery[str | None] = None,
) -> dict[str, str]:
    """Read what the page shows: the dependency `asked`."""
    given = {
        "event": event,
        "project": project,
        "actor": actor,
        "object": object,
        "since": since,
        "until": until,
    }
    return {name: value.strip() for name, value in given.items() if value and value.strip()}


class AuditPages(Controller):
    """Changes in the organization; to an operator those of all."""

    path = "/audit"
    opt = requires(Scope.ORGANIZATION)
    dependencies = {"asked": Provide(provide_asked, sync_to_thread=False)}

    @get()
    async def audit_page(
        self,
        *,
        request: AnyRequest,
        visitor: NamedDependency[Visitor],
        audit: NamedDependency[AuditService],
        keys: NamedDependency[KeyService],
        members: NamedDependency[MemberService],
        pages: NamedDependency[Pages],
        asked: NamedDependency[dict[str, str]],
        after: FromQuery[str | None] = None,
    ) -> Response[str]:
        """List changes, the newest first."""
        found = await audit.list(visitor.principal, _wanted(asked, after))
        names = await Names(keys, members, visitor).known(_ids(found.data, asked))
        older = f"/audit?{urlencode({**asked, 'after': found.data[-1]['id']})}" if found.has_more else None
        projects = await keys.list_projects(
            visitor.principal, PageQuery(_MOST_CHOICES, None, True), archived=True
        )
        return pages.show(
            request,
            "audit/audit.html",
            entries=[_shown(entry, names) for entry in found.data],
            asked=asked,
            next=older,
            csv=f"/audit/file?{urlencode(asked)}",
            most=MOST_OF_A_FILE,
            events=[("", "Everything"), *sorted(TYPES.items(), key=lambda each: each[1])],
            projects=_with_chosen(
                [("", "Every project"), *((each["id"], each["name"]) for each in projects.data)],
                asked.get("project"),
                names,
            ),
            actors=await _actors(visitor, asked, names, keys, members),
            of_all=visitor.may(Scope.OPERATOR),
        )

    @get("/file")
    async def audit_file(
        self,
        visitor: NamedDependency[Visitor],
        audit: NamedDependency[AuditService],
        asked: NamedDependency[dict[str, str]],
    ) -> Stream:
        """Send the same as CSV."""
        return csv_answer(await audit.csv(visitor.principal, _wanted(asked, None)), "audit-log")


def _wanted(asked: dict[str, str], after: str | None) -> Wanted:
    times = {
        "gte": day_start(asked["since"], "since") if "since" in asked else None,
        "lte": day_end(asked["until"], "until") if "until" in asked else None,
    }
    lists = {column: [asked[name]] for name, column in _COLUMNS.items() if name in asked}
    return Wanted(_ON_A_PAGE, after or None, None, times, lists)


def _ids(entries: list[Json], asked: dict[str, str]) -> set[str]:
    ids = {asked[name] for name in ("actor", "project", "object") if name in asked}
    for entry in entries:
        project = (entry["project"] or {}).get("id")
        seen = (_actor_id(entry), entry[entry["type"]]["id"], project, entry["organization_id"])
        ids.update(each for each in seen if each)
    return ids


async def _actors(
    visitor: Visitor, asked: dict[str, str], names: dict[str, str], keys: KeyService, members: MemberService
) -> list[tuple[str, str]]:
    people = [(each["id"], each["name"]) for each in await members.list(visitor)]
    page = PageQuery(_MOST_CHOICES, None, True)
    found = (await keys.list_keys(visitor.principal, visitor.project_id, page)).data
    of_keys = [(each["id"], f"Key {each['name']}") for each in found]
    return _with_chosen([("", "Everybody"), *people, *of_keys], asked.get("actor"), names)


def _with_chosen(
    choices: list[tuple[str, str]], chosen: str | None, names: dict[str, str]
) -> list[tuple[str, str]]:
    if chosen is None or any(value == chosen for value, _ in choices):
        return choices
    return [*choices, (chosen, names.get(chosen, chosen))]


def _actor_id(entry: Json) -> str | None:
    actor = entry["actor"]
    if actor["type"] == "session":
        return str(actor["session"]["user"]["id"])
    return str(actor["api_key"]["id"]) if actor["type"] == "api_key" else None


def _shown(entry: Json, names: dict[str, str]) -> Json:
    actor, object_id = _actor_id(entry), entry[entry["type"]]["id"]
    project = (entry["project"] or {}).get("id")
    return {
        "id": entry["id"],
        "at": entry["effective_at"],
        "type": entry["type"],
        "what": words_of(entry["type"]),
        "actor_id": actor,
        "actor": "onereel itself" if actor is None else names.get(actor, actor),
        "operator": entry["actor"]["operator"],
        "ip_address": entry["actor"]["ip_address"],
        "object_id": object_id,
        "object": names.get(object_id) or name_in(entry),
        "project": None if project is None else names.get(project, project),
        "organization": names.get(entry["organization_id"] or "", entry["organization_id"]),
        "request_id": entry["request_id"],
        "differences": differences(entry),
    }
