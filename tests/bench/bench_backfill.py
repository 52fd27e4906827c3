"""Backfills of 1m candles for three symbols from the simulated exchange: at its legal rate, and without any.

`MONTHS` of them (3). At the legal rate 24 months take 18 minutes
(10,512 requests of 300 candles, ten a second); without limits it is the exchange's own work that is waited
for: it makes every day's trades before it has their candles. Fails when it idles: by more than 5 % of the
legal rate, or of one core where there is no limit and the machine has one to spare.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from config.settings import PROJECT_ROOT
from core.timeframes import Timeframe
from pipelines.backfill.candles import backfill_candles
from pipelines.exchanges.okx.limits import REST_LIMITS, Budget
from pipelines.exchanges.okx.requests import Requester
from pipelines.exchanges.okx.rest import OkxRest
from pipelines.exchanges.okx.shared_budget import shared_budgets
from tests.bench.figures import Tell

pytestmark = [pytest.mark.servers, pytest.mark.timeout(7200)]

MONTHS = float(os.environ.get("MONTHS", "3"))
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
SIZE = f"{MONTHS:g} months of 1m, {len(SYMBOLS)} symbols"
HISTORY = "/api/v5/market/history-candles"
DAY_MS = 86_400_000
END_MS = 1_788_220_800_000
MOST_IDLE = 0.05


@contextmanager
def exchange(rate_limit: str) -> Iterator[tuple[str, psutil.Process]]:
    """A simulated exchange of its own process: its address, and the process."""
    command = [sys.executable, "-m", "cli.main", "sim", "--speed", "max", "--rate-limit", rate_limit]
    process = subprocess.Popen(
        [*command, "--start", "2026-09-02T00:00:00Z"], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["rest"], psutil.Process(process.pid)
        finally:
            process.terminate()


class Counted(Requester):
    """How many pages of history were asked for, refused ones included, and in which seconds."""

    first = last = 0.0
    asked = 0

    async def _once(self, host: str, path: str, parameters: Any) -> bytes:
        if path == HISTORY:
            self.asked += 1
            self.last = time.monotonic()
            self.first = self.first or self.last
        return await super()._once(host, path, parameters)


def run(url: str, budgets: dict[str, Budget], database_url: str) -> tuple[Counted, int, float]:
    """The backfill: its requests, its rows, its seconds."""

    async def work() -> tuple[Counted, int, float]:
        requester = Counted(url, budgets)
        rest = OkxRest(url, requester)
        began, rows = time.perf_counter(), 0
        start = END_MS - round(MONTHS * 365 / 12) * DAY_MS
        for symbol in SYMBOLS:
            report = await backfill_candles(rest, database_url, symbol, Timeframe.M1, start, END_MS)
            assert report.missing == 0
            rows += report.rows
        await rest.close()
        return requester, rows, time.perf_counter() - began

    return asyncio.run(work())


def test_at_the_legal_rate(database_url: str, tmp_path: Path, tell: Tell) -> None:
    with exchange("1") as (url, _):
        requester, rows, seconds = run(url, shared_budgets(tmp_path, url), database_url)
    count, window_s = REST_LIMITS[HISTORY]
    # The first window's requests leave at once: the rate is that of what came after them.
    rate = (requester.asked - count) / (requester.last - requester.first)
    idle = 1 - rate / (count / window_s)
    tell(
        f"{SIZE}, legal rate: {rows:,} candles in {seconds:.0f} s, {rate:.2f} requests/s, idle {idle:.1%}",
        "legal-rate",
    )
    assert idle <= MOST_IDLE


def test_without_limits(database_url: str, tell: Tell) -> None:
    load = os.getloadavg()[0]
    with exchange("0") as (url, process):
        before, begun = time.process_time(), _seconds_of(process)
        _, rows, seconds = run(url, {}, database_url)
        ours, theirs = time.process_time() - before, _seconds_of(process) - begun
    busy = (ours + theirs) / seconds
    tell(
        f"{SIZE}, no limits: {rows:,} candles in {seconds:.0f} s, {rows / seconds:,.0f}/s; CPU seconds: "
        f"backfill {ours:.1f} ({rows / ours:,.0f} candles/s), exchange {theirs:.1f}; {busy:.0%} of a core",
        "no-limits",
    )
    assert load >= (os.cpu_count() or 1) or busy >= 1 - MOST_IDLE


def _seconds_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
