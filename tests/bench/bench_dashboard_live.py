"""The dashboard while the market trades: a trade to a pixel with ten bots and CLIENTS open pages, a click to
a status, bytes a page; and memory while pages come and go (MINUTES, none unless told).

It fails above its targets: times only where the machine has a core to spare when it begins, the server's part
of a core, bytes and memory in any case.
"""

import asyncio
import json
import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import cycle, islice
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page
from websockets.asyncio.client import connect

from tests.bench.dashboard_client import Client
from tests.bench.dashboard_process import DRAWN, chromium, missed, ranked, timed
from tests.bench.figures import Tell
from tests.bench.lateness import Painted, Traded, lateness
from tests.dashboard_server import until
from tests.live_stack import LiveStack, live_stack
from tests.stack import eventually

pytestmark = [pytest.mark.servers, pytest.mark.timeout(7200)]

CLIENTS = int(os.environ.get("CLIENTS", "20"))
MINUTES = float(os.environ.get("MINUTES", "0"))
SECONDS = 60
PIXEL_MS, CLICK_MS, KB_A_SECOND, OF_A_CORE, GROWTH_AN_HOUR = 500, 2_000, 100, 0.25, 0.05
"""Targets: times at p95, bytes a page, the server for all pages, memory as a part of what it was."""
BOTS = 10
SYMBOL = "BTC-USDT"
SPEED = "10"
"""Of the market, so that it trades as often as a busy one."""
WATCHER = """() => {
  window.seen = [];
  const live = window.dash_clientside.tcpLive, price = document.getElementById("chart-price");
  const take = live.chart, painted = new MessageChannel();
  painted.port1.onmessage = (event) => window.seen.push([Date.now(), ...event.data]);
  live.chart = (push, meta) => {
    const done = take(push, meta);
    const candle = push && push.candles && push.candles[push.candles.length - 1];
    const shown = () => painted.port2.postMessage([candle.t, candle.v, price.textContent]);
    if (candle) requestAnimationFrame(shown);
    return done;
  };
}"""
"""Notes each candle that is pushed, and the price, when the frame after it has been painted."""


@contextmanager
def opened(clients: list[Client]) -> Iterator[None]:
    """The pages, open until the block ends; a crash of one is raised there."""
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(client.live()) for client in clients]
    thread = threading.Thread(target=lambda: loop.run_until_complete(_all(tasks)))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
        thread.join(30)
        loop.close()
    failed = [task.exception() for task in tasks if not task.cancelled() and task.exception()]
    assert not failed, failed[0]


async def _all(tasks: list["asyncio.Task[None]"]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def trades(exchange: str, symbol: str) -> Iterator[list[Traded]]:
    """Each trade that the exchange sends, growing until the block ends."""
    found: list[Traded] = []
    loop = asyncio.new_event_loop()

    async def listen() -> None:
        async with connect(f"{exchange}/public") as socket:
            channel = {"channel": "trades", "instId": symbol}
            await socket.send(json.dumps({"op": "subscribe", "args": [channel]}))
            async for text in socket:
                now = time.time() * 1000
                found.extend(
                    Traded(now, int(row["ts"]), Decimal(row["px"]), Decimal(row["sz"]))
                    for row in json.loads(text).get("data", [])
                )

    task = loop.create_task(listen())
    thread = threading.Thread(target=lambda: loop.run_until_complete(_all([task])))
    thread.start()
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(30)
        loop.close()


def _bots(stack: LiveStack) -> list[str]:
    """Ids of ten running bots: those that ship, and copies of them."""
    names = [f"bot_{n:03}" for n in range(1, BOTS + 1)]
    shipped = [json.loads(file.read_text()) for file in sorted(stack.config.glob("bots/*.json"))]
    eventually(lambda: stack.judging() == len(shipped), 240, "the bots that ship")
    for name, document in islice(zip(names, cycle(shipped), strict=False), len(shipped), BOTS):
        Client(stack.dashboard, name).put(f"/api/bot/{name}/config", {**document, "bot_id": name})
    eventually(lambda: stack.judging() == BOTS, 240, "ten judging bots")
    return names


def test_trade_to_pixel_click_and_bytes(tmp_path: Path, tell: Tell) -> None:
    """Trades of the simulated exchange until Chromium has painted them, with CLIENTS - 1 other pages open."""
    load = os.getloadavg()[0]
    with live_stack(tmp_path, SPEED) as stack:
        names = _bots(stack)
        others = [Client(stack.dashboard, name, symbol=SYMBOL) for name in islice(cycle(names), CLIENTS - 1)]
        server = _process_of(stack, "dashboard")
        with chromium() as browser, opened(others), trades(stack.exchange, SYMBOL) as traded:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(f"{stack.dashboard}/?bot=bot_001")
            page.wait_for_selector(DRAWN)
            page.evaluate(WATCHER)
            since = time.time() * 1000
            eventually(lambda: all(client.prices for client in others), 60, "a price on every page")
            before, used = [client.bytes_in for client in others], sum(server.cpu_times()[:2])
            page.wait_for_timeout(SECONDS * 1000)
            used = sum(server.cpu_times()[:2]) - used
            rates = [(c.bytes_in - b) / SECONDS / 1000 for c, b in zip(others, before, strict=True)]
            seen, end = [Painted(*row) for row in page.evaluate("window.seen")], time.time() * 1000
            before_end = [trade for trade in traded if trade.at < end]
            late = lateness(before_end, seen, since, end)
            came = next(client.came for client in others if client.came)
            arrived = lateness(before_end, [one for one in came if since < one.at < end], since, end)
            clicks = _clicks(page, stack)
        size = f"{BOTS} bots, {CLIENTS} pages"
        tell(
            f"{size}: {ranked(late)}; of it until it arrived on another page: {ranked(arrived)}",
            "trade-to-pixel",
        )
        tell(f"{size}: {ranked(clicks)}", "click")
        tell(
            f"{size}: {min(rates):.1f} to {max(rates):.1f} KB/s a page; the server takes "
            f"{100 * used / SECONDS:.0f} % of a core, {server.memory_info().rss / 1e6:.0f} MB",
            "page-bytes",
        )
    too_late = missed("trade to pixel", late, PIXEL_MS, 0, load) + missed("click", clicks, CLICK_MS, 0, load)
    assert not too_late, too_late
    assert max(rates) <= KB_A_SECOND
    assert used / SECONDS <= OF_A_CORE


def _clicks(page: Page, stack: LiveStack) -> list[float]:
    """From a click on Pause and on Start until the bot itself is in that state."""
    state = "SELECT state FROM bots WHERE name = 'bot_003'"

    def click(action: str, wanted: str) -> float:
        button = page.get_by_role("button", name=f"{action} bot_003")
        button.wait_for()
        return timed(button.click, lambda: until(lambda: stack.scalar(state) == wanted, 20, wanted))

    return [click(*pair) for _ in range(5) for pair in (("Pause", "paused"), ("Start", "running"))]


def _process_of(stack: LiveStack, service: str) -> psutil.Process:
    return psutil.Process(stack.tcp.status()[service]["pid"])


@pytest.mark.skipif(not MINUTES, reason="MINUTES=60 for an hour")
def test_memory_while_pages_come_and_go(tmp_path: Path, tell: Tell) -> None:
    """Resident memory of the server, while CLIENTS pages are opened and closed every quarter of a minute."""
    with live_stack(tmp_path, SPEED) as stack:
        names = _bots(stack)
        server, found = _process_of(stack, "dashboard"), []
        end = time.monotonic() + MINUTES * 60
        while time.monotonic() < end:
            with opened([Client(stack.dashboard, name) for name in islice(cycle(names), CLIENTS)]):
                time.sleep(15)
            found.append(server.memory_info().rss / 1e6)
        tenth = max(1, len(found) // 10)
        marks = " ".join(f"{size:.0f}" for size in found[::tenth])
        slope = _slope(found[len(found) // 3 :], MINUTES * 60 / len(found))
        tell(
            f"{MINUTES:g} min, {len(found) * CLIENTS} pages: {marks} MB; of the last two thirds "
            f"{slope:+.1f} MB an hour",
            "server-memory",
        )
    assert slope <= GROWTH_AN_HOUR * found[0]


def _slope(sizes: list[float], every_s: float) -> float:
    """The straight line through sizes that were taken every so many seconds, an hour."""
    return statistics.linear_regression(range(len(sizes)), sizes).slope * 3600 / every_s
