"""A browser where there is one, a server, and people in front of it."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Playwright, sync_playwright

from providers.testing import FakeUpstream
from tests.browser.chromium import MISSING, browsing, executable
from tests.browser.person import Person, first_link
from tests.server import Server

NewPerson = Callable[..., Person]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what is missing instead of failing; in CI nothing may be missing."""
    if executable() is None and not os.environ.get("CI"):
        for item in items:
            item.add_marker(pytest.mark.skip(reason=MISSING))


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """Playwright's driver."""
    assert executable(), MISSING
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    """A provider that makes videos at once."""
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture(scope="module")
def server(upstream: FakeUpstream) -> Iterator[Server]:
    """A server in front of it, that nobody has visited yet."""
    with Server(upstream=upstream) as running:
        yield running


@pytest.fixture
def new_person(playwright: Playwright, server: Server) -> Iterator[NewPerson]:
    """Seat people in front of the server, each with a browser of his own; look at what went wrong at the end."""
    with ExitStack() as stack:
        seated: list[Person] = []

        def sit(at: Server | None = None, **options: Any) -> Person:
            context = stack.enter_context(browsing(playwright, **options))
            seated.append(Person.at(context, at or server))
            return seated[-1]

        yield sit
        for person in seated:
            person.check()


@pytest.fixture(scope="module")
def owner_state(playwright: Playwright, server: Server) -> list[Any]:
    """The cookies of the owner, who followed the link that the server printed."""
    with browsing(playwright) as context:
        Person.at(context, server).sign_up(first_link(server))
        return list(context.cookies())


@pytest.fixture
def owner(new_person: NewPerson, owner_state: list[Any]) -> Person:
    """The owner, signed in."""
    person = new_person()
    person.context.add_cookies(owner_state)
    return person
