"""Made-up candles to try a strategy on: a random walk with quiet and wild hours, some minutes untraded."""

import numpy as np
import polars as pl

from core.timeframes import Timeframe

_FIRST_CLOSE_US = 1_767_225_600_000_000  # 2026-01-01T00:00Z, a boundary of every timeframe


def sample_candles(count: int, timeframe: str = "1m", seed: int = 1) -> pl.DataFrame:
    """A candle frame of `count` candles, the same for the same arguments. Prices are multiples of 0.01 and
    begin at 100; about one candle in fifty is flat with no volume."""
    random = np.random.default_rng(seed)
    length = Timeframe.parse(timeframe).ms * 1000
    wildness = np.exp(np.repeat(random.normal(0, 0.7, count // 60 + 1), 60)[:count])
    traded = random.random(count) > 0.02
    close = np.round(100 * np.exp(np.cumsum(random.normal(0, 1e-3, count) * wildness * traded)), 2)
    opened = np.concatenate(([100.0], close[:-1]))
    spread = np.round(random.exponential(0.05, (2, count)) * traded, 2)
    time = _FIRST_CLOSE_US + length * np.arange(1, count + 1)
    return pl.DataFrame(
        {
            "timestamp": pl.Series(time).cast(pl.Datetime("us", "UTC")),
            "open": opened,
            "high": np.maximum(opened, close) + spread[0],
            "low": np.minimum(opened, close) - spread[1],
            "close": close,
            "volume": np.round(random.exponential(5, count) * traded, 6),
        }
    )
