"""`tcp data query`: SQL over what the manifest knows of the lake, and nothing else."""

import json
import resource
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from cli.tables import frame_document, frame_text
from core.candles import Candle
from core.errors import BadInput, Unavailable
from core.timeframes import Timeframe
from core.trades import Side, Trade
from pipelines.lake.archive import archive_raw_trades
from pipelines.lake.candles import export_candles
from pipelines.lake.query import query_lake, write_rows
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.database import engine
from pipelines.warehouse.trades import copy_trades
from tests.stack import Tcp

pytestmark = pytest.mark.servers

DAY = date(2026, 11, 19)
MIDNIGHT_MS = int(datetime(2026, 11, 19, tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def lake(database_url: str, tmp_path: Path) -> Path:
    """Two symbols' trades of a day and a month of candles."""
    trades = [
        Trade(symbol, n, MIDNIGHT_MS + n * 1000, Decimal("100.5") + n, Decimal("0.125"), Side.SELL)
        for symbol in ("BTC-USDT", "ETH-USDT")
        for n in range(100)
    ]
    price = Decimal(7)
    candle = Candle("BTC-USDT", Timeframe.M1, MIDNIGHT_MS + 60_000, price, price, price, price, Decimal(1))
    with engine(database_url).begin() as connection:
        copy_trades(connection, trades)
        upsert_candles(connection, [candle])
    folder = tmp_path / "lake"
    for symbol in ("BTC-USDT", "ETH-USDT"):
        archive_raw_trades(database_url, str(folder), symbol, DAY)
    export_candles(database_url, str(folder), "BTC-USDT", Timeframe.M1, DAY)
    return folder


def test_views_have_the_columns_of_files_and_folders(database_url: str, lake: Path):
    """Exact sums, times in UTC, dates as dates; all files of the manifest."""
    rows = query_lake(
        database_url,
        str(lake),
        "SELECT symbol, date, count(*), sum(size), max(timestamp) FROM raw_trades GROUP BY ALL ORDER BY ALL",
    ).rows()
    last = datetime(2026, 11, 19, 0, 1, 39, tzinfo=UTC)
    expected = [(name, DAY, 100, Decimal("12.5"), last) for name in ("BTC-USDT", "ETH-USDT")]
    assert [(*row[:4], row[4].astimezone(UTC)) for row in rows] == expected
    candles = query_lake(
        database_url, str(lake), "SELECT exchange, symbol, timeframe, month, close FROM candles"
    )
    assert candles.rows() == [("okx", "BTC-USDT", "1m", "2026-11", Decimal(7))]
    files = query_lake(database_url, str(lake), "SELECT dataset, rows FROM lake_files ORDER BY ALL")
    assert files.rows() == [("candles", 1), ("raw_trades", 100), ("raw_trades", 100)]


def test_a_file_without_a_manifest_row_is_not_seen(database_url: str, lake: Path):
    """A stray copy of a day counts nothing."""
    (file,) = (lake / "raw_trades/exchange=okx/symbol=BTC-USDT/date=2026-11-19").iterdir()
    file.with_name("stray.parquet").write_bytes(file.read_bytes())
    assert query_lake(database_url, str(lake), "SELECT count(*) FROM raw_trades").item() == 200


def test_an_empty_lake_has_the_same_columns(database_url: str, tmp_path: Path):
    """Queries of a lake without files give no rows and no error."""
    wanted = "SELECT symbol, date, trade_id, timestamp, price FROM raw_trades WHERE date = '2026-11-19'"
    assert query_lake(database_url, str(tmp_path), wanted).height == 0
    assert query_lake(database_url, str(tmp_path), "SELECT timeframe, month, close FROM candles").height == 0


@pytest.mark.parametrize("sql", ["SELEC 1", "SELECT nothing FROM raw_trades", ""])
def test_wrong_sql_is_bad_input(database_url: str, tmp_path: Path, sql: str):
    """One line that says what is wrong."""
    with pytest.raises(BadInput, match=r"^SQL: ") as caught:
        query_lake(database_url, str(tmp_path), sql)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_said(database_url: str, lake: Path):
    """A file that is no Parquet any more, or that is gone, leads to `tcp data verify`."""
    (file,) = (lake / "raw_trades/exchange=okx/symbol=BTC-USDT/date=2026-11-19").iterdir()
    file.write_bytes(b"damaged")
    with pytest.raises(Unavailable, match="tcp data verify"):
        query_lake(database_url, str(lake), "SELECT sum(size) FROM raw_trades")
    file.unlink()
    with pytest.raises(Unavailable, match="tcp data verify"):
        query_lake(database_url, str(lake), "SELECT sum(size) FROM raw_trades")


def test_a_product_of_exact_columns_says_how_to_write_it(database_url: str, lake: Path):
    """18 decimals times 18 decimals do not fit: the remedy is named, and works."""
    with pytest.raises(BadInput, match="price::DOUBLE"):
        query_lake(database_url, str(lake), "SELECT sum(price * size) FROM raw_trades")
    value = query_lake(database_url, str(lake), "SELECT sum(price::DOUBLE * size) FROM raw_trades").item()
    assert value == 2 * sum((100.5 + n) * 0.125 for n in range(100))


def test_how_long_is_told_as_text(database_url: str, lake: Path):
    """Intervals, which frames do not know, alone and inside a list, under any name and beside other columns,
    in the order that was asked for."""
    wanted = """
        SELECT symbol, max(timestamp) - min(timestamp) AS "how ""long", [INTERVAL 1 day] AS l
        FROM raw_trades
        GROUP BY ALL ORDER BY symbol DESC
    """
    rows = query_lake(database_url, str(lake), wanted)
    assert rows.columns == ["symbol", 'how "long', "l"]
    assert rows.rows() == [(name, "00:01:39", "[1 day]") for name in ("ETH-USDT", "BTC-USDT")]


def test_what_is_no_number_is_null_in_json():
    """NaN and infinity are no JSON; as text for people they stay."""
    frame = pl.DataFrame({"x": [float("nan"), float("inf"), 1.5, None]})
    assert frame_document(frame)["rows"] == [[None], [None], [1.5], [None]]
    assert [line.strip() for line in frame_text(frame).splitlines()[1:3]] == ["nan", "inf"]


def test_the_command_prints_and_writes(database_url: str, lake: Path, tmp_path: Path):
    """JSON with exact numbers for programs, files of all rows; bad use is one line."""
    tcp = Tcp(tmp_path / "home", TCP_DATABASE_URL=database_url, TCP_LAKE_URL=str(lake))
    sql = "SELECT symbol, sum(size) AS volume FROM raw_trades GROUP BY ALL ORDER BY ALL"
    document = json.loads(tcp.run("data", "query", sql, "--json").stdout)
    assert document == {"columns": ["symbol", "volume"], "rows": [["BTC-USDT", "12.5"], ["ETH-USDT", "12.5"]]}
    out = tmp_path / "out.csv"
    assert tcp.run("data", "query", sql, "--out", str(out)).stdout == "2 rows\n"
    assert len(out.read_text().splitlines()) == 3
    nowhere = tcp.run("data", "query", sql, "--out", str(tmp_path / "none" / "out.csv"))
    assert nowhere.returncode == 2 and "no such folder" in nowhere.stderr
    wrong = tcp.run("data", "query", "SELECT x FROM raw_trades")
    assert wrong.returncode == 2 and wrong.stderr.startswith("tcp: SQL: ") and "Traceback" not in wrong.stderr


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_a_full_disk_leaves_the_earlier_file(tmp_path: Path, name: str):
    """The disk takes no more in the middle of the file: Unavailable, what was there before stays, and nothing
    half-written does."""
    out = tmp_path / name
    write_rows(pl.DataFrame({"n": [1]}), out)
    before, limits = out.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, limits[1]))
    try:
        with pytest.raises(Unavailable, match=name):
            write_rows(pl.DataFrame({"n": range(100_000)}), out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, before)]


def test_rows_for_people_are_columns():
    """Numbers to the right, texts to the left, exact decimals, empty for null, and the number of rows."""
    rows = [("BTC-USDT", Decimal("12.500"), None), ("X", Decimal(3), datetime(2026, 11, 19, tzinfo=UTC))]
    frame = pl.DataFrame(rows, schema=["symbol", "volume", "at"], orient="row")
    assert frame_text(frame).splitlines() == [
        "symbol    volume  at",
        "BTC-USDT    12.5",
        "X              3  2026-11-19T00:00:00Z",
        "(2 rows)",
    ]
    many = frame_text(pl.DataFrame({"n": range(250)})).splitlines()
    assert len(many) == 102 and many[-1] == "(250 rows, the first 100 shown)"
