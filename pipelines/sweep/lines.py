"""Indicator columns shared between combinations: each distinct one is computed once."""

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from core.timeframes import Timeframe
from pipelines.backtest.account import Floats, Ints
from strategies.base import Strategy, VectorStrategy
from strategies.columns import with_indicators
from strategies.conditions import crosses_above, crosses_below
from strategies.indicators.base import Indicator

LINES_BYTES = 320_000_000
"""Memory for indicator columns; more distinct ones are worked through in parts."""

Pair = tuple[Indicator, Indicator]


def crossing_pair(strategy: Strategy) -> Pair | None:
    """The two indicators, if all the strategy does is to buy where one crosses above the other and to sell
    where it crosses below; such sweeps need no signal columns at all."""
    if not isinstance(strategy, VectorStrategy) or type(strategy).judge is not VectorStrategy.judge:
        return None
    indicators = strategy.lines
    buy, sell = strategy.buy(), strategy.sell()
    for first in indicators:
        for second in indicators:
            if (
                first != second
                and _same(buy, crosses_above(first, second))
                and _same(sell, crosses_below(first, second))
            ):
                return indicators[first], indicators[second]
    return None


def _same(one: pl.Expr, other: pl.Expr) -> bool:
    return one is other or one.meta.eq(other)


def lines_at_once(candles: int) -> int:
    """How many columns of that length fit in `LINES_BYTES`; at least two."""
    return max(2, LINES_BYTES // (8 * candles))


def parts(pairs: Sequence[Pair], most: int) -> Iterable[list[int]]:
    """The numbers of the pairs, in parts that need at most `most` distinct indicators each."""
    firsts = list(dict.fromkeys(first for first, _ in pairs))
    seconds = list(dict.fromkeys(second for _, second in pairs))
    side = max(1, most // 2)
    row = {indicator: n // side for n, indicator in enumerate(firsts)}
    column = {indicator: n // side for n, indicator in enumerate(seconds)}
    tiles: dict[tuple[int, int], list[int]] = {}
    for n, (first, second) in enumerate(pairs):
        tiles.setdefault((row[first], column[second]), []).append(n)
    return tiles.values()


def compute(
    candles: pl.DataFrame, indicators: Sequence[Indicator], own: Timeframe | None
) -> tuple[Floats, Ints] | None:
    """Their values (indicator × candle) and the first candle with a value of each; None where one has holes
    after its first value, which crossings have to be told about row by row."""
    lines = np.empty((len(indicators), candles.height))
    known = np.empty(len(indicators), np.int64)
    for n, indicator in enumerate(indicators):
        column = with_indicators(candles, {"line": indicator}, own)["line"]
        known[n] = column.null_count()
        if column.slice(int(known[n])).null_count():
            return None
        lines[n] = column.to_numpy()
    return lines, known
