"""The pages in a real browser, over a real PostgreSQL and a real Redis."""

import re
import time
from datetime import datetime

import pytest
import redis as redis_client
import sqlalchemy as sa
from playwright.sync_api import expect

from core.timeframes import Timeframe
from pipelines.bus import json
from pipelines.warehouse import tables
from tests.dashboard_market import market_message, market_running
from tests.dashboard_marts import fill_marts
from tests.dashboard_seed import MINUTE_MS, seed
from tests.dashboard_server import running, until

pytestmark = [pytest.mark.e2e, pytest.mark.browser]


@pytest.fixture
def dashboard(database_url, redis_url, unused_port, tmp_path):
    """A dashboard over a seeded database whose newest candle has just closed."""
    with running(database_url, redis_url, unused_port, tmp_path) as client:
        seed(client.database, time.time_ns() // 1_000_000, minutes=240)
        until(lambda: client.get("/metrics").text.count("tcp_bot_value{") == 5, 30, "the bots")
        yield client


class Publisher:
    """Publishes to the bus without an event loop: the browser's is in this thread already."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url

    def send(self, channel: str, message: dict) -> None:
        """Publish one message."""
        with redis_client.Redis.from_url(self._url) as client:
            client.publish(channel, json.encode(message))


def _open_live(page, dashboard, query=""):
    page.goto(f"{dashboard.url}/{query}")
    page.wait_for_selector(".chart-box:not(.waiting) .js-plotly-plot")
    page.wait_for_selector("#bots-table .ag-row")


def _running_candle(price):
    """The candle that is open now, at a price."""
    now_ms = time.time_ns() // 1_000_000
    return market_message("BTC-USDT", "1m", Timeframe.M1.close_ms(now_ms), (price,) * 4 + (1.0,), False)


def test_a_message_on_the_bus_changes_price_chart_and_table(page, dashboard, redis_url):
    """A running candle is pushed: the price over the chart, the last candle and the balances follow it."""
    _open_live(page, dashboard, "?bot=bot_004")
    expect(page.locator("#chart-symbol")).to_have_text("BTC-USDT · 1m")
    until(lambda: _balance(page) != "", 20, "the table")
    before = _balance(page)
    publisher = Publisher(redis_url)
    publisher.send("market:BTC-USDT", _running_candle(77_123.4))
    expect(page.locator("#chart-price")).to_have_text("77,123.4")
    close = "document.querySelector('.js-plotly-plot').data[0].close.at(-1)"
    until(lambda: page.evaluate(close) == 77_123.4, 20, "the candle")
    until(lambda: _balance(page) != before, 20, "the balance")
    started = time.monotonic()
    publisher.send("market:BTC-USDT", _running_candle(77_200.5))
    expect(page.locator("#chart-price")).to_have_text("77,200.5")
    assert time.monotonic() - started < 5
    closed_ms = Timeframe.M1.close_ms(time.time_ns() // 1_000_000) - 60 * MINUTE_MS
    publisher.send("market:BTC-USDT", market_message("BTC-USDT", "1m", closed_ms, (9.5,) * 4 + (1.0,), True))
    until(lambda: page.evaluate(close.replace("at(-1)", "includes(9.5)")), 20, "the minute put right")
    expect(page.locator("#chart-price")).to_have_text("77,200.5")


def _balance(page):
    cell = page.locator('#bots-table [row-id="bot_004"] [col-id="value"]')
    return cell.inner_text() if cell.count() else ""


def test_stop_and_start_answer_at_once_and_reach_the_row(page, dashboard, redis_url):
    """A click shows the pending state, writes bots.status, and the true state follows."""
    with market_running(dashboard.database, redis_url):
        _open_live(page, dashboard)
        row = page.locator('[data-bot-row="bot_002"]')
        expect(row.locator(".state")).to_have_text("Running")
        row.get_by_role("button", name="Stop bot_002").click()
        expect(row.locator(".state")).to_have_text(re.compile("Stopping…|Stopped"))
        until(lambda: _status(dashboard, "bot_002") == "stopped", 20, "the status")
        expect(row.locator(".state")).to_have_text("Stopped")
        expect(row.get_by_role("button", name="Stop bot_002")).to_be_hidden()
        row.get_by_role("button", name="Start bot_002").click()
        until(lambda: _status(dashboard, "bot_002") == "active", 20, "the status")
        expect(row.locator(".state")).to_have_text("Running")
        expect(page.locator("#feed-state")).to_have_text("Live")


TWICE_FILLED = """() => {
  const graph = document.querySelector(".js-plotly-plot");
  const buys = graph.data.find((each) => each.meta.kind === "buy");
  const fill = { t: 1000, side: "buy", price: 70, quantity: 1, pnl: null }, before = buys.x.length;
  const fills = [{ ...fill, id: "a" }, { ...fill, id: "b" }];
  return [1, 2].map(() => {
    tcpChart.apply(graph, { candles: [], fills }, 60000, false, true);
    return buys.x.length - before;
  });
}"""
"""Markers more, after each of two pushes of the same two fills."""

MANY_TRADES = """
    insert into backtest_trades
        (run_id, n, entry_time, entry_price, exit_time, exit_price, quantity, fees, pnl, exit_reason)
    select :run, 100000 + i, to_timestamp(60 * i), 1, to_timestamp(60 * i + 60), 1, 1, 0, i - 70001, 'signal'
    from generate_series(0, 2999) i
"""
"""More round trips than are sent with a page; the lowest profit is the first one's."""

EARLY_PUSH = """() => {
  const push = { symbol: "BTC-USDT", timeframe: "1m", reference: 70, candles: [] };
  window.dash_clientside.tcpMarket.push(push, { symbol: "BTC-USDT", frame: "1m" });
}"""
"""A push that reaches a page of the market before what is drawn on it does; it once was an error."""


def _status(dashboard, name):
    with dashboard.database.connect() as connection:
        return connection.execute(sa.select(tables.bots.c.status).where(tables.bots.c.name == name)).scalar()


def test_selection_lives_in_the_address_and_zoom_survives_updates(page, dashboard, redis_url):
    """Choosing a bot changes the address; a pushed candle leaves the reader's zoom alone; reload keeps it."""
    _open_live(page, dashboard)
    page.locator('[data-bot-row="bot_003"] a').click()
    expect(page.locator("#chart-symbol")).to_have_text("SOL-USDT · 1m")
    expect(page).to_have_url(re.compile("bot=bot_003"))
    page.get_by_role("button", name="Timeframe 5m").click()
    expect(page.locator("#chart-symbol")).to_have_text("SOL-USDT · 5m")
    page.reload()
    expect(page.locator("#chart-symbol")).to_have_text("SOL-USDT · 5m")
    page.locator('#bots-table [row-id="bot_001"] [col-id="bot_id"]').click()
    expect(page.locator("#chart-symbol")).to_have_text("BTC-USDT · 1m")
    page.wait_for_selector(".chart-box:not(.waiting) .js-plotly-plot")

    plot = "document.querySelector('.js-plotly-plot')"
    until(lambda: page.evaluate(f"{plot}.data[0].x.length") > 0, 20, "the chart")
    times = page.evaluate(f"{plot}.data[0].x.slice(-120)")
    zoom = [times[0], times[40]]
    page.evaluate(f"{plot}.on('plotly_react', () => {{ window.again = true; }})")
    page.evaluate(f"zoom => Plotly.relayout({plot}, {{'xaxis.range': zoom}})", zoom)
    Publisher(redis_url).send("market:BTC-USDT", _running_candle(70_001.2))
    expect(page.locator("#chart-price")).to_have_text("70,001.2")
    until(lambda: page.evaluate(f"{plot}.data[0].close.at(-1)") == 70_001.2, 20, "the candle")
    seen = page.evaluate(
        f"{plot}.layout.xaxis.range.map(x => typeof x === 'number' ? x : Date.parse(x + 'Z'))"
    )
    assert [round(value / MINUTE_MS) for value in seen] == [round(value / MINUTE_MS) for value in zoom]
    fitted = f"(() => tcpChart.fit({plot}).y[0] === {plot}.layout.yaxis.range[0])()"
    until(lambda: page.evaluate(fitted), 20, "a price axis that fits what is in view")
    assert not page.evaluate("window.again"), "a zoom drew the whole chart a second time"
    assert page.evaluate(TWICE_FILLED) == [2, 2], "two fills of one price in one candle"
    page.evaluate(EARLY_PUSH)


def test_a_backtest_runs_from_the_form_to_its_result(page, dashboard):
    """A mistake is told beside its field; corrected, the page says how far the run is, after a reload too,
    and cancels it; one that is not cancelled shows cards, charts and trades, and a chart is had as a picture
    and as a table of what is stored."""
    page.goto(f"{dashboard.url}/backtests")
    fast = page.get_by_label("Fast period")
    fast.fill("90")
    expect(page.get_by_text("must be less than slow_period (26), got 90")).to_be_visible()
    fast.fill("5")
    expect(page.get_by_text("must be less than")).to_be_hidden()
    assert dashboard.get("/api/backtest/results").json["items"] == [], "opening the page ran one"
    with dashboard.database.begin() as connection:
        connection.execute(sa.text("lock table strategy_runs in exclusive mode"))
        wanted = {"strategy": "ema_crossover", "symbol": "BTC-USDT", "timeframe": "1m"}
        assert dashboard.post("/api/backtest?wait_s=0", wanted).status == 202
        page.locator("#run").click()
        expect(page.locator("#run-step")).to_have_text("waiting for the runs before it")
        page.reload()
        expect(page.locator("#run-step")).to_have_text("waiting for the runs before it")
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#toasts")).to_contain_text("The run was cancelled")
        expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
        page.get_by_label("Fast period").fill("5")
        expect(page.locator("#run-label")).to_have_text("Run")
    until(lambda: len(dashboard.get("/api/backtest/results").json["items"]) == 1, 20, "the run of the API")
    with dashboard.database.begin() as connection:
        connection.execute(sa.text("lock table strategy_runs in exclusive mode"))
        page.locator("#run").click()
        expect(page.locator("#run-step")).to_have_text("storing the result, step 4 of 4")
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#toasts")).to_contain_text("it is too late to cancel it")
    page.wait_for_selector(".run-result")
    expect(page.locator("#run-step")).to_be_hidden()
    expect(page).to_have_url(re.compile(r"run=[0-9a-f]{12}"))
    expect(page.locator(".card", has_text="Total return")).to_contain_text("%")
    page.wait_for_selector("#run-trades .ag-row", state="attached")
    run_id = page.url.rpartition("=")[2]
    stored = dashboard.get(f"/api/backtest/results/{run_id}").json
    assert stored["params"]["fast_period"] == 5
    page.wait_for_selector(f'#runs [row-id="{run_id}"]', state="attached")
    page.wait_for_selector("#run-equity .js-plotly-plot .main-svg")
    points = dashboard.get(f"/api/backtest/results/{run_id}/equity?limit=5000").json["items"]
    lines = _chart_file(page, "run-equity", "CSV").decode().splitlines()
    assert lines[0] == "trace,x,y"
    first = next(line for line in lines if line.startswith("Strategy,")).split(",")
    assert datetime.fromisoformat(first[1]) == datetime.fromisoformat(points[0]["timestamp"])
    assert float(first[2]) == pytest.approx(points[0]["equity"])
    assert _chart_file(page, "run-equity", "PNG").startswith(b"\x89PNG")

    with dashboard.database.begin() as connection:
        connection.execute(sa.text(MANY_TRADES), {"run": run_id})
    page.reload()
    row = page.locator("#run-trades .ag-row")
    expect(row.first.locator('[col-id="n"]')).to_have_text("1")
    page.locator('#run-trades .ag-header-cell[col-id="pnl"]').click()
    expect(page.locator('#run-trades [row-index="0"] [col-id="pnl"]')).to_contain_text("70,001")
    page.evaluate("document.querySelector('#run-trades .ag-body-viewport').scrollTop = 34 * 2000")
    expect(page.locator('#run-trades [row-index="2000"] [col-id="n"]')).to_have_text("102,001")


def _chart_file(page, chart, form):
    """The bytes of a chart's file, had by the keyboard: the buttons show themselves to who points or tabs."""
    button = page.locator(f'[data-chart="{chart}"]', has_text=form)
    button.focus()
    with page.expect_download() as saved:
        page.keyboard.press("Enter")
    assert saved.value.suggested_filename == f"{chart}.{form.lower()}"
    return saved.value.path().read_bytes()


def test_theme_kill_switch_and_unknown_pages(page, dashboard):
    """The theme is kept over a reload, the kill switch asks first and does what it asked, an unknown address
    says so."""
    _open_live(page, dashboard)
    page.keyboard.press("t")
    root = page.locator("html")
    expect(root).to_have_attribute("data-mantine-color-scheme", "light")
    page.reload()
    expect(root).to_have_attribute("data-mantine-color-scheme", "light")
    page.wait_for_selector("#bots-table .ag-row")
    before = len(_switched(dashboard))
    page.locator("#kill-open").click()
    expect(page.get_by_text("No order leaves until it is off again")).to_be_visible()
    assert dashboard.get("/api/kill-switch").json == {"on": False}
    page.get_by_role("button", name="Stop all trading").click()
    until(lambda: dashboard.get("/api/kill-switch").json == {"on": True}, 20, "the kill switch")
    expect(page.locator("#kill-label")).to_have_text("Kill switch is ON")
    dashboard.post("/api/kill-switch", {"on": False})
    expect(page.locator("#kill-label")).to_have_text("Kill switch")
    page.locator("#kill-open").click()
    dashboard.post("/api/kill-switch", {"on": True})
    expect(page.locator("#kill-label")).to_have_text("Kill switch is ON")
    page.get_by_role("button", name="Stop all trading").click()
    until(lambda: len(_switched(dashboard)) == before + 4, 20, "the second click")
    assert dashboard.get("/api/kill-switch").json == {"on": True}, "somebody else's click turned it around"
    page.goto(f"{dashboard.url}/nowhere")
    expect(page.get_by_text("There is no such page")).to_be_visible()


def _switched(dashboard):
    """Ids of the events of the kill switch."""
    event = tables.system_events.c
    with dashboard.database.connect() as connection:
        return connection.execute(sa.select(event.id).where(event.event.like("kill_switch_%"))).all()


def test_what_is_typed_into_a_form_is_not_lost_without_a_question(page, dashboard):
    """Links, keys and the browser's own reload ask, once: No keeps it, Yes goes. A choice of a list and a
    step of a number count as typed; a form that was saved, or drawn anew, asks nothing."""
    page.goto(f"{dashboard.url}/bots?bot=bot_002")
    name, fee = page.get_by_label("Bot id"), page.get_by_label("Fee, %", exact=True)
    question = page.get_by_role("dialog", name="Leave the form?")
    expect(name).to_have_value("bot_002")
    expect(page.locator('[data-bot-row="bot_003"]')).to_be_visible()  # the key walks along these
    page.keyboard.press("j")
    expect(name).to_have_value("bot_003")
    fee.fill("0.25")
    fee.blur()
    for leave in (
        lambda: page.keyboard.press("j"),
        lambda: page.locator('[data-bot-row="bot_001"] a').click(),
        lambda: page.locator(".nav-link", has_text="System").click(),
    ):
        leave()
        expect(question).to_be_visible()
        page.keyboard.press("j")
        expect(question).to_have_count(1)
        question.get_by_role("button", name="Cancel").click()
        expect(fee).to_have_value("0.25")
    with page.expect_event("dialog") as asked:
        page.evaluate("setTimeout(() => window.location.reload())")
    assert asked.value.type == "beforeunload"
    asked.value.dismiss()
    expect(fee).to_have_value("0.25")
    page.locator("#bot-save").click()
    expect(page.locator("#toasts")).to_contain_text("bot_003 was saved")
    page.wait_for_function("() => !window.tcpShell.typedInto('.bot-form')")
    page.keyboard.press("k")
    expect(name).to_have_value("bot_002")
    for change, left in (
        (lambda: _choose_last(page, "Strategy"), "bot_001"),
        (lambda: fee.press("ArrowUp"), "bot_002"),
        (lambda: page.locator(".bot-form .mantine-NumberInput-control:visible").first.click(), "bot_001"),
    ):
        change()
        page.locator(".side-list h2").click()
        page.keyboard.press("k" if left == "bot_001" else "j")
        question.get_by_role("button", name="Leave it").click()
        expect(name).to_have_value(left)
    page.keyboard.press("j")
    expect(name).to_have_value("bot_002")


def _choose_last(page, label):
    """The last of a list's choices."""
    page.get_by_label(label, exact=True).first.click()
    page.get_by_role("option").last.click()


def test_the_portfolio_shows_what_is_missing_and_then_the_sum_of_all_bots(page, dashboard):
    """Without marts the page says who builds them; with them it shows value, equity and each bot's part."""
    page.goto(f"{dashboard.url}/portfolio")
    expect(page.get_by_text("Live values.")).to_be_visible()
    fill_marts(dashboard.database)
    page.reload()
    expect(page.locator(".card", has_text="Value")).to_contain_text("1,650.00")
    expect(page.locator('#portfolio-bots [row-id="alpha"] [col-id="share"]')).to_contain_text("73")
    page.wait_for_selector("#portfolio-equity .js-plotly-plot")
    page.wait_for_selector("#portfolio-daily .js-plotly-plot")


def test_the_system_page_lists_components_and_events(page, dashboard):
    """Servers, heartbeats and events are there, newest event first; the API link answers."""
    page.goto(f"{dashboard.url}/system")
    expect(page.locator("#components tbody tr", has_text="PostgreSQL")).to_contain_text("Answers")
    expect(page.locator("#components tbody tr", has_text="live")).to_be_visible()
    expect(page.locator('#events [row-index="0"] [col-id="event"]')).to_have_text("gap")
    address = page.get_by_role("link", name="API", exact=True).get_attribute("href")
    page.goto(dashboard.url + address)
    expect(page.get_by_text("/api/market/{symbol}/history")).to_be_visible()
