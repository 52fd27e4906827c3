"""ccxt's candles as ours: labelled by their close, UTC days, longer ones out of shorter ones where needed."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from core.candles import Candle
from core.timeframes import Timeframe


def candles(rows: Iterable[Sequence[Any]], symbol: str, timeframe: Timeframe) -> list[Candle]:
    """Rows of (open ms, open, high, low, close, volume) as candles; rows without a price are left out."""
    found = []
    for row in rows:
        if any(number is None for number in row[:5]):
            continue
        opened, high, low, close, volume = (Decimal(number or 0) for number in row[1:6])
        close_ms = int(row[0]) + timeframe.ms
        found.append(Candle(symbol, timeframe, close_ms, opened, high, low, close, volume, source="exchange"))
    return found


def on_boundaries(found: Iterable[Candle]) -> bool:
    """Whether all begin at multiples of their timeframe: the days of some exchanges are not UTC days."""
    return all(candle.close_ms % candle.timeframe.ms == 0 for candle in found)


def source_of(timeframe: Timeframe, served: Iterable[str]) -> Timeframe | None:
    """The longest served timeframe of which candles of `timeframe` can be made: itself, if it is served."""
    names = set(served)
    fitting = [part for part in Timeframe if part.value in names and timeframe.ms % part.ms == 0]
    return max(fitting, key=lambda part: part.ms, default=None)


def merged(parts: Iterable[Candle], timeframe: Timeframe) -> list[Candle]:
    """Candles of `timeframe` out of shorter ones, oldest first. An exchange leaves out minutes without a
    trade, so what is missing counts as that."""
    found: dict[int, Candle] = {}
    for part in parts:
        close_ms = timeframe.close_ms(part.open_ms)
        old = found.get(close_ms)
        if old is None:
            old = Candle(
                part.symbol,
                timeframe,
                close_ms,
                part.open,
                part.high,
                part.low,
                part.close,
                Decimal(0),
                source="exchange",
            )
        found[close_ms] = Candle(
            part.symbol,
            timeframe,
            close_ms,
            old.open,
            max(old.high, part.high),
            min(old.low, part.low),
            part.close,
            old.volume + part.volume,
            source="exchange",
        )
    return list(found.values())
