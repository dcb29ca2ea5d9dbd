"""The browser of this machine: Debian's chromium or another Chromium that is installed. Nothing is ever downloaded."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import BrowserContext, Playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
)
MISSING: Final = (
    "no browser: install one (Debian: apt-get install chromium), or name it in ONEREEL_TEST_BROWSER; "
    "the browser suite is skipped"
)


def executable() -> str | None:
    """The path of a Chromium, None where there is none."""
    named = os.environ.get("ONEREEL_TEST_BROWSER")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browsing(
    playwright: Playwright,
    *,
    width: int = 1280,
    height: int = 900,
    dark: bool = False,
    phone: bool = False,
    scale: float = 1,
) -> Iterator[BrowserContext]:
    """Start a browser that has never been anywhere."""
    with tempfile.TemporaryDirectory(prefix="onereel-browser-", ignore_cleanup_errors=True) as folder:
        context = playwright.chromium.launch_persistent_context(
            folder,
            executable_path=executable(),
            args=list(FLAGS),
            headless=True,
            viewport={"width": width, "height": height},
            device_scale_factor=scale,
            is_mobile=phone,
            has_touch=phone,
            color_scheme="dark" if dark else "light",
            locale="en-GB",
            timezone_id="UTC",
        )
        context.set_default_timeout(15_000)
        try:
            yield context
        finally:
            context.close()
