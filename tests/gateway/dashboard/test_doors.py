"""Every page there is, without naming one: who is let in, who is not, and what every answer says of itself."""

import re
from collections.abc import Iterator

import httpx
import pytest
from litestar import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from gateway.app import create_app
from gateway.members.roles import SCOPES, Role
from gateway.principal import Scope
from tests.gateway.dashboard.visits import Visit, visiting
from tests.gateway.live import settings_for

Doors = list[tuple[str, str, HTTPRouteHandler]]
FETCH = {"X-Onereel": "fetch"}
OTHER = ("/docs/api", "/metrics", "/health", "/openapi.json", "/v1/", "/assets", "/shared")


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    with visiting(settings_for(tmp_path_factory.mktemp("doors"))) as visit:
        yield visit


@pytest.fixture(scope="module")
def doors(visit: Visit) -> Doors:
    """Method, path with its parameters' names for values, and handler of every page."""
    found: Doors = [
        (str(method), re.sub(r"\{(\w+):\w+\}", r"\1", route.path), handler)
        for route in create_app(visit.live.settings).routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if isinstance(handler, HTTPRouteHandler) and not handler.resolve_include_in_schema()
        for method in sorted(handler.http_methods & {HttpMethod.GET, HttpMethod.POST})
        if not route.path.startswith(OTHER)
    ]
    assert len(found) > 15
    return found


def is_open(handler: HTTPRouteHandler) -> bool:
    return bool(handler.opt.get("open"))


def test_strangers_open_only_what_is_for_everybody(visit: Visit, doors: Doors) -> None:
    with httpx.Client(base_url=visit.live.base_url, verify=False) as stranger:
        for method, path, handler in doors:
            answer = stranger.request(method, path, headers=FETCH, data={} if method == "POST" else None)
            expected = answer.status_code != 401 if is_open(handler) else answer.status_code == 401
            assert expected, f"{method} {path} answered {answer.status_code}"


def test_the_open_doors_are_the_few_that_have_to_be(doors: Doors) -> None:
    known = {"/login", "/logout", "/invitations/token", "/login/oidc", "/login/oidc/callback"}
    known |= {"/docs", "/docs/errors", "/docs/webhooks"}
    assert {path for _, path, handler in doors if is_open(handler)} <= known


@pytest.mark.parametrize("role", [Role.ADMIN, Role.DEVELOPER, Role.BILLING, Role.VIEWER])
def test_a_role_opens_no_page_beyond_its_scopes(visit: Visit, doors: Doors, role: Role) -> None:
    member = visit.member(role, f"doors-{role}@example.com")
    closed = [
        (method, path)
        for method, path, handler in doors
        if (scope := handler.opt.get("scope")) is not None and Scope(scope) not in SCOPES[role]
    ]
    for method, path in closed:
        data = {"csrf": member.csrf} if method == "POST" else None
        answer = member.client.request(method, path, headers=FETCH, data=data)
        assert answer.status_code == 403, f"{role}: {method} {path} answered {answer.status_code}"
        assert answer.json()["error"]["code"] == "missing_scope", path


def test_no_page_is_kept_by_anybody_or_framed(visit: Visit, doors: Doors) -> None:
    for method, path, _ in doors:
        if method != "GET":
            continue
        answer = visit.client.get(path, headers={"Accept": "text/html"})
        assert answer.status_code < 500, f"{path} answered {answer.status_code}"
        if answer.headers.get("content-type", "").startswith("text/html"):
            policy = answer.headers["content-security-policy"]
            assert "unsafe" not in policy, path
            assert "frame-ancestors 'none'" in policy, path
            assert answer.headers["cache-control"] == "no-store", path
            assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=", answer.text), path
