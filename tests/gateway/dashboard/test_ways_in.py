"""The ways in and out: first visit, invitations, passwords, sessions; and who is kept out."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import httpx
import pytest
from litestar.routes import HTTPRoute

from gateway.app import create_app
from gateway.cli_recover import recovery_link
from gateway.clock import Clock
from gateway.crypto import open_secret_box
from gateway.members.recovery import recovered_email, recovery_token
from gateway.members.sessions import IDLE_MS
from tests.gateway.dashboard.visits import PASSWORD, Visit, first_path, sign_up, visiting
from tests.gateway.live import live, settings_for

LINK = re.compile(r"(/invitations/[\w-]+)")


class Later(Clock):
    """A wall clock that can be put forward."""

    def __init__(self) -> None:
        super().__init__()
        self.by_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.by_ms


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    with visiting(settings_for(tmp_path_factory.mktemp("visit"))) as visit:
        yield visit


def fresh(visit: Visit) -> httpx.Client:
    return httpx.Client(base_url=visit.live.base_url, verify=False)


def link_in(text: str) -> str:
    return str(LINK.findall(unescape(text))[-1])


def test_the_first_visit_says_where_the_link_is_and_the_link_works_once(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with live(settings) as running, httpx.Client(base_url=running.base_url, verify=False) as client:
        assert "printed a link" in client.get("/login").text
        assert "Make the owner" in client.get(first_path(settings)).text
        sign_up(client, first_path(settings), "Owner@Example.com")
        assert "owner@example.com" in client.get("/account").text
        other = httpx.Client(base_url=running.base_url, verify=False)
        assert other.get(first_path(settings)).status_code == 404
        assert other.post(first_path(settings), data={"name": "x"}).status_code == 404
        assert "<form" in other.get("/login").text


def test_every_page_sends_strangers_to_the_sign_in_and_back(visit: Visit) -> None:
    with fresh(visit) as client:
        answer = client.get("/members?x=1")
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/members%3Fx%3D1")
        assert client.get("/members", headers={"X-Onereel": "fetch"}).status_code == 401
        signed = client.post(
            "/login", data={"email": "OWNER@example.com", "password": PASSWORD, "next": "/members"}
        )
        assert (signed.status_code, signed.headers["location"]) == (303, "/members")
        assert client.get("/members").status_code == 200


@pytest.mark.parametrize("there", ["https://evil.example/", "//evil.example", "/\\evil.example", "/\tx", "x"])
def test_nobody_is_led_elsewhere_after_signing_in(visit: Visit, there: str) -> None:
    with fresh(visit) as client:
        answer = client.post(
            "/login", data={"email": "owner@example.com", "password": PASSWORD, "next": there}
        )
        assert answer.headers["location"] == "/"


def test_a_wrong_password_and_an_unknown_account_read_the_same(visit: Visit) -> None:
    with fresh(visit) as client:
        told = [
            client.post("/login", data={"email": email, "password": "wrong"}, headers={"X-Onereel": "fetch"})
            for email in ("owner@example.com", "nobody@example.com")
        ]
    assert [each.status_code for each in told] == [400, 400]
    assert told[0].json() == told[1].json()


def test_guessing_passwords_is_slowed_down(visit: Visit) -> None:
    with fresh(visit) as client:
        answers = [
            client.post("/login", data={"email": "guessed@example.com", "password": str(n)})
            for n in range(12)
        ]
    assert [each.status_code for each in answers[:10]] == [400] * 10
    assert answers[11].status_code == 429
    assert 0 < int(answers[11].headers["retry-after"]) <= 60


def test_cookies_are_out_of_reach_and_pages_are_not_kept(visit: Visit) -> None:
    with fresh(visit) as client:
        answer = client.post("/login", data={"email": "owner@example.com", "password": PASSWORD})
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        page = client.get("/account")
    assert page.headers["cache-control"] == "no-store"
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_over_https_the_cookie_is_bound_to_the_host(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, public_url="https://video.example.com")
    with live(settings) as running, httpx.Client(base_url=running.base_url, verify=False) as client:
        fields = {"name": "A", "email": "a@example.com", "password": PASSWORD, "password_again": PASSWORD}
        cookie = client.post(first_path(settings), data=fields).headers["set-cookie"]
        session = cookie.partition(";")[0]
        client.cookies.clear()
        assert client.get("/account", headers={"cookie": session}).status_code == 200
        planted = session.removeprefix("__Host-")  # a name that a neighbour's site could set as well
        assert client.get("/account", headers={"cookie": planted}).status_code == 303
    assert session.startswith("__Host-onereel_session=")
    assert "secure" in cookie.lower()


def test_signing_out_ends_the_session_for_good(visit: Visit) -> None:
    member = visit.member("viewer", "leaves@example.com")
    cookies = dict(member.client.cookies)
    member.post("/logout")
    with fresh(visit) as client:
        client.cookies.update(cookies)
        assert client.get("/account").status_code == 303


def test_a_session_ends_when_it_is_not_used(tmp_path: Path) -> None:
    clock = Later()
    with visiting(settings_for(tmp_path), clock) as visit:
        clock.by_ms += IDLE_MS - 60_000
        visit.page("/account")  # used: begins anew
        clock.by_ms += IDLE_MS - 60_000
        visit.page("/account")
        clock.by_ms += IDLE_MS + 1
        visit.page("/account", 303)


def test_a_new_password_ends_all_other_sessions(visit: Visit) -> None:
    member = visit.member("viewer", "twice@example.com")
    with fresh(visit) as other:
        other.post("/login", data={"email": "twice@example.com", "password": PASSWORD})
        assert other.get("/account").status_code == 200
        fields = {"old_password": "not this one", "password": "another long one"}
        assert member.post("/account/password", fields, status=400).json()["error"]["param"] == "old_password"
        member.post("/account/password", {**fields, "old_password": PASSWORD})
        assert other.get("/account").status_code == 303
        assert member.page("/account")
        assert (
            other.post("/login", data={"email": "twice@example.com", "password": PASSWORD}).status_code == 400
        )


def test_an_invitation_for_an_address_is_for_nobody_else(visit: Visit) -> None:
    path = link_in(visit.post("/members/invitations", {"role": "viewer", "email": "Only@example.com"}).text)
    with fresh(visit) as client:
        fields = {"name": "B", "email": "other@example.com", "password": PASSWORD, "password_again": PASSWORD}
        refused = client.post(path, data=fields, headers={"X-Onereel": "fetch"})
        assert refused.json()["error"]["param"] == "email"
        sign_up(client, path, "only@example.com")
    with fresh(visit) as client:
        assert client.post(path, data=fields).status_code == 404  # used


def test_a_withdrawn_invitation_is_worthless(visit: Visit) -> None:
    path = link_in(visit.post("/members/invitations", {"role": "viewer"}).text)
    withdraw = re.findall(r"/members/invitations/inv_\w+/revoke", visit.page("/members"))
    for each in withdraw:
        visit.post(each)
    with fresh(visit) as client:
        assert client.get(path).status_code == 404


def test_a_member_who_lost_the_password_gets_a_link(visit: Visit) -> None:
    visit.member("viewer", "lost@example.com")
    member_id = re.search(
        r'lost@example.com</td>.*?/members/(user_\w+)/password"', visit.page("/members"), re.DOTALL
    )
    assert member_id
    path = link_in(visit.post(f"/members/{member_id[1]}/password").text)
    with fresh(visit) as client:
        fields = {"password": "a wholly new one", "password_again": "a wholly new one"}
        assert client.post(path, data=fields).status_code == 303
        assert "lost@example.com" in client.get("/account").text
    with fresh(visit) as client:
        assert client.post(path, data=fields).status_code == 404


def test_whoever_has_the_machine_gets_back_in(visit: Visit) -> None:
    visit.member("owner", "forgot@example.com")
    link = recovery_link(visit.live.settings, "Forgot@example.com")
    path = link[link.index("/invitations/") :]
    fields = {"password": "found again at last", "password_again": "found again at last"}
    with fresh(visit) as client:
        assert client.post(path[:-1] + ("0" if path[-1] != "0" else "1"), data=fields).status_code == 404
        assert client.post(path, data=fields).status_code == 303
        assert "forgot@example.com" in client.get("/account").text
    with fresh(visit) as client:
        assert client.post(path, data=fields).status_code == 404  # used
        stranger = recovery_link(visit.live.settings, "stranger@example.com")
        assert client.get(stranger[stranger.index("/invitations/") :]).status_code == 404


def test_a_way_back_is_over_after_an_hour(visit: Visit) -> None:
    box = open_secret_box(visit.live.settings)
    token = recovery_token(box, "owner@example.com", 1_000)
    assert recovered_email(box, token, 1_000 + 3_600_000) == "owner@example.com"
    assert recovered_email(box, token, 1_001 + 3_600_000) is None
    for broken in ("", "recover", "recover.x.y.z", token.replace("recover", "first"), token + "0"):
        assert recovered_email(box, broken, 1_000) is None


def test_short_or_differing_passwords_are_refused_at_the_field(visit: Visit) -> None:
    path = link_in(visit.post("/members/invitations", {"role": "viewer"}).text)
    with fresh(visit) as client:
        fields = {"name": "C", "email": "c@example.com", "password": "short", "password_again": "short"}
        headers = {"X-Onereel": "fetch"}
        assert client.post(path, data=fields, headers=headers).json()["error"]["param"] == "password"
        fields["password_again"] = "shorter"
        assert client.post(path, data=fields, headers=headers).json()["error"]["param"] == "password_again"


def test_forms_without_their_token_or_from_another_site_are_refused(visit: Visit) -> None:
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ):
        data = {"csrf": visit.csrf, "role": "viewer"}
        assert visit.client.post("/members/invitations", data=data, headers=headers).status_code == 403, (
            headers
        )
    for token in ("", "0" * 64, "ü"):
        data = {"csrf": token, "role": "viewer"}
        assert visit.client.post("/members/invitations", data=data).status_code == 403


def test_every_form_of_every_page_wants_the_token(visit: Visit) -> None:
    app = create_app(visit.live.settings)
    paths = [
        (route.path, handler)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if "POST" in handler.http_methods and not handler.resolve_include_in_schema()
    ]
    assert len(paths) > 10
    for path, handler in paths:
        concrete = re.sub(r"\{(\w+):\w+\}", r"\1", path)
        answer = visit.client.post(concrete, data={"csrf": "wrong"}, headers={"X-Onereel": "fetch"})
        assert answer.status_code == 403, f"{concrete} ({handler}) answered {answer.status_code}"
        assert answer.json()["error"]["code"] == "csrf", concrete


def test_the_api_takes_no_cookie_for_a_key(visit: Visit) -> None:
    assert visit.client.get("/v1/videos").status_code == 401


def test_a_path_that_leads_nowhere_is_a_page_for_browsers_alone(visit: Visit) -> None:
    browser = visit.client.get("/no/such/page", headers={"Accept": "text/html,*/*"})
    assert (browser.status_code, browser.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "no such page" in browser.text
    for path in ("/no/such/page", "/v1/nothing"):
        assert visit.client.get(path).json()["error"]["code"] == "unknown_path"


def test_what_people_do_stands_in_the_audit_log(visit: Visit) -> None:
    visit.post("/members/invitations", {"role": "billing", "email": "books@example.com"})
    entry = visit.operator.get("/v1/organization/audit_logs", params={"limit": 1}).json()["data"][0]
    assert entry["type"] == "invite.sent"
    assert entry["actor"]["type"] == "session"
    assert entry["actor"]["session"]["user"]["id"].startswith("user_")
    assert entry["actor"]["ip_address"] == "127.0.0.1"
    assert entry["invite.sent"]["data"] == {"email": "books@example.com", "role": "billing"}
    assert entry["request_id"].startswith("req_")
