"""The dashboard as 20 people feel it: the API and the pages' callbacks on large tables, first loads in a real
browser, a trade to a pixel, a click to a status.

ROWS=… rows a table (ten million by default, which takes six minutes to fill); CLIENTS=… at once.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis as redis_client
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, sync_playwright

from core.timeframes import Timeframe
from pipelines.bus import json as messages
from pipelines.warehouse.database import engine
from tests.big_tables import fill
from tests.dashboard_seed import market_message, seed
from tests.dashboard_server import until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(3600)]

ROWS = int(os.environ.get("ROWS", "10_000_000"))
CLIENTS = int(os.environ.get("CLIENTS", "20"))
SECONDS = 20
THINKS_S = 0.5
"""Between two requests of a client: 20 of them ask 40 times a second, more than people do."""
PAGES = ("/", "/market", "/bots", "/bots?tab=signals", "/bots?tab=trades", "/data", "/system", "/backtests")
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
    "/api/risk",
)


@contextmanager
def dashboard(database_url: str, redis_url: str, port: int, home: Path) -> Iterator[str]:
    """A dashboard in a process of its own; its address."""
    variables = {
        "TCP_DATABASE_URL": database_url,
        "TCP_REDIS_URL": redis_url,
        "TCP_DASHBOARD_PORT": str(port),
        "TCP_HOME": str(home),
        "TCP_CONFIG_DIR": str(home / "config"),
        "TCP_DAGSTER_PORT": "1",
    }
    url = f"http://127.0.0.1:{port}"
    with (home / "dashboard.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "dashboard"],
            env={**os.environ, **variables},
            stdout=log,
            stderr=log,
        )
        try:
            until(lambda: process.poll() is None and _answers(url), 120, "the dashboard")
            yield url
        finally:
            process.terminate()
            process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5):
            return True
    except OSError:
        return False


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's, or Playwright's own."""
    path = next((found for found in map(shutil.which, ("chromium", "google-chrome")) if found), None)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


def test_api_and_callbacks_of_large_tables(
    database_url: str, redis_url: str, unused_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """p50 and p95 of every read and every callback with CLIENTS clients at once."""
    fill(engine(database_url), ROWS)
    with dashboard(database_url, redis_url, unused_port, tmp_path) as url:
        with chromium() as browser:
            callbacks = _recorded(browser, url)
        api = _load(url, [(path, None) for path in API])
        pages = _load(url, callbacks)
    _say(capsys, f"API, {ROWS:,} rows a table, {CLIENTS} clients", api)
    _say(capsys, "callbacks", pages)


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
    page.close()
    return list(asked.values())


def _load(url: str, asked: list[tuple[str, bytes | None]]) -> dict[str, list[float]]:
    """Name → times in ms of its answers, by CLIENTS threads for SECONDS."""
    times: dict[str, list[float]] = defaultdict(list)
    end = time.monotonic() + SECONDS

    def client(first: int) -> None:
        at = first
        while time.monotonic() < end:
            path, body = asked[at % len(asked)]
            request = urllib.request.Request(url + path, body, {"Content-Type": "application/json"})
            began = time.perf_counter()
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read()
            times[_name(path, body)].append((time.perf_counter() - began) * 1000)
            at += 1
            time.sleep(THINKS_S)

    threads = [threading.Thread(target=client, args=(n * 7,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def _name(path: str, body: bytes | None) -> str:
    return path if body is None else str(json.loads(body)["output"])[:60]


def _say(capsys: pytest.CaptureFixture[str], title: str, times: dict[str, list[float]]) -> None:
    every = sorted(one for found in times.values() for one in found)
    lines = [f"\n{title}: {len(every)} answers, load {os.getloadavg()[0]:.1f}"]
    for name, found in [*sorted(times.items()), ("all", every)]:
        ranked = sorted(found)
        p50, p95 = ranked[len(ranked) // 2], ranked[int(len(ranked) * 0.95)]
        lines.append(f"{name:<62} {len(found):>5} p50 {p50:>8.1f} p95 {p95:>8.1f} ms")
    with capsys.disabled():
        sys.stdout.write("\n".join(lines) + "\n")


def test_first_load_trade_to_pixel_and_click(
    database_url: str, redis_url: str, unused_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cold and warm first loads of each page, a published price to the number on the page, a click to the
    row."""
    now_ms = time.time_ns() // 1_000_000
    seed(engine(database_url), now_ms, minutes=1500)
    running = Timeframe.M1.close_ms(now_ms)  # the candle behind the stored ones: no hole, nothing drawn anew
    lines = []
    with dashboard(database_url, redis_url, unused_port, tmp_path) as url, chromium() as browser:
        for path, ready in (("/", ".chart-box:not(.waiting) .js-plotly-plot"), ("/bots", "#bot-save")):
            lines.append(f"{path}: first load {_loads(browser, url + path, ready)}")
        page = browser.new_page()
        page.goto(f"{url}/?bot=bot_001")
        page.wait_for_selector(".chart-box:not(.waiting) .js-plotly-plot")
        pixels = sorted(_pixel_ms(page, redis_url, running, 61_000 + n) for n in range(40))
        lines.append(
            f"price to pixel: p50 {pixels[20]:.0f}, p95 {pixels[38]:.0f}, longest {pixels[-1]:.0f} ms"
        )
        lines.append(f"click on stop to bots.status: {_click_ms(page, database_url):.0f} ms")
    lines.append(f"load {os.getloadavg()[0]:.1f}")
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")


def _loads(browser: Browser, address: str, ready: str) -> str:
    """Cold, then warm with the browser's cache, seconds to the drawn page."""
    context = browser.new_context()
    found = []
    for _ in range(3):
        page = context.new_page()
        began = time.perf_counter()
        page.goto(address, wait_until="commit")
        page.wait_for_selector(ready)
        found.append(time.perf_counter() - began)
        page.close()
    context.close()
    return f"cold {found[0]:.2f} s, warm {min(found[1:]):.2f} s"


def _pixel_ms(page: Page, redis_url: str, closes: int, price: float) -> float:
    """From the moment a running candle is published to its price being on the page."""
    message = market_message("BTC-USDT", "1m", closes, (price,) * 4 + (1.0,), False)
    wanted = f"{price:,.1f}"
    return _timed(
        lambda: _publish(redis_url, message),
        lambda: page.wait_for_function(f"document.getElementById('chart-price').textContent === '{wanted}'"),
    )


def _publish(redis_url: str, message: dict[str, object]) -> None:
    with redis_client.Redis.from_url(redis_url) as client:
        client.publish("market:BTC-USDT", messages.encode(message))


def _click_ms(page: Page, database_url: str) -> float:
    """From a click on Stop to the stored status."""
    query = sa.text("SELECT status FROM bots WHERE name = 'bot_002'")

    def stored() -> bool:
        with engine(database_url).connect() as connection:
            return connection.execute(query).scalar() == "stopped"

    button = page.get_by_role("button", name="Stop bot_002")
    return _timed(button.click, lambda: until(stored, 20, "the status"))


def _timed(act: Callable[[], object], arrived: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    arrived()
    return (time.perf_counter() - began) * 1000
