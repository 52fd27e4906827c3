"""Files of the lake that are damaged, strange or doubled: named, set aside, made good, never built upon."""

import time
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from core.errors import BadInput, Unavailable
from pipelines.lake.archive import archive_raw_trades
from pipelines.lake.compact import Compaction, compact_lake
from pipelines.lake.covered import archived_runs
from pipelines.lake.verify import verify_lake
from pipelines.warehouse.database import engine
from pipelines.warehouse.lake_files import find_files, replace_files
from tests.lake_days import DAY, DAY_MS, MIDNIGHT_MS, SYMBOL, day_of_trades, store, stored_ids, trade

pytestmark = pytest.mark.servers


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
