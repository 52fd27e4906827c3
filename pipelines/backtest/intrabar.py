"""The path inside candles: minutes or trades laid under them, where they cover a candle exactly."""

from datetime import timedelta
from pathlib import Path

import polars as pl

from config.settings import settings
from core.errors import BadInput
from core.timeframes import Timeframe
from pipelines.backtest.candles import Stretch
from pipelines.backtest.request import Market

TRADES = "trades"
COLUMNS = ("open", "high", "low", "close", "volume")
AGREE = 1e-9
"""A candle and its path agree on open, high, low and close within this."""


def path_of(
    market: Market, piece: Stretch, database_url: str | None, given: pl.DataFrame | None
) -> pl.DataFrame | None:
    """The bars inside the candles that the request wants; those handed in go first. BadInput for a path that
    cannot be inside them, and for one that is not handed in where there is no database."""
    wanted = market.execution.intrabar if market.execution else None
    if wanted is None or given is not None:
        return given
    if database_url is None:
        raise BadInput(
            "--intrabar", f"{wanted} is read from the database: with --candles give a file instead"
        )
    if wanted != TRADES and Timeframe.parse(wanted, "--intrabar").ms >= market.candle_ms:
        raise BadInput("--intrabar", f"{wanted} is not inside {market.timeframe} candles: name a shorter one")
    close_ms = piece.candles["timestamp"].dt.epoch("ms")
    begins_ms, ends_ms = int(close_ms[piece.warm]) - market.candle_ms, int(close_ms[-1])
    return path_from_warehouse(
        database_url, settings().lake_url, market.symbol, wanted, begins_ms, ends_ms, market.exchange
    )


def path_from_file(path: Path, timestamps: str = "close") -> pl.DataFrame:
    """A file of finer candles, or of trades (columns timestamp in ms, price, size), as bars."""
    from pipelines.backtest.files import read_candle_file, read_table, read_times

    frame = read_table(path)
    if not {"timestamp", "price", "size"} <= set(frame.columns):
        candles, _ = read_candle_file(path, timestamps)  # type: ignore[arg-type]
        return bars_of_candles(candles)
    times = read_times(frame["timestamp"], path)
    numbers = frame.select(pl.col("price", "size").cast(pl.Float64, strict=False))
    wrong = numbers.select((~((pl.col("price") > 0) & (pl.col("size") > 0))).fill_null(True).arg_true())
    if wrong.height:
        raise BadInput(str(path), f"row {wrong.item(0, 0) + 1}: price and size must be numbers above zero")
    return bars_of_trades(numbers.with_columns(timestamp=times).sort("timestamp", maintain_order=True))


def path_from_warehouse(
    database_url: str,
    lake_url: str,
    symbol: str,
    intrabar: str,
    start_ms: int,
    end_ms: int,
    exchange: str | None = None,
) -> pl.DataFrame:
    """Stored minutes, or stored and archived trades, between two times as bars; exchange: None is the one in
    force."""
    from pipelines.lake.trades import read_all_trades
    from pipelines.warehouse.candles import read_candles
    from pipelines.warehouse.database import engine

    own = engine(database_url)
    if intrabar == TRADES:
        return bars_of_trades(read_all_trades(own, lake_url, symbol, start_ms, end_ms, exchange))
    first_ms = start_ms + Timeframe.parse(intrabar, "--intrabar").ms
    candles = read_candles(own, symbol, intrabar, first_ms, end_ms, exchange=exchange)
    return bars_of_candles(candles)


def bars_of_candles(candles: pl.DataFrame) -> pl.DataFrame:
    """begins, ends (times) and prices of finer candles."""
    length = candles["timestamp"].diff().min() if candles.height > 1 else timedelta(minutes=1)
    return candles.select(
        (pl.col("timestamp") - length).alias("begins"), pl.col("timestamp").alias("ends"), *COLUMNS
    )


def bars_of_trades(trades: pl.DataFrame) -> pl.DataFrame:
    """Each trade a bar of its own. Columns timestamp, price, size, oldest first."""
    price = pl.col("price")
    return trades.select(
        begins=pl.col("timestamp"),
        ends=pl.col("timestamp"),
        open=price,
        high=price,
        low=price,
        close=price,
        volume=pl.col("size"),
    )


def lay_under(candles: pl.DataFrame, path: pl.DataFrame | None, timeframe: Timeframe) -> pl.DataFrame:
    """Bars for every candle: those of the path where their first, highest, lowest and last price are the
    candle's, else the candle itself.

    Returns, oldest first: candle (its number), begins, ends, open … volume, fine (from the path), last (of
    its candle). A bar of the path belongs to the candle in which it begins.
    """
    length = timedelta(milliseconds=timeframe.ms)
    whole = candles.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("candle"),
        (pl.col("timestamp") - length).alias("begins"),
        pl.col("timestamp").alias("ends"),
        *COLUMNS,
        fine=pl.lit(False),
    )
    if path is None or path.is_empty():
        return whole.with_columns(last=pl.lit(True))
    numbered, covered = _under(whole, path)
    fine = numbered.filter(pl.col("candle").is_in(covered.implode())).select(
        "candle", "begins", "ends", *COLUMNS, fine=pl.lit(True)
    )
    rest = whole.filter(~pl.col("candle").is_in(covered.implode()))
    bars = pl.concat([fine, rest]).sort("candle", "begins", "ends", maintain_order=True)
    return bars.with_columns(last=pl.col("candle") != pl.col("candle").shift(-1).fill_null(-1))


def _under(whole: pl.DataFrame, path: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """The path's bars with the number of their candle, and the numbers of the candles that they cover."""
    numbered = path.join_asof(
        whole.select("candle", opened="begins", closes="ends"), left_on="begins", right_on="opened"
    ).filter(pl.col("candle").is_not_null() & (pl.col("begins") < pl.col("closes")))
    summed = numbered.group_by("candle").agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        traded=(pl.col("volume") > 0).any(),
    )
    both = whole.join(summed, on="candle", suffix="_path")
    agree = [(pl.col(name) - pl.col(f"{name}_path")).abs() <= AGREE * pl.col(name) for name in COLUMNS[:4]]
    return numbered, both.filter(pl.all_horizontal(*agree, "traded"))["candle"]
