"""Reads recorded trades and candles from Parquet and CSV files, whatever their columns are called."""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from core.errors import BadInput
from pipelines.exchanges.sim.days import Ints

Labels = Literal["close", "open"]

_NAMES = {
    "timestamp": (
        "timestamp",
        "timestamp_ms",
        "ts",
        "exch_ts_ms",
        "ts_ms",
        "created_time",
        "time",
        "close_time",
    ),
    "trade_id": ("trade_id", "tradeid", "id"),
    "price": ("price", "px"),
    "size": ("size", "sz", "amount", "quantity", "qty"),
    "side": ("side",),
    "symbol": ("symbol", "instid", "inst_id", "instrument_name"),
    "open_time": ("open_time",),
} | {name: (name,) for name in ("open", "high", "low", "close", "volume")}
_TRADE = ("timestamp", "price", "size")
_CANDLE = ("open", "high", "low", "close", "volume")
_PAIR = re.compile(r"(?<![A-Z0-9])([A-Z0-9]{2,10}?)[-_/]?(USDT|USDC|USD|EUR)(?![A-Z0-9])", re.IGNORECASE)
_MOST_DECIMALS = 12


@dataclass(frozen=True)
class Column:
    """Exact numbers as integers: value = units × 10^−decimals."""

    units: Ints
    decimals: int

    def at(self, decimals: int) -> Ints:
        """The same numbers in finer units."""
        finer: Ints = self.units * 10 ** (decimals - self.decimals)
        return finer


@dataclass(frozen=True)
class TradeRows:
    """Trades of one symbol as a file has them. ids, buy: None when the file does not say."""

    timestamp_ms: Ints
    price: Column
    size: Column
    ids: Ints | None
    buy: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]] | None"


@dataclass(frozen=True)
class CandleRows:
    """Candles of one symbol, oldest first. interval_ms: the smallest distance of two."""

    open_ms: Ints
    interval_ms: int
    prices: tuple[Column, Column, Column, Column]
    volume: Column


def read(argument: str, labels: Labels) -> dict[str, TradeRows | CandleRows]:
    """The rows of `PATH` or `SYMBOL=PATH`, by symbol; BadInput names the file and what is wrong with it.

    labels: whether a candle file's `timestamp` is the close or the open time of its candles
    """
    name, _, rest = argument.rpartition("=")
    path = Path(rest)
    frame = _frame(path)
    forced = _symbol(name) if name else None
    if name and forced is None:
        raise BadInput("source", f"{name!r} is not a symbol like BTC-USDT")
    if forced is None and "symbol" in frame.columns:
        groups = {str(key[0]): rows for key, rows in frame.group_by("symbol", maintain_order=True)}
    else:
        groups = {forced or path.name: frame}
    found: dict[str, TradeRows | CandleRows] = {}
    for text, rows in groups.items():
        symbol = _symbol(text)
        if symbol is None:
            raise BadInput("source", f"{path}: its symbol is unknown; write SYMBOL=PATH")
        is_candles = all(column in rows.columns for column in _CANDLE)
        found[symbol] = _candles(path, rows, labels) if is_candles else _trades(path, rows)
    return found


def _frame(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise BadInput("source", f"{path}: no such file")
    try:
        is_parquet = path.suffix == ".parquet"
        frame = pl.read_parquet(path) if is_parquet else pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadInput("source", f"{path}: not a Parquet or CSV file ({error})") from None
    lower = {column.lower(): column for column in frame.columns}
    columns = {}
    for name, spellings in _NAMES.items():
        present = [lower[spelling] for spelling in spellings if spelling in lower]
        if present:
            columns[name] = present[0]
    if not (set(_TRADE) <= set(columns) or set(_CANDLE) <= set(columns)):
        raise BadInput(
            "source", f"{path}: neither {', '.join(_TRADE)} nor {', '.join(_CANDLE)} are its columns"
        )
    if not len(frame):
        raise BadInput("source", f"{path}: no rows")
    return frame.select(pl.col(column).alias(name) for name, column in columns.items())


def _symbol(text: str) -> str | None:
    match = _PAIR.search(text)
    return f"{match[1]}-{match[2]}".upper() if match else None


def _trades(path: Path, frame: pl.DataFrame) -> TradeRows:
    ids = frame["trade_id"].cast(pl.Int64).to_numpy() if "trade_id" in frame.columns else None
    buy = None
    if "side" in frame.columns:
        buy = frame["side"].str.to_lowercase().is_in(["buy", "b", "bid"]).to_numpy()
    price, size = _exact(path, frame["price"]), _exact(path, frame["size"])
    for name, numbers in (("price", price), ("size", size)):
        wrong = np.flatnonzero(numbers.units <= 0)
        if len(wrong):
            raise BadInput("source", f"{path}: row {wrong[0] + 1}: {name} is not above 0")
    return TradeRows(_milliseconds(path, frame["timestamp"]), price, size, ids, buy)


def _candles(path: Path, frame: pl.DataFrame, labels: Labels) -> CandleRows:
    if "open_time" in frame.columns:
        labels = "open"
    elif "timestamp" not in frame.columns:
        raise BadInput("source", f"{path}: no timestamp column")
    times = _milliseconds(path, frame["open_time" if "open_time" in frame.columns else "timestamp"])
    order = np.argsort(times, kind="stable")
    times = times[order]
    steps = np.diff(times)
    if len(times) < 2 or steps.min() <= 0:
        raise BadInput("source", f"{path}: needs two candles or more, each with a time of its own")
    interval = int(steps.min())
    columns = [_exact(path, frame[name]) for name in _CANDLE]
    sorted_ = [Column(column.units[order], column.decimals) for column in columns]
    opens = times if labels == "open" else times - interval
    return CandleRows(opens, interval, (sorted_[0], sorted_[1], sorted_[2], sorted_[3]), sorted_[4])


def _milliseconds(path: Path, column: pl.Series) -> Ints:
    if column.dtype == pl.String and column.str.contains(r"^\d+$").all():
        column = column.cast(pl.Int64)
    if column.dtype == pl.String:
        try:
            column = column.str.to_datetime(time_zone="UTC")
        except pl.exceptions.PolarsError:
            raise BadInput("source", f"{path}: its timestamps are neither ms nor ISO 8601") from None
    if isinstance(column.dtype, pl.Datetime):
        return column.dt.epoch("ms").to_numpy()
    times: Ints = column.cast(pl.Int64).to_numpy()
    for limit, divisor in ((10**17, 10**6), (10**14, 10**3)):  # ns, µs
        if times[0] > limit:
            return times // divisor
    return times


def _exact(path: Path, column: pl.Series) -> Column:
    try:
        values = [Decimal(str(value)) for value in column.to_list()]
        decimals = max(0, *(-int(value.normalize().as_tuple().exponent) for value in values))
    except (InvalidOperation, ValueError, TypeError):
        raise BadInput("source", f"{path}: {column.name} holds something that is no number") from None
    decimals = min(decimals, _MOST_DECIMALS)
    units = np.array([int(value.scaleb(decimals)) for value in values], np.int64)
    return Column(units, decimals)
