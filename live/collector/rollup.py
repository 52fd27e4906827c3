"""Longer candles out of stored minutes: for those of which the builder does not know all minutes any more."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Engine

from core.candle_parts import Fold, Minute
from core.candles import Candle
from core.timeframes import Timeframe
from pipelines.warehouse.resume import exact_candles


def rolled_up(symbol: str, timeframe: Timeframe, close_ms: int, minutes: Iterable[Candle]) -> Candle | None:
    """The candle that ends at `close_ms`, of its minutes, oldest first; None when one is missing."""
    fold = Fold(timeframe, close_ms)
    for minute in minutes:
        if minute.close_ms - Timeframe.M1.ms != fold.through_ms:
            return None
        fold.add(Minute.of_candle(minute))
    return fold.candle(symbol) if fold.is_complete else None


def roll_up_stored(
    engine: Engine,
    symbol: str,
    periods: Iterable[tuple[Timeframe, int]],
    changed: dict[int, Candle],
) -> dict[tuple[Timeframe, int], Candle | None]:
    """The candles of these (timeframe, close time), of stored minutes; None where minutes are missing.

    changed: minutes by close time that count in place of the stored ones
    """
    made = {}
    with engine.connect() as connection:
        for timeframe, close_ms in periods:
            stored = exact_candles(connection, symbol, Timeframe.M1, close_ms - timeframe.ms, close_ms)
            minutes = {minute.close_ms: minute for minute in stored} | changed
            within = [minutes[at] for at in sorted(minutes) if close_ms - timeframe.ms < at <= close_ms]
            made[timeframe, close_ms] = rolled_up(symbol, timeframe, close_ms, within)
    return made


def periods_of(
    minutes: Iterable[int], timeframes: Sequence[Timeframe], through_ms: int
) -> list[tuple[Timeframe, int]]:
    """The longer candles, closed by `through_ms`, that hold minutes with these close times."""
    found = {
        (timeframe, timeframe.close_ms(close_ms - Timeframe.M1.ms)): None
        for close_ms in minutes
        for timeframe in timeframes
        if timeframe is not Timeframe.M1
    }
    return [period for period in found if period[1] <= through_ms]
