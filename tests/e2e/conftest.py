"""A browser for the end-to-end tests."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
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
        found = playwright.chromium.launch(executable_path=known, args=list(ARGUMENTS))
        yield found
        found.close()
