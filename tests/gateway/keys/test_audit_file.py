"""The audit log as a file, and the names of what it speaks of, on both databases."""

import csv
import io

import pytest

from gateway.audit import service
from gateway.audit.service import AuditService, Wanted
from gateway.db import Database
from gateway.errors import BadRequest, Forbidden
from gateway.keys.forms import NameForm
from gateway.keys.service import DEFAULT_PROJECT, KeyService
from gateway.principal import Principal
from tests.gateway.keys.conftest import NewKey


async def read(audit: AuditService, who: Principal, wanted: Wanted) -> list[dict[str, str]]:
    text = "".join([part async for part in await audit.csv(who, wanted)])
    return list(csv.DictReader(io.StringIO(text)))


async def test_a_file_has_every_entry_once_and_the_newest_first(
    keys: KeyService, db: Database, operator: Principal, monkeypatch: pytest.MonkeyPatch
):
    for n in range(7):
        await keys.create_project(operator, NameForm(name=f"=p{n}"))
    monkeypatch.setattr(service, "_FILE_ENTRIES", 2)
    audit = AuditService(db)
    rows = await read(audit, operator, Wanted(lists={"type": ["project.created"]}))
    assert [f"p{n}" in row["after"] for n, row in zip(range(6, -1, -1), rows, strict=True)] == [True] * 7
    assert {row["actor_is_operator"] for row in rows} == {"true"}
    monkeypatch.setattr(service, "MOST_OF_A_FILE", 3)
    assert len(await read(audit, operator, Wanted(lists={"type": ["project.created"]}))) == 3
    with pytest.raises(BadRequest):
        await audit.csv(operator, Wanted(after="audit_nothing"))


async def test_a_file_and_names_end_at_the_organization(
    keys: KeyService, db: Database, operator: Principal, stranger: Principal, new_key: NewKey
):
    audit, made = AuditService(db), await new_key(name="ours")
    rows = await read(audit, stranger, Wanted())
    assert rows
    assert {row["organization_id"] for row in rows} == {stranger.organization_id}
    ids = [made["id"], DEFAULT_PROJECT, stranger.organization_id, stranger.project_id, "key_nobody"]
    assert await keys.names(stranger.organization_id, ids) == {
        stranger.organization_id: "Elsewhere",
        stranger.project_id: "Default",
    }
    assert (await keys.names(None, ids))[made["id"]] == "ours"
    await keys.revoke_key(operator, DEFAULT_PROJECT, made["id"])
    assert (await keys.names(None, ids))[made["id"]] == "ours"
    assert await keys.names(None, []) == {}
    with pytest.raises(Forbidden):
        await audit.csv(Principal("org_x", "proj_x", "key_x", frozenset()), Wanted())
