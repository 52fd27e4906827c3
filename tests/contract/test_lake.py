"""Archiving raw trades: exact, repeatable, verified before anything is removed."""

import resource
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from core.candles import Candle
from core.errors import BadInput, Unavailable
from core.timeframes import Timeframe
from core.trades import Side, Trade
from pipelines.lake.adopt import Adoption, adopt_files
from pipelines.lake.archive import archive_days, archive_raw_trades
from pipelines.lake.candles import export_candles
from pipelines.lake.compact import Compaction, compact_lake
from pipelines.lake.covered import archived_runs
from pipelines.lake.status import data_status
from pipelines.lake.store import LocalStore, open_store, sha256_of
from pipelines.lake.trades import read_all_trades
from pipelines.lake.verify import verify_lake
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.database import engine
from pipelines.warehouse.lake_files import find_files, locked_month, replace_files
from pipelines.warehouse.trade_days import made_days
from pipelines.warehouse.trades import copy_trades

pytestmark = pytest.mark.servers

SYMBOL, DAY = "BTC-USDT", date(2026, 11, 19)
MIDNIGHT_MS = int(datetime(2026, 11, 19, tzinfo=UTC).timestamp() * 1000)
DAY_MS = 86_400_000


def trade(number: int, at_ms: int, symbol: str = SYMBOL) -> Trade:
    """A trade with many digits, several of them at the same millisecond."""
    price, size = Decimal("95634.123456789012345678") + number, Decimal("0.000000000000000001") * (number + 1)
    side = Side.BUY if number % 3 else Side.SELL
    return Trade(symbol, 1_000 + number, at_ms, price, size, side)


def day_of_trades(count: int = 500, symbol: str = SYMBOL) -> list[Trade]:
    """Trades from the first to the last millisecond of the day, in pairs of one instant."""
    step = (DAY_MS - 1) // (count // 2)
    return [
        trade(n, min(MIDNIGHT_MS + n // 2 * step, MIDNIGHT_MS + DAY_MS - 1), symbol) for n in range(count)
    ]


def store(database_url: str, trades: Sequence[Trade]) -> None:
    with engine(database_url).begin() as connection:
        copy_trades(connection, trades)


def stored_ids(database_url: str) -> set[int]:
    with engine(database_url).connect() as connection:
        return set(connection.execute(text("SELECT trade_id FROM raw_trades")).scalars())


def partitions(database_url: str) -> list[str]:
    """Days that have one, or a chunk."""
    with engine(database_url).connect() as connection:
        return [day.isoformat() for day in made_days(connection)]


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
    waiting = text("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted")
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


def test_a_damaged_archive_is_never_built_upon(database_url: str, tmp_path: Path):
    """A file that no longer matches its manifest is an alarm once Postgres has dropped its trades, and is
    made good while it still has them."""
    store(database_url, day_of_trades())
    file = archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY)
    (tmp_path / str(file.path)).write_bytes(b"PAR1 broken")
    assert archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY, drop=True).sha256 == file.sha256
    assert verify_lake(database_url, str(tmp_path)).sound
    (tmp_path / str(file.path)).unlink()
    store(database_url, [trade(9_500, MIDNIGHT_MS + 7)])
    with pytest.raises(Unavailable, match="missing or damaged"):
        archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY, drop=True)
    assert stored_ids(database_url) == {10_500}


def test_a_file_that_the_disk_does_not_give_back_is_damaged(database_url: str, tmp_path: Path):
    """Reading it is an error of the disk: verify names it, no id counts as archived, and it is made good
    while Postgres has its trades. Where it cannot be set aside, one error says so and no row goes."""
    store(database_url, day_of_trades())
    lake = str(tmp_path)
    file = archive_raw_trades(database_url, lake, SYMBOL, DAY)
    path = tmp_path / str(file.path)
    path.unlink()
    path.symlink_to("/proc/self/mem")
    (finding,) = verify_lake(database_url, lake).findings
    assert (finding.kind, finding.path) == ("damaged", file.path) and "cannot be read" in finding.detail
    assert len(archived_runs(database_url, lake, SYMBOL, MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS).firsts) == 0
    (tmp_path / "quarantine").write_text("no folder")
    with pytest.raises(Unavailable, match=str(tmp_path)):
        archive_raw_trades(database_url, lake, SYMBOL, DAY, drop=True)
    assert len(stored_ids(database_url)) == 500
    (tmp_path / "quarantine").unlink()
    assert archive_raw_trades(database_url, lake, SYMBOL, DAY, drop=True).sha256 == file.sha256
    assert path.is_file() and not path.is_symlink() and verify_lake(database_url, lake).sound


def test_a_damaged_archive_is_made_good_by_its_own_trades_only(database_url: str, tmp_path: Path):
    """As many trades as it had, from its first id to beyond its last, but not all of its ids: the file stays,
    and so do the rows. Where ids were never without a hole, rows that make the same file again will do."""
    trades = day_of_trades()
    store(database_url, trades)
    file = archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY)
    (tmp_path / str(file.path)).write_bytes(b"PAR1 broken")
    with engine(database_url).begin() as connection:
        connection.execute(text("DELETE FROM raw_trades WHERE trade_id = 1200"))
    store(database_url, [trade(9_500, MIDNIGHT_MS + 7)])
    with pytest.raises(Unavailable, match="no longer has its trades"):
        archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY, drop=True)
    assert len(stored_ids(database_url)) == 500
    assert (tmp_path / str(file.path)).read_bytes() == b"PAR1 broken"
    with engine(database_url).begin() as connection:
        connection.execute(text("DELETE FROM raw_trades WHERE trade_id = 10500"))
        connection.execute(text("DELETE FROM lake_files"))
    (tmp_path / str(file.path)).unlink()
    holed = archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY)
    (tmp_path / str(holed.path)).write_bytes(b"PAR1 broken")
    assert archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY).sha256 == holed.sha256


def test_verify_names_what_is_wrong(database_url: str, tmp_path: Path):
    """A lost file and a changed one are alarms; a file without a row is garbage only."""
    store(database_url, [*day_of_trades(20), *day_of_trades(20, "ETH-USDT"), *day_of_trades(20, "SOL-USDT")])
    lost, changed, _ = [
        tmp_path / str(archive_raw_trades(database_url, str(tmp_path), symbol, DAY).path)
        for symbol in (SYMBOL, "ETH-USDT", "SOL-USDT")
    ]
    (tmp_path / "raw_trades" / "stray.parquet").write_bytes(b"")
    assert verify_lake(database_url, str(tmp_path)).sound
    lost.unlink()
    with changed.open("r+b") as file:
        file.seek(100)
        file.write(b"\0")
    found = verify_lake(database_url, str(tmp_path))
    assert not found.sound
    assert {(finding.kind, finding.path) for finding in found.findings} == {
        ("missing", str(lost.relative_to(tmp_path))),
        ("damaged", str(changed.relative_to(tmp_path))),
        ("garbage", "raw_trades/stray.parquet"),
    }


def test_compacting_leaves_one_file_a_day_and_no_garbage(database_url: str, tmp_path: Path):
    """Two files of one day become one with the trades of both; once they are an hour old, a stray file goes
    to the quarantine and an unfinished one goes for good; a repeat changes nothing."""
    trades = day_of_trades()
    store(database_url, trades[:300])
    first = archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY, drop=True)
    with engine(database_url).begin() as connection:
        (row,) = find_files(connection)
        connection.execute(text("DELETE FROM lake_files"))
    kept = tmp_path / "raw_trades" / "kept.parquet"
    kept.write_bytes((tmp_path / str(first.path)).read_bytes())
    store(database_url, trades[300:])
    archive_raw_trades(database_url, str(tmp_path), SYMBOL, DAY, drop=True)
    with engine(database_url).begin() as connection:
        moved = msgspec.structs.replace(row, path=str(kept.relative_to(tmp_path)))
        replace_files(connection, [], moved)
    (tmp_path / "half.partial").write_bytes(b"half")
    now_ms = time.time_ns() // 1_000_000
    young = compact_lake(database_url, str(tmp_path), now_ms)
    assert (young.merged, young.removed, young.set_aside) == ([(SYMBOL, DAY)], [], [])
    stray = (tmp_path / str(first.path)).read_bytes()
    old = compact_lake(database_url, str(tmp_path), now_ms + 2 * 3_600_000)
    assert (old.merged, old.removed) == ([], ["half.partial"])
    (aside,) = old.set_aside
    assert aside.startswith(f"quarantine/{first.path}.") and (tmp_path / aside).read_bytes() == stray
    assert compact_lake(database_url, str(tmp_path), now_ms + 2 * 3_600_000) == Compaction([], [], [])
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file() and path != tmp_path / aside]
    ids = pq.read_table(file, partitioning=None)["trade_id"].to_pylist()
    assert sorted(ids) == list(range(1_000, 1_500))
    assert verify_lake(database_url, str(tmp_path)).findings == []


@pytest.mark.parametrize("manifest", ["empty", "of another lake"])
def test_compacting_refuses_a_lake_that_the_manifest_does_not_know(
    database_url: str, tmp_path: Path, manifest: str
):
    """The database was made anew, or is that of another lake: one error, and every file stays."""
    store(database_url, [*day_of_trades(20), *day_of_trades(20, "ETH-USDT")])
    file = archive_raw_trades(database_url, str(tmp_path / "lake"), SYMBOL, DAY)
    with engine(database_url).begin() as connection:
        connection.execute(text("DELETE FROM lake_files"))
    if manifest == "of another lake":
        archive_raw_trades(database_url, str(tmp_path / "other"), "ETH-USDT", DAY)
    (tmp_path / "lake" / "half.partial").write_bytes(b"half")
    before = sorted((tmp_path / "lake").rglob("*"))
    with pytest.raises(BadInput, match="TCP_LAKE_URL: the database knows none of its 1 files"):
        compact_lake(database_url, str(tmp_path / "lake"), time.time_ns() // 1_000_000 + 2 * 3_600_000)
    assert sorted((tmp_path / "lake").rglob("*")) == before
    assert (tmp_path / "lake" / str(file.path)).is_file()


def test_days_that_are_over_are_archived(database_url: str, tmp_path: Path):
    """Without a day, every stored day that the exchange's clock has left is archived, for every symbol, a
    quiet one's newest too; of a clock that lags, those before a stored trade. A drop empties the table."""
    store(
        database_url, [*day_of_trades(10), trade(9_001, MIDNIGHT_MS + DAY_MS), *day_of_trades(10, "ETH-USDT")]
    )

    def archived(wall_ms: int, drop: bool = False) -> list[tuple[str, date, int]]:
        days = archive_days(database_url, str(tmp_path), drop=drop, wall_ms=wall_ms)
        return [(symbol, day, file.rows) for symbol, day, file in days]

    assert archived(MIDNIGHT_MS + DAY_MS - 1) == [(SYMBOL, DAY, 10)]
    assert archived(MIDNIGHT_MS + DAY_MS) == [(SYMBOL, DAY, 10), ("ETH-USDT", DAY, 10)]
    assert len(archived(MIDNIGHT_MS + 2 * DAY_MS, drop=True)) == 3 and stored_ids(database_url) == set()


NOW_MS = MIDNIGHT_MS + 2 * DAY_MS


def test_a_lake_whose_manifest_is_lost_is_adopted(database_url: str, tmp_path: Path):
    """The database was made anew: its rows come back, path, hash and all, and no file comes or goes; a repeat
    finds nothing to do."""
    lake = str(tmp_path)
    store(database_url, [*day_of_trades(), *day_of_trades(20, "ETH-USDT")])
    for symbol in (SYMBOL, "ETH-USDT"):
        archive_raw_trades(database_url, lake, symbol, DAY, drop=True)
    own = engine(database_url)
    with own.begin() as connection:
        before = find_files(connection)
        connection.execute(text("DELETE FROM lake_files"))
    files = sorted(path for path in tmp_path.rglob("*"))
    done = adopt_files(database_url, lake, NOW_MS)
    assert (done.adopted, done.refused) == ([(file.path, file.path) for file in before], [])
    with own.connect() as connection:
        assert find_files(connection) == before
    assert sorted(path for path in tmp_path.rglob("*")) == files
    assert adopt_files(database_url, lake, NOW_MS) == Adoption([], [])


def test_a_file_put_into_the_lake_by_hand_joins_its_day(database_url: str, tmp_path: Path):
    """Half of its trades are there already: each is there once, in one file, and the one that was put there
    is kept in the quarantine."""
    trades, lake = day_of_trades(), str(tmp_path)
    store(database_url, trades)
    whole = archive_raw_trades(database_url, str(tmp_path / "other"), SYMBOL, DAY, drop=True)
    put = tmp_path / "lake" / f"raw_trades/exchange=okx/symbol={SYMBOL}/date={DAY}/mine.parquet"
    put.parent.mkdir(parents=True)
    put.write_bytes((tmp_path / "other" / str(whole.path)).read_bytes())
    with engine(database_url).begin() as connection:
        connection.execute(text("DELETE FROM lake_files"))
    lake = str(tmp_path / "lake")
    store(database_url, trades[:250])
    archive_raw_trades(database_url, lake, SYMBOL, DAY, drop=True)
    (finding,) = verify_lake(database_url, lake).findings
    assert finding.kind == "garbage" and "tcp data adopt" in finding.detail
    ((path, kept),) = adopt_files(database_url, lake, NOW_MS).adopted
    assert path.endswith("mine.parquet") and not put.exists()
    ids = pq.read_table(tmp_path / "lake" / kept, partitioning=None)["trade_id"].to_pylist()
    assert ids == list(range(1_000, 1_500))
    assert verify_lake(database_url, lake).findings == []
    assert len(list((tmp_path / "lake" / "quarantine").rglob("mine.parquet.*"))) == 1


def test_a_manifest_of_before_is_brought_up_to_date(database_url: str, tmp_path: Path):
    """The database was restored from a backup: its row names a file that a newer one of the day has replaced
    since. The newer one is taken in if it has all of the older one's ids; else both stay as they are."""
    trades, lake = day_of_trades(), str(tmp_path)
    store(database_url, trades[:400])
    archive_raw_trades(database_url, lake, SYMBOL, DAY, drop=True)
    own = engine(database_url)
    with own.connect() as connection:
        (before,) = find_files(connection)
    store(database_url, trades[400:])
    archive_raw_trades(database_url, lake, SYMBOL, DAY, drop=True)
    with own.connect() as connection:
        (after,) = find_files(connection)
    for known, told in (
        (msgspec.structs.replace(before, min_trade_id=999), "missing or damaged"),
        (before, None),
    ):
        with own.begin() as connection:
            connection.execute(text("DELETE FROM lake_files"))
            replace_files(connection, [], known)
        done = adopt_files(database_url, lake, NOW_MS)
        if told is None:
            assert done == Adoption([(after.path, after.path)], [])
        else:
            ((path, reason),) = done.refused
            assert path == after.path and told in reason and (tmp_path / path).is_file()
    with own.connect() as connection:
        assert find_files(connection) == [after]
    assert verify_lake(database_url, lake).findings == []


def test_files_that_are_no_day_of_trades_are_refused(database_url: str, tmp_path: Path):
    """Each by its path and reason; all stay where they are, and the manifest is as it was."""
    store(database_url, day_of_trades(20))
    good = archive_raw_trades(database_url, str(tmp_path / "other"), SYMBOL, DAY)
    with engine(database_url).begin() as connection:
        connection.execute(text("DELETE FROM lake_files"))
    table = pq.read_table(tmp_path / "other" / str(good.path), partitioning=None)
    lake, days = tmp_path / "lake", f"raw_trades/exchange=okx/symbol={SYMBOL}"
    sides, prices = pa.array(["hold"] * 20), pa.array([None] * 20, table["price"].type)
    wrong = {
        f"{days}/date=2026-11-18/a.parquet": (table, "of another day than 2026-11-18"),
        f"{days}/date=2026-13-18/a.parquet": (table, "2026-13-18 is no day"),
        f"{days}/date={DAY}/b.parquet": (table.drop_columns(["count"]), "no column count; see data_lake"),
        f"{days}/date={DAY}/c.parquet": (table.slice(0, 0), "has no trades"),
        f"{days}/date={DAY}/d.parquet": (None, "cannot be read as trades"),
        f"{days}/date={DAY}/e.parquet": (table.set_column(4, "side", sides), "neither buy nor sell"),
        f"{days}/date={DAY}/f.parquet": (table.set_column(2, "price", prices), "a value of price is missing"),
        "raw_trades/mine.parquet": (table, "is not raw_trades/exchange=okx/symbol=SYMBOL/date="),
        "candles/mine.parquet": (table, "tcp data import"),
    }
    for path, (rows, _) in wrong.items():
        (lake / path).parent.mkdir(parents=True, exist_ok=True)
        (lake / path).write_bytes(b"PAR1") if rows is None else pq.write_table(rows, lake / path)
    done = adopt_files(database_url, str(lake), NOW_MS)
    assert done.adopted == [] and {path for path, _ in done.refused} == set(wrong)
    for path, reason in done.refused:
        assert wrong[path][1] in reason, (path, reason)
    assert all((lake / path).is_file() for path in wrong) and data_status(database_url).lake == []
    early = f"{days}/date={DAY}/a.parquet"
    pq.write_table(table, lake / early)
    refused = dict(adopt_files(database_url, str(lake), MIDNIGHT_MS).refused)
    assert "a trade is of the future" in refused[early]


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
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
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
