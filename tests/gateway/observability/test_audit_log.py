"""Every administrative change leaves a note, with the change or not at all, for those whom it concerns."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import select

from gateway.audit.notes import Of, caller, differing
from gateway.audit.tables import audit_log
from gateway.crypto import new_key
from gateway.db import Database
from gateway.keys.service import DEFAULT_ORGANIZATION, DEFAULT_PROJECT, operator_principal
from providers.testing import FakeUpstream
from tests.gateway.live import Live, live, settings_for
from tests.gateway.observability.test_tracing import create, until, upstream

LOGS = "/v1/organization/audit_logs"
KEYS = f"/v1/organization/projects/{DEFAULT_PROJECT}/api_keys"


@pytest.fixture
def gateway(database_url: str, tmp_path: Path) -> Iterator[Live]:
    with FakeUpstream(poll_after_ms=50) as fake:
        settings = settings_for(
            tmp_path,
            database_url=database_url,
            security={"encryption_keys": [new_key()], "allowed_private_hosts": [f"127.0.0.1:{fake.port}"]},
            upstreams=[upstream(fake.base_url)],
        )
        with live(settings) as it:
            yield it


def done(client: httpx.Client, method: str, path: str, **body: Any) -> Any:
    answer = client.request(method, path, json=body or None)
    assert answer.status_code == 200, answer.text
    return answer.json()


def entries(client: httpx.Client, **asked: Any) -> list[dict[str, Any]]:
    answer = client.get(LOGS, params={"limit": 100, **asked})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


def test_every_change_is_noted_once(gateway: Live) -> None:
    with gateway.client() as client:
        organization = done(client, "POST", "/v1/organizations", name="Acme")
        done(
            client,
            "POST",
            f"/v1/organizations/{organization['id']}",
            billing_mode="prepaid",
            plan="unlimited",
        )
        done(
            client,
            "POST",
            "/v1/billing/credits",
            amount_usd="25",
            reason="hello",
            organization=organization["id"],
        )
        project = done(client, "POST", "/v1/organization/projects", name="one")
        done(client, "POST", f"/v1/organization/projects/{project['id']}", name="two")
        done(client, "POST", f"/v1/organization/projects/{project['id']}/archive")
        made = client.post(KEYS, json={"name": "shop", "scopes": ["videos.read", "organization"]})
        key = made.json()
        done(client, "POST", f"{KEYS}/{key['id']}", name="shop 2", requests_per_minute=5)
        budget = done(
            client,
            "POST",
            "/v1/billing/budgets",
            scope="organization",
            period="month",
            amount_usd="10",
            hard=True,
        )
        done(client, "POST", f"/v1/billing/budgets/{budget['id']}", amount_usd="20")
        done(client, "DELETE", f"/v1/billing/budgets/{budget['id']}")
        table = upstream(gateway.settings.upstreams[0].base_url)
        models = [{**table["models"][0], "id": "other/fast"}]
        done(client, "POST", "/v1/upstreams", **{**table, "name": "other", "models": models})
        done(client, "POST", "/v1/upstreams/other", max_concurrent=3)
        done(client, "POST", "/v1/upstreams/other/rotate", api_key="sk-new-and-secret")
        done(client, "POST", "/v1/upstreams/other/pause", reason="maintenance")
        done(client, "POST", "/v1/upstreams/other/resume")
        done(client, "DELETE", "/v1/upstreams/other")
        hook = f"http://127.0.0.1:{gateway.settings.security.allowed_private_hosts[0].partition(':')[2]}/hook?token=hush"
        endpoint = done(
            client, "POST", "/v1/webhook_endpoints", name="a", url=hook, event_types=["video.completed"]
        )
        done(client, "POST", f"/v1/webhook_endpoints/{endpoint['id']}", name="b")
        done(client, "POST", f"/v1/webhook_endpoints/{endpoint['id']}/rotate_secret")
        done(client, "DELETE", f"/v1/webhook_endpoints/{endpoint['id']}")
        video = create(client).json()["id"]
        until(client, video, "completed")
        done(client, "DELETE", f"/v1/videos/{video}")
        found = entries(client)
        done(client, "DELETE", f"{KEYS}/{key['id']}")
        assert entries(client)[0]["type"] == "api_key.deleted"
    assert [entry["type"] for entry in reversed(found)] == [
        "organization.created",
        "organization.updated",
        "credit.granted",
        "project.created",
        "project.updated",
        "project.archived",
        "api_key.created",
        "api_key.updated",
        "budget.created",
        "budget.updated",
        "budget.deleted",
        "upstream.created",
        "upstream.updated",
        "upstream.rotated",
        "upstream.paused",
        "upstream.resumed",
        "upstream.deleted",
        "webhook_endpoint.created",
        "webhook_endpoint.updated",
        "webhook_endpoint.secret_rotated",
        "webhook_endpoint.deleted",
        "video.deleted",
    ]
    by_type = {entry["type"]: entry for entry in found}
    of_key = by_type["api_key.created"]
    assert of_key["actor"]["api_key"]["service_account"] == {"id": "key_operator"}
    assert (of_key["actor"]["operator"], of_key["actor"]["ip_address"]) == (True, "127.0.0.1")
    assert of_key["request_id"] == made.headers["x-request-id"]
    assert of_key["project"] == {"id": DEFAULT_PROJECT}
    assert of_key["api_key.created"]["id"] == key["id"]
    assert of_key["api_key.created"]["data"]["scopes"] == ["organization", "videos.read"]
    changed = by_type["api_key.updated"]["api_key.updated"]
    assert changed["before"] == {"name": "shop", "requests_per_minute": None}
    assert changed["changes_requested"] == {"name": "shop 2", "requests_per_minute": 5}
    budgets = by_type["budget.updated"]["budget.updated"]
    assert (budgets["before"], budgets["changes_requested"]) == (
        {"amount": "10.000000"},
        {"amount": "20.000000"},
    )
    assert by_type["credit.granted"]["organization_id"] == organization["id"]
    assert by_type["upstream.paused"]["organization_id"] is None
    text = json.dumps(found)
    for secret in (
        key["value"],
        "sk-upstream",
        "sk-new-and-secret",
        endpoint["signing_secret"],
        "hush",
        "secret lighthouse",
    ):
        assert secret not in text


def test_only_what_concerns_the_caller_is_shown_page_by_page(gateway: Live) -> None:
    with gateway.client() as client:
        organization = done(client, "POST", "/v1/organizations", name="Elsewhere")
        for n in range(5):
            done(client, "POST", "/v1/organization/projects", name=f"p{n}")
        key = done(client, "POST", KEYS, name="admin", scopes=["organization"])
        reader = done(client, "POST", KEYS, name="reader", scopes=["videos.read"])
        everything = entries(client)
        assert {entry["organization_id"] for entry in everything} == {
            DEFAULT_ORGANIZATION,
            organization["id"],
        }
    headers = {"Authorization": f"Bearer {key['value']}"}
    with httpx.Client(base_url=gateway.base_url, headers=headers) as client:
        ours = entries(client)
        assert ours == [entry for entry in everything if entry["organization_id"] == DEFAULT_ORGANIZATION]
        pages, after = [], None
        while True:
            asked = {"limit": "3", **({"after": after} if after else {})}
            page = client.get(LOGS, params=asked).json()
            pages += page["data"]
            after = page["last_id"]
            if not page["has_more"]:
                break
        assert pages == ours
        back = client.get(LOGS, params={"limit": "2", "before": ours[4]["id"]}).json()
        assert (back["data"], back["has_more"]) == (ours[2:4], True)
        assert entries(client, event_types="project.created") == [
            e for e in ours if e["type"] == "project.created"
        ]
        assert entries(client, **{"event_types[]": "api_key.created"}, resource_ids=key["id"])[0]["id"] in {
            entry["id"] for entry in ours
        }
        first, last = ours[-1]["effective_at"], ours[0]["effective_at"]
        assert entries(client, **{"effective_at[gte]": first, "effective_at[lte]": last}) == ours
        assert entries(client, **{"effective_at[gt]": last}) == []
        assert entries(client, **{"effective_at[lt]": first}) == []
        foreign = next(entry for entry in everything if entry["organization_id"] != DEFAULT_ORGANIZATION)
        refused = client.get(LOGS, params={"after": foreign["id"]})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "after")
        assert client.get(LOGS, params={"effective_at[gte]": "soon"}).status_code == 400
    with openai.OpenAI(base_url=f"{gateway.base_url}/v1", admin_api_key=key["value"], api_key="none") as sdk:
        logs = sdk.admin.organization.audit_logs
        assert [entry.id for entry in logs.list(limit=2)] == [entry["id"] for entry in ours]
        of_keys = logs.list(event_types=["api_key.created"], effective_at={"gte": first, "lt": last + 1})
        (made,) = [
            entry for entry in of_keys if entry.api_key_created and entry.api_key_created.id == key["id"]
        ]
        assert made.api_key_created is not None
        assert made.api_key_created.data is not None
        assert made.api_key_created.data.scopes == ["organization"]
        assert made.actor is not None
        assert made.actor.api_key is not None
        assert made.actor.api_key.type == "service_account"
    with httpx.Client(
        base_url=gateway.base_url, headers={"Authorization": f"Bearer {reader['value']}"}
    ) as client:
        assert client.get(LOGS).status_code == 403


async def test_a_change_that_is_undone_leaves_no_note(db: Database) -> None:
    def write(conn: Any) -> None:
        caller(operator_principal()).note(conn, "project.created", "proj_1", Of("org_1"), after={"name": "x"})
        raise RuntimeError("undone")

    with pytest.raises(RuntimeError):
        await db.write(write)
    assert await db.read(lambda conn: conn.execute(select(audit_log)).all()) == []


def test_what_is_kept_of_a_change() -> None:
    before = {"name": "a", "api_key": "sk-old", "models": ["m"] * 500, "object": "x", "same": 1}
    after = {"name": "b", "api_key": "sk-new", "models": ["n"] * 500, "object": "y", "same": 1}
    was, now = differing(before, after)
    assert was is not None
    assert now is not None
    assert (was["name"], now["name"]) == ("a", "b")
    assert "api_key" not in now
    assert now["models"]["bytes"] > 1000
    assert was["models"]["sha256"] != now["models"]["sha256"]
    assert set(now) == {"name", "models"}
    assert differing(None, {"token": "t"}) == (None, {"token": "[hidden]"})
    assert caller().key_id is None
