"""A real Chromium for tests: fixture ``page`` is a fresh page; without a browser the tests are skipped, in CI failed."""

import os
from collections.abc import Iterator

import chromium
import pytest
from playwright.sync_api import Browser, Page, sync_playwright


@pytest.fixture(scope="module")
def chromium_browser() -> Iterator[Browser]:
    """One browser for a module's tests. No longer: Playwright's event loop runs as long as it does, in this thread."""
    path = chromium.find()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(chromium.HOW_TO_GET)
        pytest.skip(chromium.HOW_TO_GET)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(chromium.ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def page(chromium_browser: Browser) -> Iterator[Page]:
    """A fresh page at the size of a laptop; what the page's own script throws fails the test."""
    context = chromium_browser.new_context(viewport={"width": 1200, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    thrown: list[str] = []
    page.on("pageerror", lambda error: thrown.append(str(error)))
    yield page
    context.close()
    assert thrown == []
