"""Files that the manifest does not know are adopted, once they are proven."""

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from pipelines.lake.adopt import Adoption, adopt_files
from pipelines.lake.archive import archive_raw_trades
from pipelines.lake.status import data_status
from pipelines.lake.verify import verify_lake
from pipelines.warehouse.database import engine
from pipelines.warehouse.lake_files import find_files, replace_files
from tests.lake_days import DAY, DAY_MS, MIDNIGHT_MS, SYMBOL, day_of_trades, store

pytestmark = pytest.mark.servers

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
