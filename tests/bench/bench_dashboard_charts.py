"""The dashboard as a browser feels it: first loads, a chart of two years of minutes, panning in it."""

import time
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page
from sqlalchemy import text

from pipelines.warehouse.database import engine
from tests.bench.dashboard_process import DRAWN, dashboard, profile, ranked, say, timed
from tests.dashboard_seed import seed

pytestmark = [pytest.mark.servers, pytest.mark.timeout(3600)]

FIRST = (
    ("/", DRAWN),
    ("/market", "#market-box:not(.waiting) .js-plotly-plot"),
    ("/bots", "#bot-save"),
    ("/system", "#events .ag-row"),
)
LOADS = 5
YEARS = """
    INSERT INTO market_data (exchange, symbol, timeframe, timestamp, open, high, low, close, volume,
                             trades_count, source)
    SELECT 'okx', 'BTC-USDT', :timeframe, at, price, price * 1.001, price * 0.999, price * 1.0003, n % 13, 9,
           'exchange'
    FROM (SELECT n, date_trunc('day', now()) - n * make_interval(mins => :minutes) AS at,
                 60000 + 9000 * sin(n * :minutes / 90000.0) + 900 * sin(n * :minutes / 7000.0) AS price
          FROM generate_series(0, 2 * 365 * 1440 / :minutes) AS n) AS walk
    ON CONFLICT DO NOTHING
"""
LENGTHS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1440}
DRAG = """async (share) => {
  const graph = document.querySelector("#market-chart .js-plotly-plot");
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const begun = performance.now();
  const range = graph.layout.xaxis.range.map((x) => typeof x === "number" ? x : Date.parse(x + "Z"));
  const step = (range[1] - range[0]) * share;
  await Plotly.relayout(graph, { "xaxis.range": [range[0] - step, range[1] - step] });
  await frame();
  return performance.now() - begun;
}"""
"""Moves the view by a share of its width; ms until it has been painted."""


def test_first_loads_and_two_years(
    database_url: str, redis_url: str, unused_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each page cold and with a warm cache; two years of minutes opened, panned and zoomed."""
    database = engine(database_url)
    seed(database, time.time_ns() // 1_000_000, minutes=1500)
    with database.begin() as connection:
        for timeframe, minutes in LENGTHS.items():
            connection.execute(text(YEARS), {"timeframe": timeframe, "minutes": minutes})
    lines = []
    with (
        dashboard(database_url, redis_url, unused_port, tmp_path) as url,
        profile(tmp_path / "me") as context,
    ):
        for path, ready in FIRST:
            loads = [_load(context, url + path, ready) for _ in range(LOADS)]
            lines.append(f"{path:<8} first load {loads[0]:>6.0f}, then {ranked(loads[1:])}")
        page = context.new_page()
        page.goto(f"{url}/market?symbol=BTC-USDT&timeframe=1m")
        page.wait_for_selector(FIRST[1][1])
        lines.append(f"two years opened: {ranked([_span(page, word) for word in ('2y', '1d') * 3][::2])}")
        _span(page, "2y")
        lines.append(f"panned: {ranked([page.evaluate(DRAG, 0.05) for _ in range(12)])}")
    say(capsys, *lines)


def _load(context: BrowserContext, address: str, ready: str) -> float:
    """ms from the address to the page that can be used."""
    page = context.new_page()
    took = timed(lambda: page.goto(address, wait_until="commit"), lambda: page.wait_for_selector(ready))
    page.wait_for_timeout(1500)
    page.close()
    return took


def _span(page: Page, word: str) -> float:
    """ms from a click on a stretch of time until its candles are drawn."""
    drawn = "document.querySelector('#market-chart .js-plotly-plot').layout.uirevision"
    before = page.evaluate(drawn)
    button = page.get_by_role("button", name=f"Show {word}")
    return timed(button.click, lambda: page.wait_for_function(f"{drawn} !== {before!r}", polling="raf"))
