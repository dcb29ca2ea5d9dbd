"""Sign-in, roles and forbidden pages."""

import re

from playwright.sync_api import expect

from providers.testing import FakeUpstream
from tests.browser.conftest import NewPerson
from tests.browser.person import PASSWORD, Person, first_link
from tests.server import Server


def invite(owner: Person, role: str) -> str:
    """Invite somebody; the link."""
    page = owner.open("/members")
    page.get_by_role("button", name="Invite somebody").click()
    page.get_by_label("Role", exact=True).select_option(role)
    page.get_by_role("button", name="Make the link").click()
    owner.heading("Invitation")
    return str(page.locator("pre").inner_text()).strip()


def test_the_first_visit_makes_the_owner_and_signs_in(new_person: NewPerson, upstream: FakeUpstream) -> None:
    with Server(upstream=upstream) as server:
        person = new_person(server)
        person.open("/")
        expect(person.page.get_by_text("printed a link")).to_be_visible()
        assert not person.barriers()
        person.sign_up(first_link(server))
        assert person.page.get_by_role("link", name="Members").is_visible()
        person.page.get_by_label("Your account").click()
        person.page.get_by_role("button", name="Sign out").click()
        person.heading("Sign in")
        person.page.get_by_label("E-mail").fill("ada@example.com")
        person.page.get_by_label("Password").fill("wrong")
        person.page.get_by_role("button", name="Sign in").click()
        expect(person.page.get_by_role("alert")).to_contain_text("do not fit together")
        expect(person.page.get_by_label("E-mail")).to_have_value("ada@example.com")  # nothing typed is lost
        person.page.get_by_label("Password").fill(PASSWORD)
        person.page.get_by_role("button", name="Sign in").click()
        person.page.get_by_label("Your account").wait_for()


def test_a_viewer_finds_neither_the_pages_nor_the_buttons_of_others(
    owner: Person, new_person: NewPerson
) -> None:
    viewer = new_person()
    viewer.sign_up(invite(owner, "viewer"), "viewer@example.com", "Vera")
    navigation = viewer.page.get_by_role("navigation", name="Main")
    for hidden in ("Members", "API keys", "Billing", "Upstreams", "Playground"):
        assert navigation.get_by_role("link", name=hidden).count() == 0, hidden
    for path in ("/members", "/keys", "/billing", "/audit", "/operator/upstreams", "/projects"):
        viewer.open(path)
        viewer.heading("Not for your role")


def test_a_change_of_role_holds_from_the_next_page_on(owner: Person, new_person: NewPerson) -> None:
    other = new_person()
    other.sign_up(invite(owner, "viewer"), "later@example.com", "Lara")
    page = owner.open("/members")
    page.get_by_label("Role of Lara").select_option("admin")
    page.get_by_role("row", name=re.compile("Lara")).get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("changed")
    other.open("/members")
    other.heading("Members")
    row = page.get_by_role("row", name=re.compile("Lara"))
    row.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("row", name=re.compile("Lara"))).to_have_count(0)
    other.open("/members")
    other.heading("Sign in")
