"""The whole product at sixty times the pace: markets, bots, a person in a browser, a killed daemon."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from cli.stack.secret import write_private
from cli.stack.servers import http_answers
from tests.live_stack import BOTS, LiveStack, live_stack
from tests.privacy import leaks, open_ports, open_to_others
from tests.stack import eventually
from tests.stored_market import market_faults, unjudged_candles
from tests.story import Story

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.servers, pytest.mark.timeout(900)]
CLICKED = "bot_002"
SWEEP = (
    "--strategy ema_crossover --symbol BTC-USDT --timeframe 1m --grid fast_period=2,3 --grid slow_period=5,9"
)
NOTIFY_PASSWORD = "hunter2-of-the-hook"
NOTIFY = f"jsons://reader:{NOTIFY_PASSWORD}@127.0.0.1:9/hook"
"""Nobody listens there: every notification is an error that is told."""
KEYS = {"api_key": "sim-key", "secret": "sim-secret", "passphrase": "sim-passphrase"}
"""Of the account at the simulated exchange: the order sender logs in with them."""
WAIT_MS = 60_000
TRADING = "SELECT count(DISTINCT bot_id) FROM trades"


@pytest.fixture
def stack(tmp_path):
    """The stack, with the trading part and the dashboard answering."""
    secrets = tmp_path / "home" / "secrets"
    secrets.mkdir(mode=0o700, parents=True)
    secrets.parent.chmod(0o700)
    write_private(secrets / "okx-demo.json", json.dumps(KEYS))
    told = {"TCP_NOTIFY_URLS": NOTIFY, "TCP_NOTIFY_LEVEL": "info"}
    with live_stack(tmp_path, "60", TCP_REAL_ORDERS="demo", **told) as started:
        eventually(lambda: started.judging() == BOTS, 150, f"signals of every bot (log: {started.log})")
        eventually(lambda: http_answers(f"{started.dashboard}/healthz"), 90, "the dashboard")
        yield started


def test_bots_trade_people_click_and_nothing_is_lost(stack: LiveStack, browser: Browser, page: Page, capsys):
    """Candles equal the trades they are made of, every bot judges every candle, also over a kill -9 of the
    daemon; a click stops and starts a bot; a newcomer makes a bot, sees it trade, tests it, promotes a row of
    a sweep and ends it; no secret is where others see it, no port off loopback; Ctrl-C leaves no process."""
    eventually(lambda: stack.scalar(TRADING) >= 4, 90, "trades of four bots")
    _click_stop_and_start(stack, browser)
    compared = _nothing_is_lost(stack)
    assert min(compared["1m"], compared["5m"]) > 0

    before = stack.tcp.status()["live"]["pid"]
    candles = stack.scalar("SELECT count(*) FROM market_data WHERE source = 'trades'")
    os.kill(before, signal.SIGKILL)
    later = "SELECT count(*) FROM market_data WHERE source = 'trades'"
    eventually(lambda: stack.scalar(later) > candles + 30, 90, "candles after the daemon's end")
    assert stack.tcp.status()["live"]["pid"] not in (None, before)
    running = "SELECT count(*) FROM bots WHERE state = 'running'"
    eventually(lambda: stack.scalar(running) == BOTS, 60, "every bot again")
    compared = _nothing_is_lost(stack)

    swept = stack.tcp.run("sweep", *SWEEP.split(), "--out", str(stack.tcp.home / "sweep.parquet"))
    assert swept.returncode == 0, swept.stderr
    Story(page, stack.dashboard).tell()
    page.close()

    assert "through okx-demo" in stack.tcp.run("doctor").stdout
    assert leaks(stack.tcp, stack.dashboard, {"TCP_NOTIFY_URLS": NOTIFY_PASSWORD, **KEYS}) == []
    assert _errors(stack.tcp.home / "logs" / "dashboard.log") == []
    # Dagster gives way to all others: on a busy machine it is up minutes after them.
    eventually(lambda: not open_ports(stack.tcp.home), 240, "every server on loopback")
    assert open_ports(stack.tcp.home) == []
    assert open_to_others(stack.tcp.home) == []

    trades, signals = (stack.scalar(f"SELECT count(*) FROM {table}") for table in ("trades", "signals"))
    assert stack.interrupt() == 0
    assert stack.tcp.living() == []
    with capsys.disabled():
        sys.stdout.write(
            f"\n{trades} trades, {signals} signals of {BOTS} bots; candles compared: {compared}\n"
        )


def _click_stop_and_start(stack: LiveStack, browser: Browser) -> None:
    page = browser.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(stack.dashboard)
    row = page.locator(f'[data-bot-row="{CLICKED}"]')
    expect(row.locator(".state")).to_have_text("Running", timeout=WAIT_MS)
    row.get_by_role("button", name=f"Stop {CLICKED}").click()
    expect(row.locator(".state")).to_have_text("Stopped", timeout=WAIT_MS)
    eventually(lambda: _bot(stack) == ("stopped", "stopped"), 20, "the stopped bot's row")
    row.get_by_role("button", name=f"Start {CLICKED}").click()
    expect(row.locator(".state")).to_have_text("Running", timeout=WAIT_MS)
    eventually(lambda: _bot(stack) == ("active", "running"), 60, "the started bot's row")
    page.close()


def _errors(log: Path) -> list[str]:
    """Lines of failures that nobody expected, of a dashboard whose daemon was killed under it."""
    return [line for line in log.read_text().splitlines() if '"level": "error"' in line]


def _bot(stack: LiveStack) -> tuple[str, str]:
    row = stack.scalar("SELECT ARRAY[status::text, state::text] FROM bots WHERE name = :name", name=CLICKED)
    return row[0], row[1]


def _nothing_is_lost(stack: LiveStack) -> dict[str, int]:
    """Poll until the database holds no fault: what a crash left behind is mended within seconds."""
    seen: list[object] = []

    def whole() -> dict[str, int] | None:
        faults, compared = market_faults(stack.engine)
        unjudged = {name: count for name, count in unjudged_candles(stack.engine).items() if name != CLICKED}
        seen[:] = [faults[:10], unjudged]
        return None if faults or unjudged else compared

    try:
        return dict(eventually(whole, 45, "candles equal to their trades, each judged once"))
    except AssertionError as error:
        raise AssertionError(f"{error}: {seen}") from None
