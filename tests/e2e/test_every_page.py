"""Every page in both themes: no error in the console, no barrier for readers, nothing that scrolls sideways.

With SCREENSHOTS=folder (`make screenshots`) each is also photographed at both widths.
"""

import os
import time
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from core.timeframes import Timeframe
from tests.dashboard_market import market_running
from tests.dashboard_marts import fill_marts
from tests.dashboard_seed import A_MONTH, seed
from tests.dashboard_server import running, until
from tests.dashboard_showcase import fill_showcase
from tests.page_views import VIEWS
from tests.research_seed import fill_research

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(900)]
FOLDER = os.environ.get("SCREENSHOTS")
DAYS = 30 if FOLDER else 6
"""Of candles, and of what the bots made of them."""
WIDE, NARROW = {"width": 1920, "height": 1080}, {"width": 1280, "height": 800}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast"]}, "resultTypes": ["violations"]}
SIDEWAYS = """() => [document.documentElement, document.getElementById("page")]
  .filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.tagName + " " + box.scrollWidth)"""
PAINTED = """(scheme) => new Promise((done) => {
  window.dash_clientside.set_props("scheme", { data: scheme });
  setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 250);
})"""
"""Changes the theme and waits for the frame after it."""


@pytest.fixture
def dashboard(database_url, redis_url, unused_port, tmp_path):
    """A dashboard over a trading market, with research and models on it."""
    with running(database_url, redis_url, unused_port, tmp_path) as client:
        now_ms = time.time_ns() // 1_000_000
        seed(client.database, now_ms, minutes=DAYS * 1440, weather=A_MONTH)
        fill_research(client.database, now_ms)
        fill_marts(client.database, rows=False)
        fill_showcase(client.database, database_url, now_ms, DAYS)
        until(lambda: client.get("/metrics").text.count("tcp_bot_value{") == 5, 60, "the bots")
        with market_running(client.database, redis_url, (Timeframe.M1, Timeframe.M15), is_whole=True):
            yield client


def test_every_page_in_both_themes(dashboard, page):
    """Nothing of what a console, axe and a ruler complain about, on any page."""
    troubles = _listened(page)
    page.set_viewport_size(NARROW)
    for view in VIEWS:
        page.goto(dashboard.url + view.address)
        for selector in view.ready:
            page.locator(selector).first.wait_for()
        for scheme, rules in (("dark", RULES), ("light", CONTRAST)):
            page.evaluate(PAINTED, scheme)
            found = Axe().run(page, options=rules).response["violations"]
            troubles += [f"{view.name} {scheme}: {_said(each)}" for each in found]
            troubles += [f"{view.name}: {box}" for box in page.evaluate(SIDEWAYS)]
            if FOLDER:
                _photograph(page, Path(FOLDER), f"{view.name}-{scheme}", scheme)
    assert not troubles, "\n".join(troubles)


def _photograph(page, folder, name, scheme):
    """At both widths; the narrow one, which the test looks at, is left."""
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        page.evaluate(PAINTED, scheme)
        page.screenshot(path=folder / f"{name}-{size['width']}.png")


def _listened(page):
    """What goes wrong from here on, as lines."""
    troubles = []
    page.on("console", lambda said: said.type == "error" and troubles.append(f"{page.url}: {said.text}"))
    page.on("pageerror", lambda error: troubles.append(f"{page.url}: {error}"))
    page.on("response", lambda got: got.status >= 400 and troubles.append(f"{got.url}: {got.status}"))
    return troubles


def _said(violation):
    nodes = [f"{' '.join(map(str, node['target']))} {node['html'][:160]}" for node in violation["nodes"][:4]]
    return f"{violation['id']}: {violation['help']} ({len(violation['nodes'])}): {' | '.join(nodes)}"
