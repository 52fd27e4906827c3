"""The newest candles, as the strategy wants them: without a hole and never more than decide."""

from datetime import timedelta

import polars as pl
from sqlalchemy import Engine

from core.candles import Candle
from core.timeframes import Timeframe
from pipelines.warehouse.bot_files import MOST_CANDLES
from pipelines.warehouse.candles import read_candles
from pipelines.warehouse.sql import to_datetime, to_ms

COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
RELOAD_EVERY = 20
"""Candles after which a window that is not full looks for older history."""


class CandleWindow:
    """Always exactly the newest `size` candles (fewer while there are not so many), so that a bot that was
    started again judges the same rows as one that ran on.

    Parameters
    ----------
    size: strategy.window; at most 50,000 are kept
    """

    def __init__(self, engine: Engine, symbol: str, timeframe: Timeframe, size: int) -> None:
        self._engine = engine
        self._symbol = symbol
        self._timeframe = timeframe
        self.size = min(size, MOST_CANDLES)
        self.frame = pl.DataFrame()
        self._short_pushes = 0

    @property
    def is_full(self) -> bool:
        """Whether there are as many candles as decide."""
        return self.frame.height >= self.size

    @property
    def last_ms(self) -> int | None:
        """Close of the newest candle; None while empty."""
        return None if self.frame.is_empty() else to_ms(self.frame.item(-1, "timestamp"))

    def load(self, through_ms: int) -> None:
        """Read the candles up to the one that closes at `through_ms`, back to the first hole."""
        frame = read_candles(
            self._engine, self._symbol, self._timeframe.value, end_ms=through_ms, limit=self.size
        ).select(COLUMNS)
        step = timedelta(milliseconds=self._timeframe.ms)
        holes = frame.select((pl.col("timestamp").diff() != step).arg_true()).to_series()
        self.frame = frame if holes.is_empty() else frame.slice(holes[-1])

    def push(self, candle: Candle) -> pl.DataFrame:
        """The window that ends with `candle`; read again from Postgres when a candle before it is missing,
        and now and then while it is not full, because older history may still be on its way."""
        before_ms = candle.close_ms - self._timeframe.ms
        self._short_pushes = 0 if self.is_full else self._short_pushes + 1
        if self.last_ms != before_ms or self._short_pushes == RELOAD_EVERY:
            self.load(before_ms)
            self._short_pushes = 0
        row = _row(candle)
        if self.last_ms != before_ms:
            self.frame = row
        else:
            self.frame = pl.concat([self.frame.tail(self.size - 1), row], rechunk=True)
        return self.frame

    def revise(self, candle: Candle) -> None:
        """Take over the numbers of a candle that was issued again."""
        if self.frame.is_empty() or to_ms(self.frame.item(0, "timestamp")) > candle.close_ms:
            return
        older = self.frame.filter(pl.col("timestamp") < to_datetime(candle.close_ms))
        newer = self.frame.filter(pl.col("timestamp") > to_datetime(candle.close_ms))
        self.frame = pl.concat([older, _row(candle), newer], rechunk=True)


def _row(candle: Candle) -> pl.DataFrame:
    values = {name: [float(getattr(candle, name))] for name in COLUMNS[1:]}
    times = pl.Series("timestamp", [to_datetime(candle.close_ms)], dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame({"timestamp": times, **values})
