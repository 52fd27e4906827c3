"""What `tcp data verify` finds: lost ids, doubled ids, other candles, files that are not what they claim."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from core.candles import Candle
from core.timeframes import Timeframe
from core.trades import Side, Trade
from pipelines.lake.archive import archive_raw_trades
from pipelines.lake.candles import export_candles
from pipelines.lake.days import each_once
from pipelines.lake.store import sha256_of
from pipelines.lake.verify import verify_lake
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.database import engine
from pipelines.warehouse.gaps import record_gap
from pipelines.warehouse.lake_files import find_files, replace_files
from pipelines.warehouse.trades import copy_trades
from tests.aggregation import candles_of, trades_frame

pytestmark = pytest.mark.servers

SYMBOL = "BTC-USDT"
DAYS = [date(2026, 11, 18), date(2026, 11, 19), date(2026, 11, 20)]
DAY_MS = 86_400_000
FIRST_MS = int(datetime(2026, 11, 18, tzinfo=UTC).timestamp() * 1000)
PER_DAY = 300


def trades(without: Sequence[int] = ()) -> list[Trade]:
    """Three days of single matches, evenly spread, ids 0 … 899 without a hole but for those left out."""
    step = DAY_MS // PER_DAY
    return [
        Trade(
            SYMBOL,
            number,
            FIRST_MS + number * step + 17,
            Decimal(100 + number % 7),
            Decimal(number % 5 + 1) / 8,
            Side.BUY,
        )
        for number in range(3 * PER_DAY)
        if number not in without
    ]


def stored(database_url: str, lake: Path, made: Sequence[Trade], drop: bool = True) -> None:
    """The trades archived and their minutes in market_data, as the collector leaves them."""
    with engine(database_url).begin() as connection:
        copy_trades(connection, made)
    for day in DAYS:
        archive_raw_trades(database_url, str(lake), SYMBOL, day, drop=drop)


def store_minutes(database_url: str, made: Sequence[Trade]) -> None:
    rows = candles_of(trades_frame(made), Timeframe.M1, FIRST_MS + 3 * DAY_MS)
    candles = [Candle(SYMBOL, Timeframe.M1, *row) for row in rows]
    with engine(database_url).begin() as connection:
        upsert_candles(connection, candles)


def found(database_url: str, lake: Path) -> list[tuple[str, str]]:
    """Kind and detail of every finding."""
    return [(finding.kind, finding.detail) for finding in verify_lake(database_url, str(lake)).findings]


def test_days_without_a_flaw_are_sound(database_url: str, tmp_path: Path):
    """Three days, all minutes between the first and the last trade compared: nothing is found."""
    stored(database_url, tmp_path, trades())
    store_minutes(database_url, trades())
    report = verify_lake(database_url, str(tmp_path))
    assert (report.findings, report.files, report.rows) == ([], 3, 900)
    # All but those of the first and the last trade, whose neighbours nobody knows.
    assert report.candles == 3 * 1440 - 1 - 5


def test_lost_ids_are_found_inside_a_day_and_between_days(database_url: str, tmp_path: Path):
    """The ids and the times around them are named; ids that are lost at the exchange are no finding."""
    stored(database_url, tmp_path, trades(without=[10, 11, 299, 300, 700]))
    with engine(database_url).begin() as connection:
        record_gap(connection, SYMBOL, 700, 700, "open", FIRST_MS, "feed")
        record_gap(connection, SYMBOL, 700, 700, "unfillable", FIRST_MS, "refill", "nobody has it")
    gaps = found(database_url, tmp_path)
    assert [(kind, detail.split(",")[0]) for kind, detail in gaps] == [
        ("gap", "2 of the ids 10 to 11"),
        ("gap", "2 of the ids 299 to 300"),
    ]
    assert "between 2026-11-18 00:43:12.017000 and 2026-11-18 00:57:36.017000" in gaps[0][1]


def test_a_day_without_a_file_is_missed(database_url: str, tmp_path: Path):
    """A day between two archived ones that is neither in the lake nor in Postgres is named; one that Postgres
    still has is not."""
    stored(database_url, tmp_path, trades(), drop=False)
    with engine(database_url).begin() as connection:
        (file,) = find_files(connection, day=DAYS[1])
        connection.execute(text("DELETE FROM lake_files WHERE date = '2026-11-19'"))
    (tmp_path / file.path).unlink()
    assert found(database_url, tmp_path) == []
    with engine(database_url).begin() as connection:
        connection.execute(text("DELETE FROM raw_trades"))
    ((kind, detail),) = found(database_url, tmp_path)
    assert kind == "gap" and detail.startswith("300 of the ids 300 to 599")
    assert detail.endswith("no file of 2026-11-19")


def test_days_a_year_apart_are_two_stretches(database_url: str, tmp_path: Path):
    """Somebody fetched one day of last year: nothing is missing between it and the others."""
    stored(database_url, tmp_path, trades())
    old = datetime(2025, 3, 1, 12, tzinfo=UTC)
    single = Trade(SYMBOL, -500_000, round(old.timestamp() * 1000), Decimal(5), Decimal(1), Side.BUY)
    with engine(database_url).begin() as connection:
        copy_trades(connection, [single])
    archive_raw_trades(database_url, str(tmp_path), SYMBOL, old.date(), drop=True)
    assert found(database_url, tmp_path) == []


def test_candles_that_are_not_those_of_the_trades_are_found(database_url: str, tmp_path: Path):
    """One volume in market_data differs, a minute claims trades that no file has; a provisional candle, a
    synthetic one and the minutes around a hole are not compared."""
    made = trades(without=[450])
    store_minutes(database_url, trades())
    with engine(database_url).begin() as connection:
        for changed in (
            "volume = volume + 1, source = 'exchange' WHERE timestamp = '2026-11-18 12:00+00'",
            "volume = 7 WHERE timestamp = '2026-11-18 12:05+00'",
            "volume = 7, provisional = true WHERE timestamp = '2026-11-18 13:00+00'",
            "volume = 7, source = 'synthetic' WHERE timestamp = '2026-11-18 14:00+00'",
        ):
            connection.execute(text(f"UPDATE market_data SET {changed}"))
    stored(database_url, tmp_path, made)
    kinds = found(database_url, tmp_path)
    assert [kind for kind, _ in kinds] == ["gap", "differs"]
    assert kinds[1][1].startswith("2 of ")
    assert "the first at 2026-11-18 12:00: stored 102 102 102 102 1, from trades none" in kinds[1][1]


def rewritten(database_url: str, lake: Path, day: date, table: pa.Table, **manifest: object) -> None:
    """The day's file replaced by other contents with a manifest row that has its hash."""
    with engine(database_url).begin() as connection:
        (file,) = find_files(connection, day=day)
        pq.write_table(table, lake / file.path)
        changed = {"sha256": sha256_of(lake / file.path), "rows": table.num_rows, **manifest}
        replace_files(connection, [file], msgspec.structs.replace(file, **changed))


def test_a_manifest_that_disagrees_is_an_alarm(database_url: str, tmp_path: Path):
    """Right hash, wrong rows, times, days or order: each is damage, and a file that is no Parquet too."""
    stored(database_url, tmp_path, trades())
    with engine(database_url).connect() as connection:
        (file,) = find_files(connection, day=DAYS[1])
    whole = pq.read_table(tmp_path / file.path, partitioning=None)
    rewritten(database_url, tmp_path, DAYS[1], whole.slice(0, 299), rows=300)
    assert [kind for kind, _ in found(database_url, tmp_path)] == ["damaged"]
    rewritten(database_url, tmp_path, DAYS[1], whole.take(list(reversed(range(300)))))
    assert "not in order" in found(database_url, tmp_path)[0][1]
    rewritten(database_url, tmp_path, DAYS[1], whole, date=date(2030, 1, 1))
    assert "another day than 2030-01-01" in found(database_url, tmp_path)[0][1]
    (tmp_path / file.path).write_bytes(b"no Parquet")
    with engine(database_url).begin() as connection:
        (row,) = [row for row in find_files(connection) if row.path == file.path]
        digest = sha256_of(tmp_path / file.path)
        replace_files(connection, [row], msgspec.structs.replace(row, sha256=digest, date=DAYS[1]))
    assert "cannot be read" in found(database_url, tmp_path)[0][1]


def test_a_file_of_candles_is_read_too(database_url: str, tmp_path: Path):
    """A month's file with fewer rows than its manifest row says is damaged."""
    store_minutes(database_url, trades())
    export_candles(database_url, str(tmp_path), SYMBOL, Timeframe.M1, date(2026, 11, 1))
    assert found(database_url, tmp_path) == []
    with engine(database_url).begin() as connection:
        connection.execute(text("UPDATE lake_files SET rows = rows + 1"))
    assert found(database_url, tmp_path)[0][0] == "damaged"


def test_ids_in_two_rows_are_found(database_url: str, tmp_path: Path):
    """An aggregate beside the matches it is made of counts their volume twice: damage."""
    stored(database_url, tmp_path, trades())
    with engine(database_url).connect() as connection:
        (file,) = find_files(connection, day=DAYS[1])
    whole = pq.read_table(tmp_path / file.path, partitioning=None)
    counts = pa.array([3 if place == 100 else 1 for place in range(300)], pa.int32())
    doubled = whole.set_column(whole.column_names.index("count"), whole.field("count"), counts)
    rewritten(database_url, tmp_path, DAYS[1], doubled)
    ((kind, detail),) = found(database_url, tmp_path)
    assert (kind, detail) == ("damaged", "2 trade ids are in more than one row")
    mended = each_once([doubled])
    assert mended["trade_id"].to_pylist() == [n for n in range(300, 600) if n not in (398, 399)]
