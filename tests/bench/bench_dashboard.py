"""The dashboard as 20 people ask it: the API and the pages' callbacks on large tables.

ROWS=… rows a table (ten million by default, which takes six minutes to fill; at least a million, as the
chart is panned over months); CLIENTS=… at once. It fails above its targets: by the clock where the machine
has a core to spare when it begins, else by the processor's time.
"""

import json
import os
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from random import Random

import pytest
from playwright.sync_api import Browser, Page

from pipelines.warehouse.database import engine
from tests.bench.dashboard_process import chromium, dashboard, judged, missed, ranked, worked_ms
from tests.bench.figures import Tell
from tests.big_tables import fill

pytestmark = [pytest.mark.servers, pytest.mark.timeout(3600)]

ROWS = int(os.environ.get("ROWS", "10_000_000"))
CLIENTS = int(os.environ.get("CLIENTS", "20"))
API_MS, CALLBACK_MS = 50, 200
"""Targets at p95."""
SECONDS = 20
THINKS_S = 0.5
"""Between two requests of a client: 20 of them ask 40 times a second, more than people do."""
PAGES = (
    "/",
    "/market",
    "/bots",
    "/bots?tab=signals",
    "/bots?tab=trades",
    "/portfolio",
    "/data",
    "/system",
    "/backtests",
    "/compare",
    "/compare?of=" + ",".join(f"bot:bot_{n:03}" for n in range(11, 17)),
)
CHART = "#market-box:not(.waiting) .js-plotly-plot"
SPANS = ("6h", "1d", "1w", "1M")
PANS = 3
PAN = """() => {
  const graph = document.querySelector("#market-chart .js-plotly-plot");
  const range = graph.layout.xaxis.range.map((x) => typeof x === "number" ? x : Date.parse(x + "Z"));
  const width = range[1] - range[0];
  return Plotly.relayout(graph, { "xaxis.range": range.map((x) => x - width) });
}"""
"""To the width before, of which nothing is loaded: asked of the server, as a zoom by a button is."""
NOON = "2025-09-02T12:00:00Z"
API = (
    "/api/bots",
    "/api/bot/bot_007",
    "/api/bot/bot_007/trades?limit=100",
    "/api/bot/bot_007/signals?limit=100",
    "/api/bot/bot_007/signals?limit=100&type=buy",
    f"/api/bot/bot_007/signals?limit=100&to={NOON}",
    "/api/bot/bot_007/orders?limit=100",
    "/api/bot/bot_007/performance?limit=100",
    "/api/market/ETH-USDT/history?limit=100",
    f"/api/market/ETH-USDT/history?limit=100&to={NOON}",
    "/api/events?limit=100",
    "/api/data/gaps",
    "/api/data/health",
    "/api/risk",
)


def test_api_and_callbacks_of_large_tables(
    database_url: str, redis_url: str, unused_port: int, tmp_path: Path, tell: Tell
) -> None:
    """p50 and p95 of every read and every callback with CLIENTS clients at once."""
    load, late = os.getloadavg()[0], []
    fill(engine(database_url), ROWS)
    with dashboard(database_url, redis_url, unused_port, tmp_path) as url:
        with chromium() as browser:
            callbacks = _recorded(browser, url)
        api = _load(url, [(path, None) for path in API])
        pages = _load(url, callbacks)
    for title, (times, work_ms), target in (("API", api, API_MS), ("callbacks", pages, CALLBACK_MS)):
        every = [one for found in times.values() for one in found]
        late += missed(title, every, target, work_ms / len(every), load)
        lines = [f"{name:<62} {ranked(found)}" for name, found in [*sorted(times.items()), ("all", every)]]
        tell("\n".join(lines))
        found = f"{title}, {ROWS:,} rows a table, {CLIENTS} clients: {ranked(every)}{judged(load)}"
        tell(found, title.lower())
    assert not late, late


def _recorded(browser: Browser, url: str) -> list[tuple[str, bytes | None]]:
    """What the pages ask while they open and are looked at, as (path, body)."""
    asked: dict[bytes, tuple[str, bytes | None]] = {}
    page = browser.new_page()

    def note(request: object) -> None:
        path, body = request.url.removeprefix(url), request.post_data_buffer  # type: ignore[attr-defined]
        if path.startswith("/_dash-update-component") and body is not None:
            asked.setdefault(body, (path, body))

    page.on("request", note)
    for path in PAGES:
        page.goto(url + path)
        page.wait_for_timeout(4_000)
        if path == "/market":
            _look_around(page)
    page.close()
    return list(asked.values())


def _look_around(page: Page) -> None:
    """Zoom by the buttons, and pan from each."""
    pans: list[Callable[[], object]] = [partial(page.evaluate, PAN)] * PANS
    for word in SPANS:
        zoom: Callable[[], object] = page.get_by_role("button", name=f"Show {word}").click
        for act in [zoom, *pans]:
            with page.expect_response(lambda answer: "market-view" in (answer.request.post_data or "")):
                act()
            page.wait_for_selector(CHART)
            page.wait_for_timeout(500)


def _load(url: str, asked: list[tuple[str, bytes | None]]) -> tuple[dict[str, list[float]], float]:
    """Name → times in ms of its answers, by CLIENTS threads for SECONDS; and the processor's time of all.
    Each asks in an order of its own and began at a time of its own, as people do: none waits for another."""
    before = worked_ms()
    times: dict[str, list[float]] = defaultdict(list)
    end = time.monotonic() + SECONDS

    def client(number: int) -> None:
        chance = Random(number)
        order = cycle(chance.sample(asked, len(asked)))
        time.sleep(chance.random() * THINKS_S)
        while time.monotonic() < end:
            path, body = next(order)
            request = urllib.request.Request(url + path, body, {"Content-Type": "application/json"})
            began = time.perf_counter()
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read()
            times[_name(path, body)].append((time.perf_counter() - began) * 1000)
            time.sleep(THINKS_S)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, worked_ms() - before


def _name(path: str, body: bytes | None) -> str:
    """The route, or the callback's first output and, where it depends on that, the page it is for; of a chart
    how wide the view is that was asked for."""
    if body is None:
        return path
    asked = json.loads(body)
    parts = [part for part in asked["inputs"] + asked.get("state", []) if isinstance(part, dict)]
    given = {f"{part['id']}.{part['property']}": part.get("value") for part in parts}
    of = "".join(str(given.get(name) or "") for name in ("url.pathname", "url.search"))
    if view := given.get("market-view.data"):
        of += f"{(view[1] - view[0]) / 86_400_000:.1f} days"
    return f"{str(asked['output']).strip('.').split('...')[0][:40]} {of}"
