"""Judging candles: the whole history at once for a backtest, the newest candle for a bot."""

from datetime import UTC, datetime, timedelta

import polars as pl

from core.errors import BadInput, TcpError
from core.signals import Signal, SignalType
from strategies.base import Strategy
from strategies.catalogue import failure

CANDLE_COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
_ADDED = ("buy", "sell", "confidence")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def evaluate(strategy: Strategy, candles: pl.DataFrame) -> pl.DataFrame:
    """Every signal of a candle frame (see the columns in `CANDLE_COLUMNS`; oldest first).

    Returns, row for row: timestamp, close, buy, sell, confidence (0 … 1), then the indicators by name. buy
    and sell are never both true (sell wins) and false before the strategy's warm-up. BadInput when a column
    is missing or the strategy raises or returns another number of rows.
    """
    missing = [name for name in CANDLE_COLUMNS if name not in candles.columns]
    if missing:
        raise BadInput("candles", f"no column {', '.join(missing)}; needed: {', '.join(CANDLE_COLUMNS)}")
    names = strategy.indicator_names
    judged = _judge(strategy, candles.select(CANDLE_COLUMNS))
    return judged.select(
        candles["timestamp"],
        candles["close"],
        *flags(strategy.warmup),
        pl.col("confidence").fill_nan(None).fill_null(1.0).clip(0.0, 1.0),
        *(pl.col(name) for name in names),
    )


def flags(warmup: int) -> tuple[pl.Expr, pl.Expr]:
    """The columns buy and sell of judged candles as signals: null is no, sell wins, nothing before the
    warm-up."""
    sell = pl.col("sell").fill_null(False)
    known = pl.int_range(pl.len()) >= warmup - 1
    return (pl.col("buy").fill_null(False) & ~sell & known).alias("buy"), (sell & known).alias("sell")


def last_signal(strategy: Strategy, candles: pl.DataFrame) -> Signal:
    """What the strategy says at the close of the newest candle.

    candles: a candle frame that ends with it; `strategy.window` of them decide as the whole history would,
    more are not looked at, fewer are used as they are (hold before the warm-up). A hold has confidence 0.
    """
    if candles.is_empty():
        raise BadInput("candles", "none given: a signal needs at least one")
    row = evaluate(strategy, candles.tail(strategy.window)).row(-1, named=True)
    kind = SignalType.SELL if row["sell"] else SignalType.BUY if row["buy"] else SignalType.HOLD
    return Signal(
        signal_type=kind,
        timestamp_ms=(row["timestamp"] - _EPOCH) // _MILLISECOND,
        price=row["close"],
        confidence=0.0 if kind is SignalType.HOLD else row["confidence"],
        indicators={name: row[name] for name in strategy.indicator_names},
    )


def _judge(strategy: Strategy, candles: pl.DataFrame) -> pl.DataFrame:
    shadowed = sorted({*_ADDED, *CANDLE_COLUMNS}.intersection(strategy.indicator_names))
    if shadowed:
        raise BadInput(
            f"strategy {strategy.name}", f"an indicator is named {shadowed[0]}: choose another name"
        )
    try:
        judged = strategy.judge(candles)
    except TcpError:
        raise
    except (Exception, SystemExit) as error:
        raise failure(type(strategy), error) from error
    problem = _misanswer(strategy, candles, judged)
    if problem:
        raise BadInput(f"strategy {strategy.name}", problem)
    return judged


def _misanswer(strategy: Strategy, candles: pl.DataFrame, judged: object) -> str | None:
    """What is wrong with what `judge` returned; None if nothing is."""
    if not isinstance(judged, pl.DataFrame):
        return f"returned {type(judged).__name__}; a frame with a row for each candle is needed"
    if judged.height != candles.height:
        return f"returned {judged.height} rows for {candles.height} candles; one each is needed"
    missing = [name for name in (*_ADDED, *strategy.indicator_names) if name not in judged.columns]
    if missing:
        return f"returned no column {', '.join(missing)}"
    if "timestamp" not in judged.columns or not judged["timestamp"].equals(candles["timestamp"]):
        return "returned other times than those of the candles, or in another order"
    for name in ("buy", "sell"):
        if judged.schema[name] not in (pl.Boolean, pl.Null):
            return f"{name} is {judged.schema[name]}: a condition, true or false, is needed"
    for name in ("confidence", *strategy.indicator_names):
        if not judged.schema[name].is_numeric() and judged.schema[name] != pl.Null:
            return f"{name} is {judged.schema[name]}: a number is needed"
    return None
