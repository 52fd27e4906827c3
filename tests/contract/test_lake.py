"""Archiving raw trades: exact, repeatable, verified before anything is removed."""

import resource
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from core.candles import Candle
from core.errors import BadInput, Unavailable
from core.timeframes import Timeframe
from core.trades import Trade
from pipelines.lake.archive import archive_days, archive_raw_trades
from pipelines.lake.candles import export_candles
from pipelines.lake.status import data_status
from pipelines.lake.store import LocalStore, open_store, sha256_of
from pipelines.lake.trades import read_all_trades
from pipelines.lake.verify import verify_lake
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.database import engine
from pipelines.warehouse.lake_files import find_files, locked_month
from pipelines.warehouse.trades import copy_trades
from tests.lake_days import (
    DAY,
    DAY_MS,
    MIDNIGHT_MS,
    SYMBOL,
    day_of_trades,
    partitions,
    store,
    stored_ids,
    trade,
)

pytestmark = pytest.mark.servers
UNGRANTED = "NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"


def test_the_file_holds_the_day_exactly(database_url: str, tmp_path: Path):
    """Every trade of the UTC day, both ends included and the neighbours not; all 18 digits; in order."""
    trades = day_of_trades()
    neighbours = [trade(9_000, MIDNIGHT_MS - 1), trade(9_001, MIDNIGHT_MS + DAY_MS)]
    store(database_url, [*reversed(trades), *neighbours, *day_of_trades(10, "ETH-USDT")])
    file = archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY)
    assert file.path is not None
    frame = pq.read_table(tmp_path / file.path, partitioning=None).to_pylist()
    expected = [
        (t.trade_id, t.timestamp_ms, t.price, t.size, t.side.value, t.count, "websocket")
        for t in sorted(trades, key=lambda t: (t.timestamp_ms, t.trade_id))
    ]
    assert [
        (
            row["trade_id"],
            round(row["timestamp"].timestamp() * 1000),
            row["price"],
            row["size"],
            row["side"],
            row["count"],
            row["source"],
        )
        for row in frame
    ] == expected
    assert file.path.startswith("raw_trades/exchange=okx/symbol=BTC-USDT/date=2026-11-19/")
    metadata = pq.read_metadata(tmp_path / file.path)
    assert metadata.row_group(0).column(2).compression == "ZSTD"


def test_the_manifest_says_what_the_file_is(database_url: str, tmp_path: Path):
    """Rows, bytes, ids, times and hash of the manifest are those of the file."""
    store(database_url, day_of_trades())
    file = archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY)
    with engine(database_url).connect() as connection:
        (row,) = find_files(connection)
    path = tmp_path / row.path
    assert (row.rows, row.bytes, row.sha256) == (500, path.stat().st_size, sha256_of(path))
    assert (row.min_trade_id, row.max_trade_id, row.date) == (1_000, 1_499, DAY)
    assert row.min_timestamp == datetime(2026, 11, 19, tzinfo=UTC)
    assert (file.rows, file.sha256, file.written, file.dropped) == (500, row.sha256, True, 0)
    assert stored_ids(database_url) == set(range(1_000, 1_500))


def test_a_repeat_changes_nothing(database_url: str, tmp_path: Path):
    """The second archive of a day gives the same file, the same manifest row and says so."""
    store(database_url, day_of_trades())
    first = archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY)
    again = archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY)
    assert (again.path, again.sha256, again.written) == (first.path, first.sha256, False)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [tmp_path / str(first.path)]


def test_rows_go_only_when_asked_and_the_file_stays_whole(database_url: str, tmp_path: Path):
    """With drop the day's rows leave Postgres, and its empty partition too; a repeat keeps the file."""
    store(database_url, [*day_of_trades(), trade(9_001, MIDNIGHT_MS + DAY_MS)])
    dropped = archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY, drop=True)
    assert dropped.dropped == 500
    assert stored_ids(database_url) == {10_001}
    assert partitions(database_url) == ["2026-11-20"]
    again = archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY, drop=True)
    assert (again.path, again.rows, again.written, again.dropped) == (dropped.path, 500, False, 0)


def test_another_symbols_day_is_left_alone(database_url: str, tmp_path: Path):
    """Dropping one symbol keeps the partition as long as another has trades in it."""
    store(database_url, [*day_of_trades(10), trade(700, MIDNIGHT_MS + 5, "ETH-USDT")])
    archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY, drop=True)
    assert stored_ids(database_url) == {1_700}
    assert partitions(database_url) == ["2026-11-19"]


def test_late_trades_join_the_archived_ones(database_url: str, tmp_path: Path):
    """Trades that came after the rows were dropped: the new file holds both, the old one is gone."""
    trades = day_of_trades()
    store(database_url, trades[:400])
    old = archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY, drop=True)
    store(database_url, trades[390:])
    new = archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY)
    ids = pq.read_table(tmp_path / str(new.path), partitioning=None)["trade_id"].to_pylist()
    assert ids == list(range(1_000, 1_500))
    assert not (tmp_path / str(old.path)).exists()
    assert verify_lake(database_url, str(tmp_path)).findings == []


def test_a_match_that_is_archived_and_in_an_aggregate_counts_once(database_url: str, tmp_path: Path):
    """Matches of the lake that Postgres has inside an aggregate of the feed: backtests get them once."""
    matches = day_of_trades(20)
    store(database_url, matches)
    archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY, drop=True)
    inside = matches[8:10]  # of one instant
    size = sum((match.size for match in inside), Decimal(0))
    last = inside[-1]
    store(
        database_url, [Trade(SYMBOL, last.trade_id, last.timestamp_ms, last.price, size, last.side, count=2)]
    )
    frame = read_all_trades(engine(database_url), str(tmp_path), SYMBOL, MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS)
    assert frame.columns == ["timestamp", "trade_id", "price", "size"]
    assert frame["trade_id"].to_list() == [n for n in range(1_000, 1_020) if n != 1_008]
    assert frame["size"].sum() == pytest.approx(float(sum(match.size for match in matches)), rel=1e-12)


def test_a_trade_that_is_committed_while_its_day_is_being_dropped_stays(database_url: str, tmp_path: Path):
    """The drop waits for a writer of the archived day, sees its trade and leaves the day."""
    store(database_url, day_of_trades())
    waiting = text(f"SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND {UNGRANTED}")
    own = engine(database_url)
    with ThreadPoolExecutor(1) as thread, own.connect() as writer, own.connect() as watcher:
        copy_trades(writer, [trade(9_500, MIDNIGHT_MS + 7)])
        archive = thread.submit(archive_raw_trades, database_url, str(tmp_path), SYMBOL, DAY, drop=True)
        while not archive.done() and not watcher.scalar(waiting):
            watcher.rollback()
        writer.commit()
        assert archive.result().dropped == 500
    assert stored_ids(database_url) == {10_500}
    assert partitions(database_url) == ["2026-11-19"]


def test_a_day_without_trades_makes_no_file(database_url: str, tmp_path: Path):
    """Nothing stored: no file, no row, no error."""
    file = archive_raw_trades(database_url, str(tmp_path / "lake"), SYMBOL, DAY)
    assert (file.path, file.rows, file.written) == (None, 0, False)
    assert not (tmp_path / "lake").exists()


def test_a_file_that_cannot_be_written_leaves_everything(database_url: str, tmp_path: Path):
    """The lake is a file and no folder: Unavailable, no manifest row, no row removed."""
    store(database_url, day_of_trades(20))
    blocked = tmp_path / "lake"
    blocked.write_text("not a folder")
    with pytest.raises(Unavailable, match="lake"):
        archive_raw_trades(database_url, str(blocked), SYMBOL, DAY, drop=True)
    assert len(stored_ids(database_url)) == 20
    assert data_status(database_url).lake == []


def test_a_full_disk_leaves_everything(database_url: str, tmp_path: Path):
    """A disk that takes no more in the middle of the file: Unavailable, no manifest row, no row removed, and
    no half a file; with room again the day is archived."""
    store(database_url, day_of_trades())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, before[1]))
    try:
        with pytest.raises(Unavailable, match="File too large"):
            archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY, drop=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert len(stored_ids(database_url)) == 500
    assert archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY, drop=True).dropped == 500


def test_days_that_are_over_are_archived(database_url: str, tmp_path: Path):
    """Without a day, every stored day that the exchange's clock has left is archived, for every symbol, a
    quiet one's newest too; of a clock that lags, those before a stored trade. A drop empties the table."""
    store(
        database_url, [*day_of_trades(10), trade(9_001, MIDNIGHT_MS + DAY_MS), *day_of_trades(10, "ETH-USDT")]
    )

    def archived(exchange_ms: int, drop: bool = False) -> list[tuple[str, date, int]]:
        days = archive_days(database_url, str(tmp_path), drop=drop, exchange_ms=exchange_ms)
        return [(symbol, day, file.rows) for symbol, day, file in days]

    assert archived(MIDNIGHT_MS + DAY_MS - 1) == [(SYMBOL, DAY, 10)]
    assert archived(MIDNIGHT_MS + DAY_MS) == [(SYMBOL, DAY, 10), ("ETH-USDT", DAY, 10)]
    assert len(archived(MIDNIGHT_MS + 2 * DAY_MS, drop=True)) == 3 and stored_ids(database_url) == set()


def test_a_month_of_candles_is_exported_exactly(database_url: str, tmp_path: Path):
    """Candles that open in the month, its first and last included; every digit; a revision replaces the
    file, and a repeat changes nothing."""
    november = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp() * 1000)
    december = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp() * 1000)
    hour = Timeframe.H1.ms
    numbers = [Decimal(f"{n}.123456789012345678") for n in (3, 5, 1, 4, 7)]
    labels = [november, november + hour, december, december + hour]
    candles = [Candle(SYMBOL, Timeframe.H1, label, *numbers, source="exchange") for label in labels]
    with engine(database_url).begin() as connection:
        upsert_candles(connection, candles)
    lake, month = str(tmp_path), date(2026, 11, 1)
    first = export_candles(database_url, lake, SYMBOL, Timeframe.H1, month)
    rows = pq.read_table(tmp_path / str(first.path), partitioning=None).to_pylist()
    assert [round(row["timestamp"].timestamp() * 1000) for row in rows] == labels[1:3]
    assert [rows[0][name] for name in ("open", "high", "low", "close", "volume")] == numbers
    again = export_candles(database_url, lake, SYMBOL, Timeframe.H1, date(2026, 11, 30))
    assert (again.path, again.written) == (first.path, False)
    revised = Candle(SYMBOL, Timeframe.H1, labels[1], *numbers[:4], Decimal(8), source="exchange")
    with engine(database_url).begin() as connection:
        upsert_candles(connection, [revised])
    new = export_candles(database_url, lake, SYMBOL, Timeframe.H1, month)
    assert new.path != first.path
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / str(new.path)]
    assert verify_lake(database_url, lake).findings == []
    assert export_candles(database_url, lake, SYMBOL, Timeframe.H1, date(2026, 1, 1)).path is None


def test_two_exports_of_a_month_take_turns(database_url: str, tmp_path: Path):
    """One that waits reads the candles as they are when its turn comes: a newer file is never replaced by an
    older reading."""
    label = int(datetime(2026, 11, 1, 1, tzinfo=UTC).timestamp() * 1000)
    numbers = [Decimal(n) for n in (3, 5, 1, 4, 7)]
    own, month = engine(database_url), date(2026, 11, 1)

    def put(volume: int) -> None:
        candle = Candle(SYMBOL, Timeframe.H1, label, *numbers[:4], Decimal(volume), source="exchange")
        with own.begin() as connection:
            upsert_candles(connection, [candle])

    put(7)
    waiting = text(f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND {UNGRANTED}")
    with ThreadPoolExecutor(1) as thread, own.connect() as watcher:
        with locked_month(own, SYMBOL, Timeframe.H1, month):
            export = thread.submit(export_candles, database_url, str(tmp_path), SYMBOL, Timeframe.H1, month)
            while not export.done() and not watcher.scalar(waiting):
                watcher.rollback()
            put(8)
        file = export.result()
    (row,) = pq.read_table(tmp_path / str(file.path), partitioning=None).to_pylist()
    assert row["volume"] == 8


def test_status_adds_up(database_url: str, tmp_path: Path):
    """Totals of trades and lake are those of what was stored."""
    trades = [trade(n, MIDNIGHT_MS + n) for n in (0, 4, 8)]  # ids 1000, 1004, 1008, one match each
    store(database_url, trades)
    archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY)
    status = data_status(database_url)
    assert [(t.symbol, t.rows, t.first_id, t.last_id, t.missing_ids) for t in status.trades] == [
        (SYMBOL, 3, 1_000, 1_008, 6)
    ]
    assert [(s.symbol, s.files, s.rows) for s in status.lake] == [(SYMBOL, 1, 3)]


def test_other_tools_read_the_lake(database_url: str, tmp_path: Path):
    """Polars reads the hive-partitioned folder as one table."""
    store(database_url, day_of_trades(20))
    archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY)
    frame = pl.scan_parquet(tmp_path / "raw_trades/**/*.parquet", hive_partitioning=True).collect()
    assert frame["symbol"].unique().to_list() == [SYMBOL]
    assert frame["price"].dtype == pl.Decimal(38, 18)
    assert frame["price"].sum() == sum(t.price for t in day_of_trades(20))


def test_an_unsupported_url_is_named():
    """ftp:// is refused with the setting's name; a folder and file:// are taken."""
    with pytest.raises(BadInput, match=r"TCP_LAKE_URL.*ftp://"):
        open_store("ftp://bucket/lake")
    with open_store("file:///tmp/lake").local("a") as path:
        assert path == Path("/tmp/lake/a")


def test_a_crash_while_writing_leaves_no_data_file(tmp_path: Path):
    """What was begun and not finished is neither listed nor under its final name."""
    store = LocalStore(tmp_path)

    def torn(path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("crash")

    with pytest.raises(RuntimeError):
        store.write(lambda digest: "a.parquet", torn)
    assert store.paths() == []
    assert list(tmp_path.iterdir()) == []
