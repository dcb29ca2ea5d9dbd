"""The playground, models and docs as a person uses them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from providers.testing import FakeUpstream
from tests.browser.conftest import NewPerson
from tests.browser.person import Person
from tests.gateway.media_files import make_image
from tests.server import MODEL, Server, upstream_table

SECOND = "acme/second"
RICH = 'parameters = ["seed", "negative_prompt"]'
REFERENCES = 'roles = ["reference"]\nmax_reference_images = 3'


@pytest.fixture(scope="module")
def server(upstream: FakeUpstream) -> Iterator[Server]:
    second = upstream_table(upstream.base_url, name="other", model=SECOND, extra=REFERENCES)
    with Server(upstream=upstream, config=second) as running:
        yield running


def test_two_models_side_by_side_with_the_price_before(owner: Person) -> None:
    page = owner.open(f"/playground?model={MODEL}")
    price = page.locator("#price")
    expect(price).to_contain_text("$0.40")
    page.get_by_label("Prompt").fill("a fox in the snow")
    page.get_by_label("Length").select_option("8")
    expect(price).to_contain_text("$0.80")
    page.get_by_role("checkbox", name=SECOND).check()
    expect(price).to_contain_text("$1.60")
    expect(page.get_by_label("Prompt")).to_have_value("a fox in the snow")
    expect(page.get_by_label("Length")).to_have_value("8")
    expect(page.locator("[data-drop=reference_images]")).to_contain_text(f"Only for {SECOND}.")
    assert not owner.barriers()
    page.get_by_role("button", name="Create", exact=True).click()
    page.wait_for_url(re.compile(r"\?run=video_"))
    runs = page.locator(".run")
    expect(runs).to_have_count(2)
    expect(runs.locator("video")).to_have_count(2)  # without a reload
    expect(runs.first).to_contain_text("$0.80")
    expect(page.get_by_label("Prompt")).to_have_value("a fox in the snow")
    assert not owner.barriers()
    assert owner.overflow() <= 0
    page.reload()
    expect(page.locator(".run")).to_have_count(2)
    owner.picture("playground-compare", whole=True)


def test_an_image_is_chosen_shown_removed_and_sent(owner: Person, tmp_path: Path) -> None:
    picture = tmp_path / "fox.png"
    picture.write_bytes(make_image("png", (720, 1280)))
    page = owner.open(f"/playground?model={MODEL}")
    page.get_by_label("Prompt").fill("the fox turns its head")
    drop = page.locator("[data-drop=input_reference]")
    drop.locator("input[type=file]").set_input_files(picture)
    expect(drop.locator("img")).to_be_visible()
    drop.get_by_role("button", name="Remove fox.png").click()
    expect(drop.locator("img")).to_have_count(0)
    drop.locator("input[type=file]").set_input_files(picture)
    expect(drop.locator("img")).to_be_visible()
    page.get_by_role("button", name="Create", exact=True).click()
    page.wait_for_url(re.compile(r"\?run=video_"))
    expect(page.locator(".run video")).to_be_visible()
    page.get_by_role("button", name="Use this frame").click()
    expect(page.locator("[data-drop=input_reference] img")).to_be_visible()


def test_what_is_refused_is_said_at_its_field(owner: Person) -> None:
    page = owner.open(f"/playground?model={MODEL}")
    page.get_by_label("Prompt").fill("a fox")
    page.get_by_text("More", exact=True).click()
    options = page.get_by_label("Options of the provider, as JSON")
    options.fill('{"nonsense')
    page.get_by_role("button", name="Create", exact=True).click()
    expect(options).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Prompt")).to_have_value("a fox")
    options.fill("")
    expect(page.locator("#price")).to_contain_text("$0.40")


def test_models_are_found_and_tried(owner: Person) -> None:
    page = owner.open("/models")
    assert not owner.barriers()
    page.get_by_label("Search").fill("second")
    expect(page.locator("#found article")).to_have_count(1)
    page.get_by_role("link", name=SECOND, exact=True).click()
    owner.heading(SECOND)
    assert not owner.barriers()
    assert owner.overflow() <= 0
    page.get_by_role("link", name="Try it").click()
    owner.heading("Playground")
    expect(page.get_by_role("checkbox", name=SECOND)).to_be_checked()


def test_the_quickstart_makes_a_key_and_has_tabs(owner: Person, new_person: NewPerson) -> None:
    stranger = new_person()
    page = stranger.open("/docs")
    stranger.heading("Quickstart")
    page.get_by_role("tab", name="Python").click()
    expect(page.get_by_role("tabpanel", name="Python")).to_contain_text("from openai import OpenAI")
    for path in ("/docs", "/docs/errors", "/docs/webhooks"):
        stranger.open(path)
        assert not stranger.barriers(), path
        assert stranger.overflow() <= 0, path
    stranger.open("/docs/api")
    expect(stranger.page.locator(".opblock").first).to_be_visible()
    page = owner.open("/docs")
    page.get_by_role("button", name="Make a key and put it in").click()
    expect(page.get_by_text("shown only this once")).to_be_visible()
    assert not owner.barriers()


def test_everything_fits_on_a_phone_in_the_dark(new_person: NewPerson, owner_state: list[object]) -> None:
    person = new_person(width=390, height=844, phone=True, dark=True)
    person.context.add_cookies(owner_state)  # type: ignore[arg-type]  # they came from there
    for path, name in (
        ("/playground", "playground"),
        ("/models", "models"),
        (f"/models/{MODEL}", "model"),
        ("/docs", "docs"),
    ):
        person.open(path)
        person.picture(f"phone-{name}", whole=True)
        assert person.overflow() <= 0, path
        assert not person.barriers(), path
