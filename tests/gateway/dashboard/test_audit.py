"""The page of the audit log: who sees what, filters, differences, and the file."""

import ast
import csv
import io
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

import gateway
from gateway.dashboard.audit_words import TYPES, Difference, differences
from tests.gateway.dashboard.visits import Visit, visiting
from tests.gateway.live import settings_for


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    with visiting(settings_for(tmp_path_factory.mktemp("audit"))) as visit:
        visit.post("/keys/new", {"name": "first", "requests_per_minute": "5"})
        visit.operator.post("/v1/organizations", json={"name": "Elsewhere"})
        yield visit


@pytest.fixture(scope="module")
def admin(visit: Visit) -> Visit:
    return visit.member("admin")


def entries(page: str) -> str:
    return unescape(page).partition('<div id="entries"')[2]


def change_the_key(visit: Visit) -> str:
    found = visit.operator.get("/v1/organization/projects/proj_default/api_keys").json()["data"]
    key = next(each["id"] for each in found if each["name"] == "first")
    visit.post(f"/keys/{key}", {"name": "first", "scopes[]": ["videos.read"], "requests_per_minute": "9"})
    return str(key)


def test_a_change_is_told_with_names_and_what_it_was(visit: Visit) -> None:
    key = change_the_key(visit)
    shown = entries(visit.page(f"/audit?object={key}"))
    assert "API key changed" in shown
    assert re.search(r"requests per minute</dt><dd><del>5</del> <ins>9</ins>", shown)
    assert "Ada" in shown
    assert "Default" in shown
    assert "API key made" in shown


def test_filters_and_pages(visit: Visit) -> None:
    for n in range(55):
        visit.operator.post("/v1/organization/projects", json={"name": f"p{n}"})
    page = visit.page("/audit?event=project.created")
    assert "Project made" in entries(page)
    assert "API key made" not in entries(page)
    older = re.search(r'href="(/audit\?[^"]*after=[^"]+)"', page)
    assert older
    assert "event=project.created" in older[1]
    assert "p0" in entries(visit.page(unescape(older[1])))
    assert "operator key" in entries(visit.page("/audit?actor=key_operator"))
    assert "Nothing like that" in visit.page("/audit?since=2099-01-01")
    assert "Nothing like that" in visit.page("/audit?actor=user_nobody")
    assert "Project made" in entries(visit.page("/audit?until=2099-01-01&event="))
    visit.page("/audit?since=yesterday", 400)
    visit.page("/audit?after=audit_nothing", 400)


def test_only_operators_see_other_organizations(visit: Visit, admin: Visit) -> None:
    assert "Elsewhere" in visit.page("/audit?event=organization.created")
    seen = admin.page("/audit?event=organization.created")
    assert "Elsewhere" not in seen
    assert "Nothing like that" in seen
    told = visit.operator.get("/v1/organization/audit_logs?event_types=organization.created").json()
    admin.page(f"/audit?after={told['data'][0]['id']}", 400)
    assert "Elsewhere" not in admin.client.get("/audit/file").text
    for role in ("developer", "billing", "viewer"):
        member = visit.member(role)
        member.page("/audit", 403)
        member.page("/audit/file", 403)


def test_the_file_has_what_the_filters_let_through(visit: Visit) -> None:
    key = change_the_key(visit)
    answer = visit.client.get(f"/audit/file?object={key}")
    assert answer.headers["content-type"].startswith("text/csv")
    assert 'filename="audit-log.csv"' in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {row["type"] for row in rows} >= {"api_key.created", "api_key.updated"}
    assert {row["object_id"] for row in rows} == {key}
    assert all(row["actor_id"].startswith("user_") for row in rows)
    assert "requests_per_minute" in rows[-1]["after"]


def test_what_is_worth_reading_of_a_difference() -> None:
    made = {"type": "x.made", "x.made": {"id": "x", "data": {"id": "x", "models": None, "hard": True}}}
    assert differences(made) == [Difference("hard", None, "yes")]
    changed = {
        "type": "x.changed",
        "x.changed": {"id": "x", "before": {"expires_at": None}, "changes_requested": {"expires_at": 0}},
    }
    assert differences(changed) == [Difference("expires at", "none", "1970-01-01T00:00:00Z")]
    gone = {"type": "x.deleted", "x.deleted": {"id": "x", "before": {"scopes": ["a", "b"]}}}
    assert differences(gone) == [Difference("scopes", "a, b", None)]
    assert differences({"type": "x", "x": {"id": "x"}}) == []


def test_every_type_of_change_has_words() -> None:
    noted, texts = set(), set()
    for path in Path(gateway.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())) if path.name != "audit_words.py" else ():
            match node:
                case ast.Call(func=ast.Attribute(attr="note"), args=[_, ast.Constant(str(event)), *_]):
                    noted.add(event)
                case ast.Constant(str(text)):
                    texts.add(text)
    made_of_parts = {"project.archived", "project.updated"}
    assert len(noted) > 30
    assert noted <= set(TYPES)
    assert set(TYPES) <= texts | made_of_parts
