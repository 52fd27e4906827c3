"""A browser for the end-to-end tests."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
WAIT_MS = 60_000
NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of the system, or the one that Playwright has."""
    path = next((found for found in map(shutil.which, NAMES) if found), None)
    with sync_playwright() as playwright:
        known = path or playwright.chromium.executable_path
        if not Path(known).exists():
            if os.environ.get("CI") == "true":
                pytest.fail("no Chromium, and CI must have one")
            pytest.skip("no Chromium on this machine")
        expect.set_options(timeout=WAIT_MS)
        found = playwright.chromium.launch(executable_path=known, args=list(ARGUMENTS))
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page that fails the test when it logs an error, throws, or asks another host for anything."""
    if "dashboard" in request.fixturenames:
        # The last to come is the first to go: asking a server that is gone is an error in the log.
        request.getfixturevalue("dashboard")
    problems: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    opened.set_default_timeout(WAIT_MS)
    opened.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    own = re.compile(r"(http|ws)://127\.0\.0\.1[:/]|data:|blob:")
    opened.on("request", lambda asked: None if own.match(asked.url) else problems.append(asked.url))
    yield opened
    context.close()
    assert problems == []
