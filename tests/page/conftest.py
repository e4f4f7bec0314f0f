"""A browser, a server with fake engines, and a page of it, for each file of tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # Playwright may be missing; then the files of tests are skipped.
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def page_tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `node_modules` with the page's npm packages."""
    from page_tools import installed_into

    return installed_into(tmp_path_factory.mktemp("page-tools"))


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from browser import browsing

    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from served_page import fake_server

    with fake_server(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def page(browser: "Browser", server: str) -> Iterator["Page"]:
    from browser import opened

    with opened(browser, server) as page:
        yield page
