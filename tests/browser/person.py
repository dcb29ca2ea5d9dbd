"""Somebody in front of a browser, watched: what the console complains of, and where the browser wants to go."""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.server import Server

PASSWORD: Final = "a good long password"
OUT: Final = Path(__file__).parents[2] / "out" / "browser"
_LINK: Final = re.compile(r"(http://\S+/invitations/\S+)")
_REFUSED: Final = "Failed to load resource"
_SERIOUS: Final = ("serious", "critical")


@dataclass
class Person:
    """One browser. `complaints` are what no page may cause: errors of the console, requests to other hosts."""

    context: BrowserContext
    server: Server
    page: Page
    complaints: list[str] = field(default_factory=list)
    elsewhere: set[str] = field(default_factory=set)

    @classmethod
    def at(cls, context: BrowserContext, server: Server) -> "Person":
        """Sit down."""
        person = cls(context, server, context.pages[0])
        context.on("console", person._heard)
        context.on("request", person._asked)
        person.page.on("pageerror", lambda error: person.complaints.append(f"error: {error}"))
        return person

    def open(self, path: str) -> Page:
        """Open a page of the server, or one of its links."""
        address = path if "://" in path else f"{self.server.base_url}{path}"
        self.page.goto(address)
        return self.page

    def sign_up(self, link: str, email: str = "ada@example.com", name: str = "Ada Lovelace") -> None:
        """Make the account that a link is for, as a person does."""
        page = self.open(link)
        page.get_by_label("Your name").fill(name)
        if page.get_by_label("E-mail").is_editable():
            page.get_by_label("E-mail").fill(email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_label("The same again").fill(PASSWORD)
        page.get_by_role("button", name="Make the account").click()
        page.get_by_label("Your account").wait_for()

    def heading(self, text: str) -> None:
        """Wait for a page by its title."""
        self.page.get_by_role("heading", level=1, name=text, exact=True).wait_for()

    def picture(self, name: str, *, whole: bool = False) -> Path:
        """Keep a picture for people."""
        OUT.mkdir(parents=True, exist_ok=True)
        path = OUT / f"{name}.png"
        with suppress(PlaywrightTimeout):  # a page that follows a video is never idle
            self.page.wait_for_load_state("networkidle", timeout=3_000)
        self.page.screenshot(path=path, full_page=whole, animations="disabled")
        return path

    def barriers(self) -> list[str]:
        """What keeps people with other needs out of this page, as axe sees it: serious findings only."""
        found: list[dict[str, Any]] = Axe().run(self.page).response["violations"]
        return [
            f"{self.page.url}: {each['id']} ({each['help']}): {node['html'][:160]}"
            for each in found
            if each["impact"] in _SERIOUS
            for node in each["nodes"]
        ]

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def check(self) -> None:
        """Fail for everything that went wrong quietly."""
        assert not self.complaints, self.complaints
        assert not self.elsewhere, self.elsewhere

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(_REFUSED):
            self.complaints.append(f"{message.location.get('url')}: {message.text}")

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob", "about") and parts.hostname != "127.0.0.1":
            self.elsewhere.add(request.url)


def first_link(server: Server) -> str:
    """The link that the server printed at its start."""
    found = _LINK.search(server.log_path.read_text())
    assert found, server.log_tail()
    return found[1]
