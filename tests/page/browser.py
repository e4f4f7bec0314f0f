"""Chromium without a window, and a page in it whose errors are collected."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

__all__ = ["PATIENCE", "WatchedPage", "browsing", "opened"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 60_000  # milliseconds
# Chromium logs every refused request as an error; tests ask for some.
REFUSED = re.compile(r"Failed to load resource: (the server responded with a status of \d+|net::ERR_FAILED)")


class WatchedPage:
    """A page and its errors.

    Attributes:
        page: the page.
        mistakes: errors on the console and uncaught exceptions.
        elsewhere: requested addresses outside the server.
    """

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.mistakes: list[str] = []
        self.elsewhere: list[str] = []
        here = (address, address.replace("http", "ws"), f"blob:{address}")
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.mistakes.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith(here) else self.elsewhere.append(request.url),
        )

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not REFUSED.match(message.text):
            self.mistakes.append(message.text)


@contextmanager
def browsing(*arguments: str) -> Iterator[Browser]:
    """A browser; skips the test if none is installed."""
    executable = next((found for name in NAMES if (found := shutil.which(name))), None)
    if executable is None:
        pytest.skip(f"no Chromium: none of {', '.join(NAMES)} is installed, so the page is not tested")
    expect.set_options(timeout=PATIENCE)
    # Chromium's sandbox does not work for root, the user of many containers.
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=[*root, "--disable-dev-shm-usage", *arguments]
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, address: str, script: str = "", **options: Any) -> Iterator[Page]:
    """The page of the server at an address. At the end it must have no error and no request to other servers.

    `script` runs before the page's own.
    """
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **options})
    context.set_default_timeout(PATIENCE)
    try:
        watched = WatchedPage(context.new_page(), address)
        watched.page.add_init_script(script)
        watched.page.goto(address)
        yield watched.page
        assert watched.mistakes == [], watched.mistakes
        assert watched.elsewhere == [], watched.elsewhere
    finally:
        context.close()
