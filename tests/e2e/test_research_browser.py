"""Market, sweeps, comparison and data health in a real browser, over a real PostgreSQL and a real Redis."""

import re
import time
from decimal import Decimal

import pytest
import redis as redis_client
import sqlalchemy as sa
from playwright.sync_api import expect

from pipelines.bus import json
from pipelines.bus.books import document
from pipelines.warehouse import tables
from pipelines.warehouse.sweep_runs import lease_of, mark_interrupted
from tests.dashboard_market import market_message
from tests.dashboard_seed import seed
from tests.dashboard_server import running, until
from tests.research_seed import SWEEP, WALK, fill_research

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(600)]
PAN = """async () => {
  const graph = document.querySelector("#market-chart .js-plotly-plot"), asked = [];
  const ask = window.dash_clientside.set_props;
  window.dash_clientside.set_props = (id, props) => { asked.push(id); ask(id, props); };
  const range = graph.layout.xaxis.range.map((x) => typeof x === "number" ? x : Date.parse(x + "Z"));
  const step = (range[1] - range[0]) / 2;
  await Plotly.relayout(graph, { "xaxis.range": [range[0] - step, range[1] - step] });
  await new Promise((done) => setTimeout(done, 600));
  window.dash_clientside.set_props = ask;
  return asked;
}"""
"""Moves the view half its width to the left; what the page asked the server for until it had settled."""


@pytest.fixture
def dashboard(database_url, redis_url, unused_port, tmp_path):
    """A dashboard over a seeded market with research on it."""
    with running(database_url, redis_url, unused_port, tmp_path) as client:
        now_ms = time.time_ns() // 1_000_000
        seed(client.database, now_ms, minutes=240)
        fill_research(client.database, now_ms)
        until(lambda: client.get("/metrics").text.count("tcp_bot_value{") == 5, 60, "the bots")
        yield client


def test_a_row_of_a_sweep_becomes_a_bot_in_two_clicks_and_is_compared(dashboard, page):
    """The sweep's charts are there, the best row is promoted, and the bot stands beside a backtest. A sweep
    that is being walked says how far it is, is cancelled, and the page says when it has ended."""
    page.goto(f"{dashboard.url}/sweeps")
    page.wait_for_selector("#sweep-heat .js-plotly-plot")
    expect(page.locator("#sweep-cards .card", has_text="Best Sharpe")).to_contain_text("2.00")
    heat = "document.querySelector('#sweep-heat .js-plotly-plot').data[0].z"
    until(lambda: page.evaluate(heat)[1][1] == 2.0, 30, "the heat map")
    expect(page.locator("#walk-windows .ag-row")).to_have_count(3)
    page.wait_for_selector("#sweep-parallel .js-plotly-plot")
    expect(page).to_have_url(re.compile(SWEEP))
    page.get_by_role("button", name="Promote the best to a bot").click()
    expect(page.get_by_label("Name")).to_have_value("ema_crossover_1")
    page.get_by_role("button", name="Create bot").click()
    expect(page.locator("#toasts")).to_contain_text("ema_crossover_1 was created")
    bots = tables.bots.c
    with dashboard.database.connect() as connection:
        config = connection.execute(sa.select(bots.config).where(bots.name == "ema_crossover_1")).scalar()
    assert config["parameters"]["fast_period"] == 8
    assert (dashboard.settings.config_dir / "bots" / "ema_crossover_1.json").exists()

    run = tables.strategy_runs
    lease = lease_of(dashboard.database, SWEEP)
    assert lease.hold()  # as the process that walks it
    with dashboard.database.begin() as connection:
        connection.execute(run.update().where(run.c.id == SWEEP).values(status="running"))
    page.reload()
    expect(page.locator("#sweep-progress")).to_have_text("Running, 9 rows so far")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.locator("#sweep-progress")).to_have_text("Cancelling, 9 rows so far")
    expect(page.locator("#sweep-cancel")).to_be_disabled()
    lease.release()
    assert mark_interrupted(dashboard.database) == []
    expect(page.locator("#sweep-progress")).to_have_text("Cancelled")
    expect(page.get_by_text("cancelled on the Sweeps page; it goes on with")).to_be_visible()

    page.goto(f"{dashboard.url}/compare")
    page.wait_for_selector("#compare-curves .js-plotly-plot")
    table = page.locator("table.compared")
    expect(table).to_contain_text("bot_001")
    expect(table).to_contain_text("EMA crossover")
    expect(page.get_by_text("Against bot_001")).to_be_visible()
    page.goto(f"{dashboard.url}/compare?of=bot:nobody")
    expect(page.get_by_text("there is no bot 'nobody'")).to_be_visible()
    page.goto(f"{dashboard.url}/compare?of={WALK}")
    expect(page.get_by_text("kept no equity curve")).to_be_visible()


def test_holes_and_days_are_seen_and_the_market_is_read(dashboard, page, redis_url):
    """The ledger and the calendar show what is stored; the market has book, indicators and live candles."""
    page.goto(f"{dashboard.url}/data")
    page.wait_for_selector("#coverage-chart .js-plotly-plot")
    expect(page.locator(".card", has_text="Open holes")).to_contain_text("1")
    expect(page.locator('#health-gaps [row-index="0"] [col-id="state"]')).to_have_text("open")
    expect(page.locator('#health-differences [row-index="0"] [col-id="resolution"]')).to_have_text("open")
    page.get_by_role("button", name="Fetch").click()
    expect(page.locator("#backfill-list")).to_contain_text("BTC-USDT 1m candles")

    now_ms = time.time_ns() // 1_000_000
    price = Decimal("61800.5")
    book = document("BTC-USDT", "2026-03-01T00:00:00Z", [(price - 1, Decimal(2))], [(price, Decimal(1))], 7)
    page.goto(f"{dashboard.url}/market?symbol=BTC-USDT&timeframe=1m&show=ema 12,rsi 14")
    page.wait_for_selector("#market-box:not(.waiting) .js-plotly-plot")
    expect(page.get_by_text("No order book")).to_be_visible()
    with redis_client.Redis.from_url(redis_url) as client:
        client.publish("book:BTC-USDT", json.encode(book))
    expect(page.locator("#market-book .ask")).to_contain_text("61,800.5")
    expect(page.get_by_text("No order book")).to_be_hidden()
    plot = "document.querySelector('#market-chart .js-plotly-plot')"
    names = page.evaluate(f"{plot}.data.map(trace => trace.name)")
    assert "EMA 12" in names
    assert "RSI 14" in names
    with redis_client.Redis.from_url(redis_url) as client:
        message = market_message(
            "BTC-USDT", "1m", now_ms - now_ms % 60_000 + 60_000, (77_123.4,) * 4 + (1.0,), False
        )
        client.publish("market:BTC-USDT", json.encode(message))
    expect(page.locator("#market-price")).to_have_text("77,123.4")
    _hide_a_part(dashboard.database)
    page.get_by_role("button", name="Show 1w").click()
    expect(page.locator("#market-drawn")).to_contain_text("drawn in 15m candles")
    until(lambda: page.evaluate(f"{plot}.data[0].x.length") >= 240 // 15, 30, "the whole week")
    assert "market-view" not in page.evaluate(PAN)
    page.get_by_role("button", name="Keep").click()
    expect(page.get_by_role("button", name="Forget")).to_be_visible()
    page.goto(f"{dashboard.url}/market?symbol=BTC-USDT&timeframe=1m")
    page.wait_for_selector("#market-box:not(.waiting) .js-plotly-plot")
    page.get_by_role("textbox", name="Template").click()
    page.get_by_role("option", name="ema 12, rsi 14").click()
    until(lambda: "RSI 14" in page.evaluate(f"{plot}.data.map(trace => trace.name)"), 30, "the kept template")
    page.get_by_role("textbox", name="Indicators").fill("nonsense")
    page.keyboard.press("Enter")
    expect(page.get_by_text("there is no 'nonsense'")).to_be_visible()


def _hide_a_part(database):
    """Of the candles that fit a week only the newest are stored, as of a stock install."""
    candles = tables.market_data.c
    newest = sa.select(sa.func.max(candles.timestamp)).where(candles.timeframe == "15m").scalar_subquery()
    with database.begin() as connection:
        connection.execute(
            sa.delete(tables.market_data).where(candles.timeframe == "15m", candles.timestamp < newest)
        )
