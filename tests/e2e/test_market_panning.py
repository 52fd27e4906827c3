"""A chart of more candles than are loaded, moved while others are on their way, in a real browser over a real
PostgreSQL: what the reader moved to stays in view."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, Request, Route
from sqlalchemy import text

from tests.dashboard_seed import seed
from tests.dashboard_server import running, until

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(600)]

OLDER = """
    INSERT INTO market_data (exchange, symbol, timeframe, timestamp, open, high, low, close, volume,
                             trades_count, source)
    SELECT 'okx', 'BTC-USDT', '1m', date_trunc('minute', now()) - n * interval '1 minute', 61000 + n % 97,
           61100 + n % 97, 60900 + n % 97, 61000 + n % 89, 1, 9, 'exchange'
    FROM generate_series(0, 5 * 1440) AS n ON CONFLICT DO NOTHING
"""
GRAPH = "document.querySelector('#market-chart .js-plotly-plot')"
ASKED = re.compile("_dash-update-component")
RANGE = f"""() => {GRAPH}.layout.xaxis.range.map((x) => typeof x === "number" ? x : Date.parse(x + "Z"))"""
LOADED_FROM = f"() => {GRAPH}.data[0].x[0]"
MOVE = f"""(share) => {{
  const range = {GRAPH}.layout.xaxis.range.map((x) => typeof x === "number" ? x : Date.parse(x + "Z"));
  const step = (range[1] - range[0]) * share;
  return Plotly.relayout({GRAPH}, {{ "xaxis.range": [range[0] - step, range[1] - step] }});
}}"""
EARLY = f"""(redraw) => {{
  const newest = () => {GRAPH}.data[0].x.at(-1), before = newest(), next = before + 60000;
  const candle = {{ t: next, o: 70000, h: 70000, l: 70000, c: 70000, v: 1, final: false }};
  const push = {{ symbol: "BTC-USDT", timeframe: "1m", candles: [candle], redraw }};
  const coming = {{ symbol: "BTC-USDT", frame: "1m", revision: {GRAPH}.layout.uirevision + " to come" }};
  window.dash_clientside.tcpMarket.push(push, coming);
  return [newest() === before, next];
}}"""
"""A push for a chart that is on its way; whether what is drawn was left alone, and the time of its candle."""
SETTLED_MS = 1_500
"""After what was waited for: nothing moves any more."""
NEWEST = f"{GRAPH}.data[0].x.at(-1)"
IN_VIEW = f"{GRAPH}.data[0].x[0] <= ({RANGE})()[0]"
AHEAD = f"{GRAPH}.data[0].x[0] <= ({RANGE})()[0] - 0.4 * (({RANGE})()[1] - ({RANGE})()[0])"
"""Conditions: the newest candle's time, whether what is in view is loaded, and the next short pan's, too."""


@pytest.fixture
def chart(database_url, redis_url, unused_port, tmp_path, page) -> Iterator[Page]:
    """The market page with six hours of five days in view, as much of it loaded as is by then."""
    with running(database_url, redis_url, unused_port, tmp_path) as client:
        seed(client.database, time.time_ns() // 1_000_000, minutes=240)
        with client.database.begin() as connection:
            connection.execute(text(OLDER))
        page.goto(f"{client.url}/market?symbol=BTC-USDT&timeframe=1m")
        page.wait_for_selector("#market-box:not(.waiting) .js-plotly-plot")
        page.get_by_role("button", name="Show 6h").click()
        settled(page, f"({RANGE})()[1] - ({RANGE})()[0] > 6 * 3600000 - 1 && {AHEAD}")
        yield page
        page.close()  # before its server


def settled(page: Page, condition: str) -> None:
    """Wait until a condition in JavaScript holds, and then whether it goes on to."""
    page.wait_for_function(f"() => {condition}")
    page.wait_for_timeout(SETTLED_MS)
    assert page.evaluate(f"() => {condition}"), condition


def low(page: Page) -> float:
    """Beginning of what is in view, epoch ms."""
    return float(page.evaluate(RANGE)[0])


def _asks_for_candles(request: Request) -> bool:
    return '"market-view.data"' in (request.post_data or "").partition("changedPropIds")[2]


def width(page: Page) -> float:
    begin, end = page.evaluate(RANGE)
    return float(end - begin)


@contextmanager
def held_back(page: Page) -> Iterator[list[Route]]:
    """What the page asks of the market's candles meanwhile, unanswered until the end."""
    held: list[Route] = []
    is_over = False

    def hold(route: Route) -> None:
        if is_over or not _asks_for_candles(route.request):
            route.continue_()
        else:
            held.append(route)

    page.route(ASKED, hold)
    yield held
    is_over = True
    for route in held:
        route.continue_()


def test_a_move_while_candles_are_on_their_way_is_not_undone(chart):
    begin, step = low(chart), width(chart)
    with held_back(chart) as held:
        chart.evaluate(MOVE, 0.8)
        until(lambda: chart.wait_for_timeout(20) or held, 10, "the question")
        chart.evaluate(MOVE, -0.1)
    settled(chart, IN_VIEW)
    assert low(chart) == pytest.approx(begin - 0.7 * step, abs=2)


def test_a_move_back_while_candles_are_on_their_way_leaves_nothing_blank(chart):
    """What comes is around where the reader was: what is in view by then is asked for again."""
    begin, newest = low(chart), chart.evaluate(f"() => {NEWEST}")
    with held_back(chart) as held:
        chart.evaluate(MOVE, 0.8)
        until(lambda: chart.wait_for_timeout(20) or held, 10, "the question")
        chart.evaluate(MOVE, -0.8)
        chart.wait_for_timeout(SETTLED_MS // 2)
    settled(chart, f"{NEWEST} >= {newest}")
    assert low(chart) == pytest.approx(begin, abs=2)


def test_a_hand_that_drags_is_not_disturbed_by_what_arrives(chart):
    box = chart.locator("#market-chart .nsewdrag").first.bounding_box()
    assert box is not None
    y, left = box["y"] + box["height"] / 2, box["x"] + 100
    begin, step, across = low(chart), width(chart), box["width"]
    drawn_from = chart.evaluate(LOADED_FROM)
    with held_back(chart) as held:
        chart.evaluate(MOVE, 0.8)
        until(lambda: chart.wait_for_timeout(20) or held, 10, "the question")
        chart.mouse.move(left, y)
        chart.mouse.down()
        chart.mouse.move(left + 100, y, steps=5)
    chart.wait_for_timeout(SETTLED_MS)
    assert chart.evaluate(LOADED_FROM) == drawn_from, "it was drawn under the hand"
    chart.mouse.move(left + 200, y, steps=5)
    chart.mouse.up()
    settled(chart, IN_VIEW)
    assert low(chart) == pytest.approx(begin - (0.8 + 200 / across) * step, rel=1e-7)


def test_what_a_short_pan_shows_is_there_and_more_is_fetched_ahead(chart):
    """By four tenths of the view, again and again: each time the candles are there when it is painted."""
    for _ in range(4):
        chart.evaluate(MOVE, 0.4)
        assert chart.evaluate(LOADED_FROM) <= low(chart) + 60_000, "a pan had to wait for candles"
        begin = low(chart)
        settled(chart, AHEAD)
        assert low(chart) == begin, "what was fetched ahead moved the view"


def test_a_candle_that_comes_before_its_chart_is_on_it_when_it_is_drawn(chart):
    was_left_alone, pushed = chart.evaluate(EARLY, False)
    assert was_left_alone
    chart.get_by_role("button", name="Show 6h").click()
    settled(chart, f"{NEWEST} === {pushed}")


def test_a_chart_that_is_to_be_fetched_anew_before_it_is_drawn_is_fetched_anew(chart):
    asked: list[str] = []
    chart.on("request", lambda request: asked.append(request.url) if _asks_for_candles(request) else None)
    for redraw, wanted in ((False, 1), (True, 2)):
        asked.clear()
        chart.evaluate(EARLY, redraw)
        chart.get_by_role("button", name="Show 6h").click()
        until(lambda n=wanted: chart.wait_for_timeout(20) or len(asked) >= n, 20, "the questions")
        chart.wait_for_timeout(SETTLED_MS)
        assert len(asked) == wanted
