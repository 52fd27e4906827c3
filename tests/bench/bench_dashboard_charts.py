"""The dashboard as a browser feels it: first loads, a chart of two years of minutes, panning in it: as a hand
does, and by whole widths of three months, each of which is asked of the server. At first the longer
candles are those of a stock install, 300 of each, so that the chart is made of minutes; then all.

It fails above its targets: by the clock where the machine has a core to spare when it begins, else by the
processor's time.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page
from sqlalchemy import Engine, text

from pipelines.warehouse.database import engine
from tests.bench.dashboard_process import (
    DRAWN,
    dashboard,
    judged,
    missed,
    profile,
    ranked,
    timed,
    worked_ms,
)
from tests.bench.figures import Tell
from tests.dashboard_seed import seed

pytestmark = [pytest.mark.servers, pytest.mark.timeout(3600)]

FIRST = (
    ("/", DRAWN),
    ("/market", "#market-box:not(.waiting) .js-plotly-plot"),
    ("/bots", "#bot-save"),
    ("/system", "#events .ag-row"),
)
LOADS = 8
VISITS = 2
"""Before the cache is warm: a browser keeps what it compiled of a script as of the second."""
FIRST_MS, OPENED_MS, PANNED_MS = 2_000, 1_000, 200
"""Targets at p95; of first loads with a warm cache."""
STOCK = 300
YEARS = """
    INSERT INTO market_data (exchange, symbol, timeframe, timestamp, open, high, low, close, volume,
                             trades_count, source)
    SELECT 'okx', 'BTC-USDT', :timeframe, at, price, price * 1.001, price * 0.999, price * 1.0003, n % 13, 9,
           'exchange'
    FROM (SELECT n, date_trunc('day', now()) - n * make_interval(mins => :minutes) AS at,
                 60000 + 9000 * sin(n * :minutes / 90000.0) + 900 * sin(n * :minutes / 7000.0) AS price
          FROM generate_series(0, least(2 * 365 * 1440 / :minutes, :count)) AS n) AS walk
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
  const took = performance.now() - begun;
  return graph.data[0].x[0] > graph.layout.xaxis.range[0] ? Infinity : took;
}"""
"""Moves the view by a share of its width; ms until it is painted, infinite if candles are missing."""
BY_HAND, RESTS_MS = 0.4, 1_500
"""Of the view's width, what a hand drags it at once; and when it drags again."""


def test_first_loads_and_two_years(
    database_url: str, redis_url: str, unused_port: int, tmp_path: Path, tell: Tell
) -> None:
    """Each page cold and with a warm cache; two years of minutes opened, panned and zoomed."""
    database, load = engine(database_url), os.getloadavg()[0]
    seed(database, time.time_ns() // 1_000_000, minutes=1500)
    _store(database, STOCK)
    late: list[str] = []

    def measured(
        what: str,
        target_ms: float,
        count: int,
        act: Callable[[], float],
        before: Callable[[], object],
        figure: str,
    ) -> None:
        times, worked = [], 0.0
        for _ in range(count):
            before()
            began = worked_ms()
            times.append(act())
            worked += worked_ms() - began
        said = f"{ranked(times)}, {worked / count:.0f} ms of the processor{judged(load)}"
        tell(said, figure, case=what)
        late.extend(missed(what, times, target_ms, worked / count, load))

    with (
        dashboard(database_url, redis_url, unused_port, tmp_path) as url,
        profile(tmp_path / "me") as context,
    ):
        for path, ready in FIRST:
            load_it = partial(_load, context, url + path, ready)
            cold = [f"{load_it():.0f} ms" for _ in range(VISITS)]
            tell(f"{path} before the cache is warm: {', '.join(cold)}")
            measured(f"{path} first load", FIRST_MS, LOADS, load_it, lambda: None, "first-page")
        page = context.new_page()
        page.goto(f"{url}/market?symbol=BTC-USDT&timeframe=1m")
        page.wait_for_selector(FIRST[1][1])
        two_years, a_day = partial(_span, page, "2y"), partial(_span, page, "1d")
        measured("made of minutes", OPENED_MS, 5, two_years, a_day, "two-years")
        _span(page, "3M")
        asked_anew = partial(_arrived, page, partial(page.evaluate, DRAG, 1.0))
        rest = partial(page.wait_for_timeout, RESTS_MS)
        measured("by a whole width, made of minutes", OPENED_MS, 5, asked_anew, rest, "panning")
        _store(database, None)
        measured("stored", OPENED_MS, 5, two_years, a_day, "two-years")
        _span(page, "3M")
        by_hand = partial(page.evaluate, DRAG, BY_HAND)
        measured(f"by {BY_HAND:.0%} of the view", PANNED_MS, 12, by_hand, rest, "panning")
    assert not late, late


def _store(database: Engine, longer: int | None) -> None:
    """Two years of minutes, and so many of each longer candle; None: two years of those too."""
    with database.begin() as connection:
        for timeframe, minutes in LENGTHS.items():
            count = 2 * 365 * 1440 if longer is None or timeframe == "1m" else longer
            connection.execute(text(YEARS), {"timeframe": timeframe, "minutes": minutes, "count": count})
    with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Or it is done while pages are timed.
        connection.execute(text("VACUUM (ANALYZE) market_data"))
        connection.execute(text("CHECKPOINT"))


def _load(context: BrowserContext, address: str, ready: str) -> float:
    """ms from the address to the page that can be used."""
    page = context.new_page()
    took = timed(lambda: page.goto(address, wait_until="commit"), lambda: page.wait_for_selector(ready))
    page.wait_for_timeout(1500)
    page.close()
    return took


def _span(page: Page, word: str) -> float:
    """ms from a click on a stretch of time until its candles are drawn."""
    return _arrived(page, page.get_by_role("button", name=f"Show {word}").click)


def _arrived(page: Page, act: Callable[[], object]) -> float:
    """ms from an act until the candles that it asks for are drawn."""
    drawn = "document.querySelector('#market-chart .js-plotly-plot').layout.uirevision"
    before = page.evaluate(drawn)
    return timed(act, lambda: page.wait_for_function(f"{drawn} !== {before!r}", polling="raf"))
