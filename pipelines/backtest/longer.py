"""Longer candles out of a file's shorter ones."""

from datetime import timedelta
from pathlib import Path

import polars as pl

from core.errors import BadInput
from core.timeframes import Timeframe
from pipelines.backtest.checks import origin_of, refuse_values


def longer_candles(opened: pl.DataFrame, timeframe: Timeframe, path: Path) -> pl.DataFrame:
    """Candles of `timeframe`, labelled by their open, out of shorter ones that are too.

    A candle is made of those that there are: where nothing was traded many files have no row. Volumes are
    rounded to 12 digits, as sums of floats are not exact. BadInput when
    the rows are not in order, or further apart than the timeframe.
    """
    refuse_values(opened, origin_of(path))
    steps = opened["timestamp"].diff().dt.total_milliseconds()
    back = (steps <= 0).arg_true()
    if back.len():
        raise origin_of(path).error(int(back[0]), "its time is not after that of the row before")
    shortest = steps.min()
    if isinstance(shortest, int) and (shortest > timeframe.ms or timeframe.ms % shortest):
        raise BadInput("timeframe", f"{timeframe} is no multiple of the {shortest / 1000:g} s of {path}")
    return opened.group_by_dynamic("timestamp", every=timedelta(milliseconds=timeframe.ms)).agg(
        pl.first("open"), pl.max("high"), pl.min("low"), pl.last("close"), pl.sum("volume").round(12)
    )
