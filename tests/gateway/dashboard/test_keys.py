"""The pages of API keys."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import httpx
import pytest

from tests.gateway.dashboard.visits import Visit, visiting
from tests.gateway.live import settings_for

KEY = re.compile(r"onereel_[\w-]{30,}")


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    with visiting(settings_for(tmp_path_factory.mktemp("keys"))) as visit:
        yield visit


@pytest.fixture(scope="module")
def developer(visit: Visit) -> Visit:
    return visit.member("developer")


def api_keys(visit: Visit, project: str = "proj_default") -> dict[str, Any]:
    found = visit.operator.get(f"/v1/organization/projects/{project}/api_keys?limit=100").json()["data"]
    return {key["name"]: key for key in found}


def test_a_key_is_made_shown_once_used_and_revoked(visit: Visit) -> None:
    form = visit.page("/keys/new")
    assert "Make videos" in form
    assert "Operate this installation" in form
    made = visit.post(
        "/keys/new",
        {
            "name": "shop <b>",
            "scopes[]": ["videos.read", "videos.write"],
            "models[]": ["demo"],
            "requests_per_minute": "60",
            "expires_at": "2099-12-31",
            "budget[amount_usd]": "25.00",
            "budget[period]": "month",
            "budget[hard]": "true",
        },
    )
    page = unescape(made.text)
    value = KEY.search(page)
    assert value
    assert f'curl {visit.live.base_url}/v1/videos -H "Authorization: Bearer {value[0]}"' in page
    assert '{"model": "demo"' in page
    listing = visit.page("/keys")
    assert value[0] not in listing
    assert "shop &lt;b&gt;" in listing
    assert "60 requests a minute" in listing
    assert "$0.00 of $25.00" in listing
    key = api_keys(visit)["shop <b>"]
    assert (key["scopes"], key["models"]) == (["videos.read", "videos.write"], ["demo"])
    assert key["expires_at"] == 4102444799
    headers = {"Authorization": f"Bearer {value[0]}"}
    assert httpx.get(f"{visit.live.base_url}/v1/models", headers=headers).status_code == 200
    assert "Owner" not in listing
    visit.post(f"/keys/{key['id']}/revoke")
    assert "shop" not in visit.page("/keys").partition("</h1>")[2]
    assert httpx.get(f"{visit.live.base_url}/v1/models", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "x", "requests_per_minute": "many"}, "requests_per_minute"),
        ({"name": "x", "expires_at": "tomorrow"}, "expires_at"),
        ({"name": "x", "expires_at": "2001-01-01"}, "expires_at"),
        ({"name": "x", "scopes[]": ["everything"]}, "scopes"),
        ({"name": "x", "budget[amount_usd]": "much"}, "budget[amount_usd]"),
        ({"name": "x", "color": "red"}, "color"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(visit: Visit, fields: dict[str, Any], param: str) -> None:
    told = visit.post("/keys/new", fields, status=400).json()["error"]
    assert told["param"].startswith(param.partition("[")[0])
    assert "x" not in api_keys(visit)


def test_a_change_lifts_what_was_left_empty(visit: Visit) -> None:
    visit.post("/keys/new", {"name": "old", "models[]": ["a-model-of-yesterday"], "concurrent_videos": "2"})
    key = api_keys(visit)["old"]
    form = visit.page(f"/keys/{key['id']}")
    assert re.search(r'value="a-model-of-yesterday" checked', form)
    assert re.search(r'name="concurrent_videos"[^>]* value="2"', form)
    visit.post(f"/keys/{key['id']}", {"name": "new", "scopes[]": ["videos.read"], "requests_per_minute": "5"})
    changed = api_keys(visit)["new"]
    assert changed["id"] == key["id"]
    assert (changed["scopes"], changed["models"]) == (["videos.read"], None)
    assert (changed["requests_per_minute"], changed["concurrent_videos"]) == (5, None)
    told = visit.post(f"/keys/{key['id']}", {"name": "new"}, status=400).json()["error"]
    assert told["param"] == "scopes"


def test_developers_have_keys_of_their_own(visit: Visit, developer: Visit) -> None:
    visit.post("/keys/new", {"name": "of the owner"})
    foreign = api_keys(visit)["of the owner"]["id"]
    assert "of the owner" not in developer.page("/keys")
    form = developer.page("/keys/new")
    assert "Manage webhooks" in form
    assert "See the books" not in form
    developer.post("/keys/new", {"name": "own", "scopes[]": ["videos.read", "webhooks"]})
    own = api_keys(visit)["own"]["id"]
    listing = developer.page("/keys")
    assert "own" in listing
    assert f'href="/keys/{own}"' not in listing
    assert "Developer" in visit.page("/keys")
    told = developer.post("/keys/new", {"name": "x", "scopes[]": ["organization"]}, status=403)
    assert told.json()["error"]["param"] == "scopes"
    developer.page(f"/keys/{own}", 403)
    developer.post(f"/keys/{own}", {"name": "x", "scopes[]": ["videos.read"]}, status=403)
    developer.post(f"/keys/{foreign}/revoke", status=404)
    developer.post(f"/keys/{own}/revoke")
    assert "own" not in api_keys(visit)


def test_the_keys_of_another_organization_do_not_exist(visit: Visit) -> None:
    """Nor for its administrators, who see all of their own."""
    operator = visit.operator
    made = operator.post("/v1/organizations", json={"name": "Elsewhere"}).json()
    there = {"X-Onereel-Project": made["default_project_id"]}
    path = f"/v1/organization/projects/{made['default_project_id']}/api_keys"
    key = operator.post(path, json={"name": "theirs"}, headers=there).json()["id"]
    admin = visit.member("admin")
    for each in (visit, admin):
        each.page(f"/keys/{key}", 404)
        each.post(f"/keys/{key}", {"name": "x", "scopes[]": ["videos.read"]}, status=404)
        each.post(f"/keys/{key}/revoke", status=404)
        each.page(f"/keys?after={key}", 400)
    assert operator.get(path, headers=there).json()["data"][0]["name"] == "theirs"


def test_keys_outlive_the_membership_of_who_made_them(visit: Visit) -> None:
    maker = visit.member("developer", "leaving@example.com")
    page = unescape(maker.post("/keys/new", {"name": "left behind"}).text)
    value = KEY.search(page)
    assert value
    headers = {"Authorization": f"Bearer {value[0]}"}
    person = api_keys(visit)["left behind"]["created_by"]
    assert person.startswith("user_")
    visit.post(f"/members/{person}/role", {"role": "viewer"})
    maker.page("/keys", 403)
    visit.post(f"/members/{person}/remove")
    assert httpx.get(f"{visit.live.base_url}/v1/videos", headers=headers).status_code == 200
    row = visit.page("/keys").partition("left behind")[2].partition("</tr>")[0]
    assert "Developer" in row
    visit.post(f"/keys/{api_keys(visit)['left behind']['id']}/revoke")
    assert httpx.get(f"{visit.live.base_url}/v1/videos", headers=headers).status_code == 401
