"""Months of minutes of three symbols, backfilled under kills: the rows of a run without any."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text

from config.settings import PROJECT_ROOT
from core.timeframes import Timeframe
from pipelines.backfill.candles import BATCH
from pipelines.warehouse.database import engine, migrate
from tests.backfill_children import candles, run_and_kill
from tests.own_servers import own_postgres
from tests.soaks.report import say

SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
KILLS = 10
BATCHES = 400
"""At least as many, however few the months, so that there is room for every kill."""
DAY_MS = 86_400_000
NOW = "2026-09-02T00:00:00Z"
END_MS = 1_788_220_800_000
"""The midnight before."""

_ROWS = text("""
    SELECT symbol, count(*), max(revision), min(timestamp), max(timestamp),
           md5(string_agg(md5(ROW(timestamp, open, high, low, close, volume, trades_count, source, revision,
                                  provisional)::text), '' ORDER BY timestamp))
    FROM market_data WHERE timeframe = '1m' GROUP BY symbol ORDER BY symbol
""")

Row = tuple[object, ...]


def run(months: float) -> list[str]:
    """What is not as it must be after ten kills, each somewhere else."""
    start_ms = END_MS - round(months * 365 / 12) * DAY_MS
    minutes = (END_MS - start_ms) // Timeframe.M1.ms
    with own_postgres() as server, _exchange() as rest_url:
        migrate(server.url)
        own = engine(server.url)
        total = len(SYMBOLS) * minutes
        batch = min(BATCH, total // BATCHES)
        arguments = (rest_url, server.url, SYMBOLS, start_ms, END_MS, batch)
        say(f"{months:g} months of 1m of {', '.join(SYMBOLS)}: {total:,} candles, {batch:,} a batch")
        killed = _killed(own, arguments, total // batch)
        with own.begin() as connection:
            connection.execute(text("TRUNCATE market_data"))
        began = time.monotonic()
        assert run_and_kill(candles, arguments, None)
        say(f"without a kill: {time.monotonic() - began:.0f} s")
        whole = _rows(own)
        own.dispose()
    faults = [
        f"{one} after kills, {other} without"
        for one, other in zip(killed, whole, strict=True)
        if one != other
    ]
    if [row[:3] for row in whole] != [(symbol, minutes, 0) for symbol in SYMBOLS]:
        faults.append(f"{minutes:,} candles of each symbol, none revised, are not {whole}")
    return faults


def _killed(own: Engine, arguments: tuple[object, ...], batches: int) -> list[Row]:
    """The rows of a backfill that was killed ten times: they are spread over the first two thirds."""
    dice = random.Random(5)
    for number in range(KILLS):
        after = dice.randint(1, 6 * batches // (5 * KILLS))
        assert not run_and_kill(candles, arguments, after), "it had come to its end before"
        say(f"kill {number + 1:>2} after {after:,} batches: {_count(own):,} candles are stored")
    assert run_and_kill(candles, arguments, None)
    return _rows(own)


def _rows(own: Engine) -> list[Row]:
    with own.connect() as connection:
        return [tuple(row) for row in connection.execute(_ROWS)]


def _count(own: Engine) -> int:
    with own.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM market_data")).scalar_one())


@contextmanager
def _exchange() -> Iterator[str]:
    """The simulated exchange as fast as it can, without limits; its REST address."""
    command = [sys.executable, "-m", "cli.main", "sim", "--speed", "max", "--rate-limit", "0", "--start", NOW]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["rest"]
        finally:
            process.terminate()
