"""The candles a run needs: from the warehouse or handed in, with what lies before as warm-up."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from core.errors import BadInput
from core.timeframes import Timeframe
from pipelines.backtest.account import Ints
from pipelines.backtest.checks import DataReport, Origin, checked
from pipelines.backtest.request import Market
from strategies.evaluate import CANDLE_COLUMNS

NEWEST = 1_000
"""Stored candles that are looked at to learn whether any has a volume."""


@dataclass(frozen=True)
class Stretch:
    """A candle frame of which the first `warm` rows only warm the indicators up; path: the bars inside its
    candles, where they are wanted and not handed in beside it (see `pipelines.backtest.intrabar`); volumes:
    whether the candles that these are part of have any, so that one without had no trade."""

    candles: pl.DataFrame
    warm: int
    data: DataReport
    path: pl.DataFrame | None = None
    volumes: bool = True

    @property
    def judged(self) -> int:
        """Candles that are traded."""
        return self.candles.height - self.warm


def stretch(
    market: Market, window: int, warmup: int, database_url: str | None, given: pl.DataFrame | None
) -> Stretch:
    """The request's stretch with up to `window` candles before it.

    BadInput when there are no candles in it, or too few for a first signal (`warmup`).
    """
    timeframe = Timeframe(market.timeframe)
    if given is not None:
        frame, source = given, "the candles given"
    elif database_url is not None:
        frame, source = (
            _from_warehouse(market, window, database_url),
            " ".join(filter(None, (market.exchange, market.symbol, timeframe, "in the database"))),
        )
    else:
        raise BadInput("candles", "give a file of candles or a database")
    if frame.is_empty():
        raise BadInput("candles", f"no candles: {source}{_range(market)}")
    frame, data = checked(frame.select(CANDLE_COLUMNS), timeframe, Origin(source))
    reaching = (
        f"; they reach from {frame['timestamp'][0].isoformat()} to {frame['timestamp'][-1].isoformat()}"
    )
    volumes = with_volumes(frame) or (given is None and _stored_with_volumes(market, database_url))
    if market.end:
        frame = frame.filter(pl.col("timestamp") <= market.end)
    begins = market.start + timedelta(milliseconds=timeframe.ms) if market.start else None
    warm = int((frame["timestamp"] < begins).sum()) if begins else 0
    if frame.height <= warm:
        raise BadInput("candles", f"no candles: {source}{_range(market)}{reaching}")
    if frame.height < warmup:
        raise BadInput("candles", f"{frame.height} candles, but {warmup} are needed before a first signal")
    skipped = max(0, warm - window)
    return Stretch(frame.slice(skipped), warm - skipped, data, volumes=volumes)


def epoch_ms(candles: pl.DataFrame) -> Ints:
    """When each candle closed, ms."""
    # Polars divides more slowly.
    return np.asarray(candles["timestamp"].dt.epoch("us").to_numpy() // 1000, dtype=np.int64)


def with_volumes(candles: pl.DataFrame) -> bool:
    """Whether any candle has a volume; if none has, nobody knows which of them were traded."""
    return bool((candles["volume"] > 0).any())


def _stored_with_volumes(market: Market, database_url: str | None) -> bool:
    """The same of the newest stored candles, for a stretch without one."""
    from pipelines.warehouse.candles import read_candles
    from pipelines.warehouse.database import engine

    own = engine(str(database_url))
    newest = read_candles(
        own, market.symbol, Timeframe(market.timeframe), None, None, NEWEST, market.exchange
    )
    return with_volumes(newest)


def _from_warehouse(market: Market, window: int, database_url: str) -> pl.DataFrame:
    from pipelines.warehouse.candles import read_candles
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.sql import to_ms

    own, symbol, timeframe = engine(database_url), market.symbol, market.timeframe
    start_ms = to_ms(market.start) if market.start else None
    end_ms = to_ms(market.end) if market.end else None
    begins_ms = None if start_ms is None else start_ms + market.candle_ms
    inside = read_candles(own, symbol, timeframe, begins_ms, end_ms, exchange=market.exchange)
    if start_ms is None:
        return inside
    before = read_candles(own, symbol, timeframe, None, start_ms, window, market.exchange)
    return pl.concat([before, inside])


def _range(market: Market) -> str:
    start = f" from {market.start.isoformat()}" if market.start else ""
    end = f" to {market.end.isoformat()}" if market.end else ""
    return start + end
