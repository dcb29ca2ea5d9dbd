"""A newcomer with the bundled demo model: from the printed link to a video, its cost, and finding it again."""

import json
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import NewPerson
from tests.browser.person import PASSWORD, first_link
from tests.server import Server

WORKER = {"ONEREEL_LOCAL__ENABLED": "true"}
DARK = {"dark": True}
PHONE = {"width": 390, "height": 844, "phone": True, "scale": 2}
UHD = {"width": 3840, "height": 2160}


@pytest.fixture(scope="module")
def demo() -> Iterator[Server]:
    """A server as `make serve` starts it, with its worker."""
    with Server(env=WORKER) as running:
        running.wait_ready(120)
        yield running


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until something has the focus, as somebody without a mouse does."""
    wanted.first.wait_for()
    for _ in range(60):
        if wanted.first.evaluate("each => each === document.activeElement"):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"the keyboard does not reach {wanted}")


@pytest.mark.timeout(300)
def test_by_keyboard_alone_from_the_link_to_the_video(new_person: NewPerson, demo: Server) -> None:
    person = new_person(demo)
    page = person.open(first_link(demo))
    for name, text in (
        ("Your name", "Ada"),
        ("E-mail", "ada@example.com"),
        ("Password", PASSWORD),
        ("The same again", PASSWORD),
    ):
        tab_to(page, page.get_by_label(name))
        page.keyboard.type(text)
    page.keyboard.press("Enter")
    person.heading("Overview")
    assert not person.barriers()
    tab_to(page, page.get_by_role("link", name="Make your first video"))
    page.keyboard.press("Enter")
    person.heading("Playground")
    expect(page.locator("#price")).to_contain_text("onereel/demo")
    expect(page.locator("#price")).to_contain_text("$0.00")
    prompt = page.get_by_label("Prompt")
    prompt.focus()
    page.keyboard.type("a red circle moves left over a blue background")
    tab_to(page, page.get_by_role("button", name="Create"))
    page.keyboard.press("Enter")
    expect(page.locator(".run video")).to_have_count(1, timeout=120_000)  # live, without a reload
    assert not person.barriers()
    person.picture("playground")
    opened = page.get_by_role("link", name="Open").first
    opened.focus()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("captured")
    person.picture("video", whole=True)
    video_id = page.url.rsplit("/", 1)[1]
    page.get_by_role("link", name="Videos", exact=True).first.focus()
    page.keyboard.press("Enter")
    person.heading("Videos")
    page.get_by_label("Search prompts").focus()
    page.keyboard.type("circ red")
    expect(page.locator(f'a[href="/videos/{video_id}"]').first).to_be_visible()
    person.picture("videos")
    with urllib.request.urlopen(
        urllib.request.Request(
            f"{demo.api_url}/videos/{video_id}", headers={"Authorization": f"Bearer {demo.admin_key}"}
        )
    ) as answer:
        assert json.load(answer)["status"] == "completed"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "options"), [("dark", DARK), ("phone", PHONE), ("4k", UHD)], ids=["dark", "phone", "4k"]
)
def test_every_page_is_a_picture_without_barriers(
    new_person: NewPerson, server: Server, owner_state: list[object], name: str, options: dict[str, object]
) -> None:
    if not server.call("GET", "/v1/videos")["data"]:
        for prompt in ("a lighthouse at dusk", "a paper boat in the rain", "a fox in the snow"):
            server.call("POST", "/v1/videos", {"prompt": prompt, "model": "acme/fast", "seconds": "4"})
    person = new_person(**options)
    person.context.add_cookies(owner_state)  # type: ignore[arg-type]  # as the browser gave them
    for path, heading in (
        ("/", "Overview"),
        ("/playground", "Playground"),
        ("/videos", "Videos"),
        ("/models", "Models"),
        ("/members", "Members"),
        ("/budgets", "Budgets"),
        ("/account", "Account"),
        ("/operator/upstreams", "Upstreams"),
        ("/operator/workers", "Workers"),
        ("/operator/queue", "Queue"),
        ("/operator/unknown", "Unresolved"),
        ("/operator/reconciliation", "Reconciliation"),
        ("/operator/organizations", "Organizations"),
    ):
        person.open(path)
        person.heading(heading)
        assert not person.barriers()
        assert person.overflow() <= 0, path
        person.picture(f"{name}{path.replace('/', '-').rstrip('-') or '-overview'}")
