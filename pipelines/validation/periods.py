"""Returns of a run at a pace that suits its length: days, or hours or candles where there are few days."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.metrics import DAY_MS, YEAR_MS, returns

Floats = NDArray[np.float64]
Unit = Literal["day", "hour", "candle"]
HOUR_MS = DAY_MS // 24
ENOUGH = 30
"""Periods below which the next shorter unit is used."""


@dataclass(frozen=True)
class Periods:
    """Returns per period, of the account and of the market; a_year: periods in 365 days."""

    unit: Unit
    ends: pl.Series
    returns: Floats
    market: Floats
    a_year: float


def periods_of(equity: pl.DataFrame, cash: float, candle_ms: int, unit: Unit | None = None) -> Periods:
    """From a run's equity curve (timestamp, equity, close), the longest unit of which there are enough.

    The first return of the account is against its cash, that of the market against the first close.
    """
    close_ms = equity["timestamp"].dt.epoch("ms").to_numpy()
    own: Unit = "day" if candle_ms == DAY_MS else "hour" if candle_ms == HOUR_MS else "candle"
    chosen, last = unit or own, np.ones(close_ms.size, np.bool_)
    for name, length_ms in _lengths(candle_ms, unit):
        period = (close_ms - 1) // length_ms
        ends = np.append(period[1:] != period[:-1], True)
        if unit or np.count_nonzero(ends) >= ENOUGH:
            chosen, last = name, ends
            break
    value = equity["equity"].to_numpy()[last]
    price = equity["close"].to_numpy()
    return Periods(
        unit=chosen,
        ends=equity["timestamp"].filter(pl.Series(last)),
        returns=returns(value, cash),
        market=returns(price[last], float(price[0])),
        a_year=YEAR_MS / {"day": DAY_MS, "hour": max(HOUR_MS, candle_ms), "candle": candle_ms}[chosen],
    )


def _lengths(candle_ms: int, unit: Unit | None) -> list[tuple[Unit, int]]:
    known: list[tuple[Unit, int]] = [("day", DAY_MS), ("hour", HOUR_MS)]
    return [(name, length) for name, length in known if length > candle_ms and unit in (None, name)]
