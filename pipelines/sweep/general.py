"""Sweeps of any vectorised strategy: its conditions as columns, indicator columns shared."""

from collections import OrderedDict
from collections.abc import Mapping

import polars as pl

from strategies.base import Strategy, VectorStrategy
from strategies.columns import with_indicators
from strategies.evaluate import evaluate, flags
from strategies.indicators.base import Indicator


class SharedColumns:
    """Indicator columns by (kind, parameters, timeframe); the least recently used go when `most` are kept."""

    def __init__(self, candles: pl.DataFrame, most: int) -> None:
        self._candles = candles
        self._most = most
        self._kept: OrderedDict[Indicator, pl.Series] = OrderedDict()

    def signals(self, strategy: Strategy) -> pl.DataFrame:
        """Columns buy and sell, row for row with the candles; the same as `evaluate` says."""
        if not isinstance(strategy, VectorStrategy) or type(strategy).judge is not VectorStrategy.judge:
            return evaluate(strategy, self._candles).select("buy", "sell")
        frame = self._candles.with_columns(self._columns(strategy, strategy.indicators()))
        return frame.with_columns(buy=strategy.buy(), sell=strategy.sell()).select(*flags(strategy.warmup))

    def _columns(self, strategy: Strategy, indicators: Mapping[str, Indicator]) -> list[pl.Series]:
        missing = {name: i for name, i in indicators.items() if i not in self._kept}
        if missing:
            computed = with_indicators(self._candles, missing, strategy.timeframe)
            for name, indicator in missing.items():
                self._kept[indicator] = computed[name]
        columns = []
        for name, indicator in indicators.items():
            self._kept.move_to_end(indicator)
            columns.append(self._kept[indicator].alias(name))
        while len(self._kept) > max(self._most, len(indicators)):
            self._kept.popitem(last=False)
        return columns


def told(error: BaseException) -> str:
    """An error of a strategy's own code, as a line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
