"""The lake: trades to proven Parquet, bulk files to the lake, bytes a trade on real recordings, candles of a
month of trades; each beside plain pyarrow doing no more than it must.

`DAYS=31 pytest -p no:randomly tests/bench/bench_lake.py`; each day has 600,000 trades, a busy one of
BTC-USDT, with the prices and sizes of a recording. Two minutes; nothing is left behind.

It fails below the targets: by the clock where the machine has a core to spare when it begins, else by the
seconds of processor that it took itself.
"""

import asyncio
import os
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
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from core.timeframes import Timeframe
from pipelines.backfill.bulk import BulkReport, backfill_bulk_trades
from pipelines.exchanges.okx.bulk import BulkDownloads, day_start_ms, file_name
from pipelines.exchanges.okx.requests import Requester
from pipelines.exchanges.okx.rest import OkxRest
from pipelines.lake.aggregate import candles_of_trades
from pipelines.lake.bulk import bulk_trades
from pipelines.lake.days import write_day
from pipelines.lake.files import write_trades
from pipelines.lake.store import LocalStore
from pipelines.warehouse.archive import TRADES_SCHEMA

pytestmark = [pytest.mark.real_data, pytest.mark.servers, pytest.mark.timeout(1800)]

DAYS = int(os.environ.get("DAYS", "31"))
TRADES_A_DAY = 600_000
ZIPS = min(DAYS, 8)
TRADES_A_SECOND, CANDLES_OF_TRADES_A_SECOND, BYTES_A_TRADE = 500_000, 5_000_000, 12
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

    def __add__(self, other: object) -> "Cost":
        assert isinstance(other, Cost)
        return Cost(self.wall + other.wall, self.cpu + other.cpu)


NOTHING = Cost(0.0, 0.0)


def timed(work: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def rate(trades: int, cost: Cost, load: float) -> float:
    """Trades a second that count; load: of the machine before anything was measured."""
    return trades / (cost.wall if load < (os.cpu_count() or 1) else cost.cpu)


def _beside(what: str, trades: int, cost: Cost, plainly: Cost) -> str:
    """Of a figure: trades a second on the clock and of the processor, and plain pyarrow's."""
    return (
        f"{what}: {trades / cost.wall:,.0f} trades a second, {trades / cost.cpu:,.0f} a CPU second; "
        f"plain pyarrow {trades / plainly.wall:,.0f} and {trades / plainly.cpu:,.0f}"
    )


HEADER = f"{'what':<58} {'trades/s':>12} {'a CPU s':>12} {'bytes a trade':>14}"


def test_trades_to_proven_parquet_and_a_month_of_candles(shared_data: Path, tmp_path: Path, tell) -> None:
    load, sizes = os.getloadavg()[0], []
    lines = [f"load {load:.1f}", HEADER]
    for name in RECORDINGS:
        table = recorded(shared_data / "trades" / name)
        write_trades(table, tmp_path / name)
        size = (tmp_path / name).stat().st_size / table.num_rows
        sizes.append(size)
        lines.append(f"{name + f', {table.num_rows:,} trades':<58} {'':>12} {'':>12} {size:>14.2f}")
    base = recorded(shared_data / "trades" / RECORDINGS[0])
    store = LocalStore(tmp_path / "lake")
    written, plainly, size, files = NOTHING, NOTHING, 0, []
    for number in range(DAYS):
        day = busy_day(base, number)
        at = FIRST + timedelta(days=number)
        written += timed(partial(_write, store, day, at, files))
        plainly += timed(partial(pq.write_table, day, tmp_path / "plain.parquet", compression="zstd"))
        size += files[-1].stat().st_size
    total = DAYS * TRADES_A_DAY
    lines.append(_line("written, synced, hashed, read back, compared", total, written, size / total))
    lines.append(_line("  plain pyarrow writing the same table", total, plainly))
    lines.append(f"a month of candles, {total:,} trades in {DAYS} files")
    columns = ["timestamp", "trade_id", "price", "size", "count"]
    limit = min(
        timed(lambda: [pq.read_table(f, columns=columns, partitioning=None) for f in files]) for _ in "12"
    )
    ours = min(timed(lambda: candles_of_trades(files, Timeframe.M1)) for _ in "12")
    lines.append(_line("  1m candles, exact", total, ours))
    lines.append(_line("  plain pyarrow reading the same columns", total, limit))
    tell("\n".join(lines))
    tell(f"most of a file {max(sizes):.2f} bytes a trade", "bytes-a-trade")
    for figure, count, cost, other in (
        ("proven-parquet", "written, synced, hashed, read back, compared", written, plainly),
        ("month-of-candles", "1m candles, exact", ours, limit),
    ):
        tell(_beside(count, total, cost, other), figure)
    assert max(sizes) <= BYTES_A_TRADE
    assert rate(total, written, load) >= TRADES_A_SECOND
    assert rate(total, ours, load) >= CANDLES_OF_TRADES_A_SECOND


def test_bulk_files_to_the_lake(shared_data: Path, database_url: str, tmp_path: Path, tell) -> None:
    """The backfill itself, from zips on the disk on: unpacked, parsed, checked, cut at midnight, written,
    proven, entered in the manifest."""
    base = recorded(shared_data / "trades" / RECORDINGS[0])
    folder = tmp_path / "bulk"
    folder.mkdir()
    made = [_zip(folder, base, number) for number in range(ZIPS + 1)]
    text_bytes = sum(made)
    plainly = timed(lambda: [_plain(path, tmp_path) for path in sorted(folder.iterdir())[:ZIPS]])
    os.sync()  # or the first sync of the work waits for the zips, too
    load = os.getloadavg()[0]
    report: BulkReport | None = None

    def work() -> None:
        nonlocal report
        report = asyncio.run(_backfill(folder, database_url, tmp_path))

    cost = timed(work)
    assert report is not None
    lines = [
        f"load {load:.1f}; {ZIPS} zips, {text_bytes / len(made) / 1e6:.0f} MB each when unpacked",
        HEADER,
        _line("bulk zips to proven days of the lake", report.rows, cost, report.bytes / report.rows),
        _line("  plain pyarrow: unpacked, parsed, written", ZIPS * TRADES_A_DAY, plainly),
    ]
    tell("\n".join(lines))
    tell(f"{lines[0]}; {_beside('bulk zips to proven days', report.rows, cost, plainly)}", "bulk-to-lake")
    assert (len(report.written), report.missing_ids) == (ZIPS, 0)
    assert rate(report.rows, cost, load) >= TRADES_A_SECOND


def _write(store: LocalStore, day: pa.Table, at: date, files: list[Path]) -> None:
    files.append(store.root / write_day(store, day, "BTC-USDT", at, whole=True).path)


class Standing(OkxRest):
    """An exchange of which only the clock is asked."""

    async def server_time_ms(self) -> int:
        at = FIRST + timedelta(days=ZIPS + 10)
        return int(datetime(at.year, at.month, at.day, tzinfo=UTC).timestamp() * 1000)


async def _backfill(folder: Path, database_url: str, home: Path) -> BulkReport:
    nowhere = "http://127.0.0.1:9"
    rest, downloads = Standing(nowhere, Requester(nowhere, budgets={})), BulkDownloads(nowhere, folder)
    start = day_start_ms(FIRST) + 8 * 3_600_000
    try:
        return await backfill_bulk_trades(
            rest,
            downloads,
            database_url,
            str(home / "lake"),
            home / "quarantine",
            "BTC-USDT",
            start,
            start + ZIPS * DAY_MS,
        )
    finally:
        await downloads.close()
        await rest.close()


def _zip(folder: Path, base: pa.Table, number: int) -> int:
    """The bulk file of a day at UTC+8, as the exchange has it; returns the bytes of its text."""
    day = busy_day(base, number)
    rows = day.select(["trade_id", "side", "price", "size"]).append_column(
        "created_time",
        pc.subtract(day["timestamp"].cast(pa.timestamp("ms", "UTC")).cast(pa.int64()), 8 * 3_600_000),
    )
    text = pa.BufferOutputStream()
    pa_csv.write_csv(rows.add_column(0, "instrument_name", pa.repeat("BTC-USDT", rows.num_rows)), text)
    body = text.getvalue().to_pybytes()
    path = folder / file_name("BTC-USDT", FIRST + timedelta(days=number))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTC-USDT-trades.csv", body)
    return len(body)


def _plain(path: Path, folder: Path) -> None:
    """No more than it takes: numbers as floats, nothing checked, synced or read again."""
    with zipfile.ZipFile(path) as archive:
        text = archive.read(archive.namelist()[0])
    pq.write_table(pa_csv.read_csv(pa.BufferReader(text)), folder / "plain.parquet", compression="zstd")


def _line(what: str, trades: int, cost: Cost, size: float | None = None) -> str:
    rates = f"{what:<58} {trades / cost.wall:>12,.0f} {trades / cost.cpu:>12,.0f}"
    return rates if size is None else f"{rates} {size:>14.2f}"
