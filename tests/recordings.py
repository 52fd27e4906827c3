"""Recorded trades of ../shared/data, and their candles by SQL over the raw file (nothing of the product takes
part)."""

import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import msgspec

from core.timeframes import Timeframe
from core.trades import Side, Trade

Row = tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal, int]
"""close_ms, open, high, low, close, volume, trades_count"""

# Columns of a file as: id, ms, price, size, side. A file without ids is numbered in the order of its rows.
_BINANCE = "trade_id, timestamp_ms, price, size, lower(side)"
_COINBASE = "row_number() OVER (), epoch_ms(timestamp::timestamptz), price, amount, side"
_TRX = (
    "TradeId, TransactionTime::bigint // 1000, Price, Quantity, "
    "CASE IsBuyerMarketMaker WHEN '1' THEN 'sell' ELSE 'buy' END"
)
_FEBRUARY = "trade_id, exch_ts_ms, price, qty, side"


class Recording(msgspec.Struct, frozen=True):
    """rows: trades in the file; ids: whether it has ids of the exchange's; missing, repeated: of these"""

    file: str
    symbol: str
    columns: str
    rows: int
    ids: bool = True
    missing: int = 0
    repeated: int = 0


RECORDINGS = {
    recording.file.split(".")[0]: recording
    for recording in (
        Recording("binance_BTC-USDT_2024-08-08T2354_11min.parquet", "BTC-USDT", _BINANCE, 19_904),
        Recording("binance_ETH-USDT_2024-08-08T2354_11min.parquet", "ETH-USDT", _BINANCE, 14_515),
        Recording("trades_btc_spot_2026-02-16_04.parquet", "BTC-USDT", _FEBRUARY, 10_215),
        Recording("btc_trades_raw.csv.gz", "BTC-USD", _COINBASE, 13_197, ids=False),
        Recording("btc_trades_aggregated_by_ts.csv.gz", "BTC-USD", _COINBASE, 5_882, ids=False),
        Recording(
            "test_positive_binance_trade_stream_spot_trxusdt_04-03-2025.csv.gz", "TRX-USDT", _TRX, 10_000
        ),
        Recording(
            "test_negative_binance_trade_stream_spot_trxusdt_04-03-2025.csv.gz",
            "TRX-USDT",
            _TRX,
            10_000,
            missing=1,
            repeated=1,
        ),
    )
}

_CANDLES = """
    WITH counted AS (SELECT * FROM trades QUALIFY row_number() OVER (PARTITION BY id ORDER BY n) = 1)
    SELECT ms // {length} * {length} + {length} AS close_ms, arg_min(price, id), max(price), min(price),
           arg_max(price, id), sum(size), count(*)
    FROM counted GROUP BY close_ms ORDER BY close_ms
"""


class RawFile:
    """A file as a table: n (number of the row), id, ms, price, size (exact), side."""

    def __init__(self, folder: Path, recording: Recording) -> None:
        path = folder / "trades" / recording.file
        self._symbol = recording.symbol
        read = "read_parquet(?)" if path.suffix == ".parquet" else "read_csv(?, all_varchar=true)"
        self._base = duckdb.connect()
        self._base.execute("SET threads = 1")
        self._base.execute(
            f"CREATE TABLE named AS SELECT * FROM (SELECT {recording.columns} FROM {read}) "
            "AS t(id, ms, price, size, side)",
            [str(path)],
        )
        self._base.execute(
            "CREATE TABLE trades AS SELECT rowid AS n, id::bigint AS id, ms::bigint AS ms, "
            "price::varchar::decimal(30, 12) AS price, size::varchar::decimal(30, 12) AS size, side "
            "FROM named"
        )

    def trades(self) -> list[Trade]:
        """All of them, in the order of the file."""
        rows = self._base.execute("SELECT id, ms, price, size, side FROM trades ORDER BY n").fetchall()
        return [Trade(self._symbol, n, ms, price, size, Side(side)) for n, ms, price, size, side in rows]

    def candles(self, timeframe: Timeframe) -> dict[int, Row]:
        """Those with trades, by close time; of rows with one id the first counts."""
        rows = self._base.execute(_CANDLES.format(length=timeframe.ms)).fetchall()
        return {row[0]: row for row in rows}

    def write_parquet(self, path: Path) -> None:
        """The same trades under the names that `tcp sim --source` knows; numbers as text."""
        self._base.execute(
            "COPY (SELECT ms AS timestamp, id AS trade_id, price::varchar AS price, size::varchar AS size, "
            f"side FROM trades ORDER BY n) TO '{path}' (FORMAT parquet)"
        )


def second_bars(
    folder: Path, day: str, kind: str
) -> Iterator[tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal]]:
    """(ms since midnight of the open, open, high, low, close, volume) of Coinbase's BTC-USD on 2016-10-`day`;
    kind: second or minute."""
    name = f"crypto_coinbase_{kind}_btcusd_201610{day}_trade.zip"
    with zipfile.ZipFile(folder / "candles" / "coinbase_second_vs_minute" / name) as archive:
        for line in archive.read(archive.namelist()[0]).decode().split():
            at, *numbers = line.split(",")
            opened, high, low, close, volume = map(Decimal, numbers)
            yield int(at), opened, high, low, close, volume
