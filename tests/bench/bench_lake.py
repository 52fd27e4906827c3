"""The lake: trades to proven Parquet, bytes a trade on real recordings, candles of a month of trades.

`DAYS=31 pytest -p no:randomly tests/bench/bench_lake.py`; each day has 600,000 trades, a busy one of
BTC-USDT, with the prices and sizes of a recording. About a minute; nothing is left behind.
"""

import os
import sys
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from core.timeframes import Timeframe
from pipelines.exchanges.okx.bulk_rows import read_bulk_file
from pipelines.lake.aggregate import candles_of_trades
from pipelines.lake.bulk import bulk_trades
from pipelines.lake.days import write_day
from pipelines.lake.files import write_trades
from pipelines.lake.store import LocalStore
from pipelines.warehouse.archive import TRADES_SCHEMA

pytestmark = [pytest.mark.real_data, pytest.mark.timeout(1800)]

DAYS = int(os.environ.get("DAYS", "31"))
TRADES_A_DAY = 600_000
FIRST = date(2026, 10, 1)
DAY_MS = 86_400_000
RECORDINGS = (
    "binance_BTC-USDT_2024-08-08T2354_11min.parquet",
    "binance_ETH-USDT_2024-08-08T2354_11min.parquet",
)


def recorded(path: Path) -> pa.Table:
    """A recording as the archive has it, the receiver's times included."""
    money = pl.Decimal(38, 18)
    frame = pl.read_parquet(path).select(
        pl.col("trade_id").cast(pl.Int64),
        pl.from_epoch("timestamp_ms", time_unit="ms")
        .dt.cast_time_unit("us")
        .dt.replace_time_zone("UTC")
        .alias("timestamp"),
        pl.col("price").cast(money),
        pl.col("size").cast(money),
        "side",
        pl.lit(1, pl.Int32).alias("count"),
        pl.lit("websocket").alias("source"),
        pl.from_epoch(pl.col("received_ns") // 1000, time_unit="us")
        .dt.replace_time_zone("UTC")
        .alias("received_at"),
    )
    return frame.sort("timestamp", "trade_id").to_arrow().cast(TRADES_SCHEMA)


def busy_day(base: pa.Table, number: int) -> pa.Table:
    """A day of trades: the recording's prices, sizes and sides again and again, ids and times of its own."""
    dice = np.random.default_rng(number)
    rows = base.take(pa.array(np.arange(TRADES_A_DAY) % base.num_rows))
    start = int(datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC).timestamp() * 1000) + number * DAY_MS
    return bulk_trades(
        pa.table(
            {
                "trade_id": np.arange(TRADES_A_DAY) + number * TRADES_A_DAY,
                "timestamp_ms": np.sort(dice.integers(0, DAY_MS, TRADES_A_DAY)) + start,
                "price": rows["price"],
                "size": rows["size"],
                "side": rows["side"],
            }
        )
    )


class Cost(NamedTuple):
    """Seconds on the clock, and of both cores' work: beside a busy neighbour only the second one tells."""

    wall: float
    cpu: float


def timed(work: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def test_trades_to_proven_parquet_and_a_month_of_candles(shared_data: Path, tmp_path: Path, capsys) -> None:
    lines = [f"{'what':<58} {'trades/s':>12} {'a CPU s':>12} {'bytes a trade':>14}"]
    for name in RECORDINGS:
        table = recorded(shared_data / "trades" / name)
        write_trades(table, tmp_path / name)
        size = (tmp_path / name).stat().st_size / table.num_rows
        lines.append(f"{name + f', {table.num_rows:,} trades':<58} {'':>12} {'':>12} {size:>14.2f}")
    base = recorded(shared_data / "trades" / RECORDINGS[0])
    store = LocalStore(tmp_path / "lake")
    wall, cpu, size, files = 0.0, 0.0, 0, []
    for number in range(DAYS):
        day = busy_day(base, number)
        at = FIRST + timedelta(days=number)
        cost = timed(partial(_write, store, day, at, files))
        wall, cpu = wall + cost.wall, cpu + cost.cpu
        size += files[-1].stat().st_size
    total = DAYS * TRADES_A_DAY
    lines.append(_line("written, synced, hashed, read back, compared", total, Cost(wall, cpu), size / total))
    lines.append(_line("a bulk zip parsed, then the same", TRADES_A_DAY, _from_zip(store, tmp_path, day)))
    lines.append(f"a month of candles, {total:,} trades in {DAYS} files")
    columns = ["timestamp", "trade_id", "price", "size", "count"]
    limit = min(
        timed(lambda: [pq.read_table(f, columns=columns, partitioning=None) for f in files]) for _ in "12"
    )
    ours = min(timed(lambda: candles_of_trades(files, Timeframe.M1)) for _ in "12")
    lines.append(_line("  1m candles, exact", total, ours))
    lines.append(_line("  plain pyarrow reading the same columns", total, limit))
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")


def _write(store: LocalStore, day: pa.Table, at: date, files: list[Path]) -> None:
    files.append(store.root / write_day(store, day, "BTC-USDT", at, whole=True).path)


def _from_zip(store: LocalStore, folder: Path, day: pa.Table) -> Cost:
    """What it costs from a bulk zip of a day to its proven file."""
    rows = day.select(["trade_id", "side", "price", "size"]).append_column(
        "created_time", day["timestamp"].cast(pa.timestamp("ms", "UTC")).cast(pa.int64())
    )
    text = pa.BufferOutputStream()
    pa_csv.write_csv(rows, text)
    path = folder / "BTC-USDT-trades.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTC-USDT-trades.csv", text.getvalue().to_pybytes())
    start = day["timestamp"][0].as_py().replace(hour=0, minute=0, second=0, microsecond=0)
    os.sync()  # or the first sync of the work waits for the zip, too

    def work() -> None:
        table = read_bulk_file(path, "BTC-USDT", round(start.timestamp() * 1000))
        write_day(store, bulk_trades(table), "BTC-USDT", start.date(), whole=True)

    return timed(work)


def _line(what: str, trades: int, cost: Cost, size: float | None = None) -> str:
    rates = f"{what:<58} {trades / cost.wall:>12,.0f} {trades / cost.cpu:>12,.0f}"
    return rates if size is None else f"{rates} {size:>14.2f}"
