"""Candle files of people and of other exchanges into market_data."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Literal

import msgspec
import polars as pl

from core.candles import Candle
from core.errors import BadInput
from core.timeframes import Timeframe
from pipelines.backtest.files import read_candle_file
from pipelines.warehouse.candles import add_candles, upsert_candles
from pipelines.warehouse.database import engine
from pipelines.warehouse.retention import present_ms
from pipelines.warehouse.sql import to_datetime, to_ms

BATCH = 10_000
SYMBOL = re.compile(r"[A-Z0-9]+(-[A-Z0-9]+)+")
EXCHANGE = re.compile(r"[a-z0-9_]{1,32}")


def check_names(exchange: str, symbol: str) -> None:
    """BadInput unless they are written as everywhere else; another spelling would never be found again."""
    if not SYMBOL.fullmatch(symbol):
        raise BadInput("--symbol", f"{symbol!r} is not written like BTC-USDT")
    if not EXCHANGE.fullmatch(exchange):
        raise BadInput("--exchange", f"{exchange!r} is not a name in lower case such as okx")


class ImportReport(msgspec.Struct, frozen=True):
    """rows: candles in the file; new: of these, not stored before, or only provisionally; replaced: stored
    with other numbers. Times are close times."""

    exchange: str
    symbol: str
    timeframe: str
    rows: int
    new: int
    replaced: int
    first_ms: int
    last_ms: int


def import_candles(
    database_url: str,
    path: Path,
    exchange: str,
    symbol: str,
    timeframe: str,
    timestamps: Literal["open", "close"] = "close",
    offset_ms: int = 0,
    aggregate: bool = False,
    replace: bool = False,
    *,
    now_ms: int,
) -> ImportReport:
    """Store the candles of a file, all of them or, on an error, none. Repeating it changes nothing.

    timestamps: whether the file labels a candle by its open or its close, where it does not say
    offset_ms, aggregate: see `read_candle_file`
    replace: put the file's numbers over those stored; otherwise a difference is BadInput
    now_ms: wall clock; candles that end after it and after the exchange's own clock are refused
    """
    check_names(exchange, symbol)
    length = Timeframe.parse(timeframe)
    latest = to_datetime(present_ms(engine(database_url), now_ms))
    frame, _ = read_candle_file(path, timestamps, timeframe, offset_ms, aggregate, latest)
    new, differing = 0, []
    with engine(database_url).begin() as connection:
        for part in frame.iter_slices(BATCH):
            candles = _candles(part, symbol, length)
            new += add_candles(connection, candles, exchange)
            differing += [at for _, _, at in upsert_candles(connection, candles, exchange)]
        if differing and not replace:
            raise BadInput(str(path), _difference(differing, f"{exchange} {symbol} {length}"))
    first, last = frame["timestamp"][0], frame["timestamp"][-1]
    return ImportReport(
        exchange, symbol, length.value, frame.height, new, len(differing), to_ms(first), to_ms(last)
    )


def _difference(times_ms: list[int], series: str) -> str:
    first = f"{to_datetime(min(times_ms)):%Y-%m-%dT%H:%M:%SZ}"
    return (
        f"{len(times_ms):,} of its candles are stored with other numbers, the first ends at {first}: is it "
        f"really {series}? --replace puts the file's numbers over those"
    )


def _candles(frame: pl.DataFrame, symbol: str, timeframe: Timeframe) -> list[Candle]:
    columns = ("open", "high", "low", "close", "volume")
    # The shortest decimal that names the float is the number that stood in the file.
    numbers = zip(*([Decimal(repr(value)) for value in frame[name]] for name in columns), strict=True)
    close_ms = frame["timestamp"].dt.epoch("ms").to_list()
    return [
        Candle(symbol, timeframe, at, opened, high, low, close, volume, source="exchange")
        for at, (opened, high, low, close, volume) in zip(close_ms, numbers, strict=True)
    ]
