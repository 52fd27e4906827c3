"""A page outlives its server: it says that the connection is lost, and is live again when the server is."""

import time

import pytest
from playwright.sync_api import Browser, expect

from tests.dashboard_seed import seed
from tests.dashboard_server import running

pytestmark = [pytest.mark.e2e, pytest.mark.browser]
STATE = "#feed-state"


def test_a_page_heals_itself_after_a_restart_of_the_server(
    browser: Browser, database_url, redis_url, unused_port, tmp_path
):
    """The loss is said in the top bar; what was typed into a form is still there when the server is back,
    and a page without one is loaded anew and goes on."""
    page, form = browser.new_page(), browser.new_page()
    with running(database_url, redis_url, unused_port, tmp_path) as first:
        seed(first.database, time.time_ns() // 1_000_000, minutes=30)
        page.goto(f"{first.url}/bots?bot=bot_002&tab=signals")
        page.wait_for_selector("#bot-rows .ag-row")
        form.goto(f"{first.url}/bots?new=1")
        form.get_by_label("Bot id").fill("kept")
    page.bring_to_front()
    expect(page.locator(STATE)).to_have_text("Connection lost, retrying")
    with running(database_url, redis_url, unused_port, tmp_path):
        expect(page.locator(STATE)).not_to_have_text("Connection lost, retrying")
        expect(page.locator(STATE)).not_to_have_text("Connecting…")
        page.wait_for_selector("#bot-rows .ag-row")
        assert "bot=bot_002" in page.url
        form.bring_to_front()
        expect(form.get_by_label("Bot id")).to_have_value("kept")
        form.get_by_role("button", name="Create bot").click()
        expect(form.locator("#toasts")).to_contain_text("kept was created")
    page.close()
    form.close()
