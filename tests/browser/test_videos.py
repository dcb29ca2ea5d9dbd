"""Videos as people find, watch, follow, repeat and share them."""

import re
import time
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPerson
from tests.browser.person import Person
from tests.server import ADMIN_KEY, MODEL, Server

ENDED = ("completed", "failed")


def create(server: Server, prompt: str, **fields: Any) -> str:
    with httpx.Client(base_url=server.base_url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}) as client:
        body = {"model": MODEL, "prompt": prompt, "seconds": "4", **fields}
        answer = client.post("/v1/videos", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])


def finished(server: Server, prompt: str, **fields: Any) -> str:
    video_id = create(server, prompt, **fields)
    with httpx.Client(base_url=server.base_url, headers={"Authorization": f"Bearer {ADMIN_KEY}"}) as client:
        deadline = time.monotonic() + 60
        while client.get(f"/v1/videos/{video_id}").json()["status"] not in ENDED:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    return video_id


@pytest.fixture(scope="module")
def video(server: Server) -> str:
    return finished(server, "A red fox in the snow")


def never_reloaded(page: Page) -> None:
    page.evaluate("window.sameDocument = true")


def is_same_document(page: Page) -> bool:
    return bool(page.evaluate("window.sameDocument === true"))


def test_a_video_is_found_while_one_types_and_previewed(owner: Person, server: Server, video: str) -> None:
    finished(server, "A lighthouse at night")
    page = owner.open("/videos")
    never_reloaded(page)
    page.get_by_label("Search prompts").fill("sno")
    expect(page.locator(".tile")).to_have_count(1)
    assert "q=sno" in page.url
    expect(page.get_by_label("Search prompts")).to_be_focused()
    sheets: list[str] = []
    page.on("request", lambda asked: sheets.append(asked.url) if "spritesheet" in asked.url else None)
    assert not sheets
    page.locator(".tile a").hover()
    expect(page.locator(".tile canvas")).to_be_visible()
    assert len(sheets) == 1
    page.get_by_label("Search prompts").hover()
    expect(page.locator(".tile canvas")).to_have_count(0)
    page.get_by_label("Search prompts").fill("zebra")
    expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()
    assert is_same_document(page)
    page.get_by_role("link", name="Show all videos").click()
    expect(page.locator(f'a[href="/videos/{video}"]')).to_be_visible()
    assert not owner.barriers()
    assert owner.overflow() <= 0


def test_pages_are_turned_by_the_keyboard(owner: Person, server: Server) -> None:
    for _ in range(3):
        create(server, "many of a kind", n=10)
    page = owner.open("/videos?q=kind")
    never_reloaded(page)
    expect(page.locator(".tile")).to_have_count(24)
    page.get_by_role("link", name="Older").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".tile")).to_have_count(6)
    expect(page.locator(".tile a").first).to_be_focused()
    assert is_same_document(page)
    page.get_by_role("link", name="Newest").click()
    expect(page.locator(".tile")).to_have_count(24)


def test_a_video_is_followed_to_its_end_without_reload(owner: Person, server: Server) -> None:
    page = owner.open(f"/videos/{create(server, 'slowly now [fault:slow]')}")
    never_reloaded(page)
    expect(page.get_by_role("status")).to_contain_text("%")
    assert page.get_by_role("button", name="Cancel", exact=True).is_visible()
    expect(page.locator("video")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("button", name="Remix", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)
    assert is_same_document(page)
    duration = page.locator("video").evaluate(
        "async (video) => { while (!(video.readyState > 0)) await new Promise((go) => setTimeout(go, 50)); return video.duration; }"
    )
    assert duration > 3


def test_a_remix_is_made_in_a_dialog(owner: Person, video: str) -> None:
    page = owner.open(f"/videos/{video}")
    page.get_by_role("button", name="Remix", exact=True).click()
    dialog = page.get_by_role("dialog", name="Remix")
    expect(dialog.get_by_label("Prompt")).to_have_value("A red fox in the snow")
    dialog.get_by_label("Prompt").fill("The fox, at night")
    dialog.get_by_role("button", name="Remix").click()
    expect(page.get_by_text("The fox, at night").first).to_be_visible()
    expect(page.get_by_role("link", name=video)).to_be_visible()


def test_the_page_of_a_video_has_no_barriers(
    owner: Person, new_person: NewPerson, owner_state: list[Any], video: str
) -> None:
    page = owner.open(f"/videos/{video}")
    page.get_by_role("tab", name="Python").click()
    expect(page.get_by_text("from openai import OpenAI")).to_be_visible()
    assert not owner.barriers()
    owner.picture("video", whole=True)
    for options in ({"dark": True}, {"width": 390, "height": 844, "phone": True}):
        other = new_person(**options)
        other.context.add_cookies(owner_state)
        for path in ("/videos", f"/videos/{video}"):
            other.open(path)
            assert not other.barriers()
            assert other.overflow() <= 0


def test_a_link_is_shared_and_withdrawn(owner: Person, new_person: NewPerson, video: str) -> None:
    page = owner.open(f"/videos/{video}")
    page.get_by_role("button", name="Share", exact=True).click()
    page.get_by_role("button", name="Make the link").click()
    owner.heading("Public link")
    link = page.locator("pre").inner_text().strip()
    stranger = new_person()
    shown = stranger.open(link)
    expect(shown.locator("video")).to_be_visible()
    assert "fox" not in shown.content()
    assert not stranger.barriers()
    page.get_by_role("link", name="Back to the video").click()
    page.get_by_role("button", name="Withdraw").click()
    expect(page.get_by_role("button", name="Withdraw")).to_have_count(0)
    stranger.open(link)
    stranger.heading("Not found")


def test_deleting_asks_first(owner: Person, server: Server) -> None:
    video_id = finished(server, "soon gone")
    page = owner.open(f"/videos/{video_id}")
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page).to_have_url(re.compile(video_id))
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("dialog").get_by_role("button").first.click()
    expect(page.get_by_text("The video was deleted.")).to_be_visible()
    assert video_id not in page.content()
