"""The newest candle of a timeframe that nobody pushes, made of the minutes that are. Pure."""

from decimal import Decimal
from typing import Any

from core.candle_parts import MINUTE_MS, Fold, Minute
from core.timeframes import Timeframe

Point = dict[str, Any]
"""A candle as the chart wants it (`hub.candle_point`): t (close, epoch ms), o, h, l, c, v, final."""


class Growing:
    """One series of longer candles, folded of minutes as the collector folds them (core.candle_parts).

    Minutes that are over are folded for good, in their order; those that are not yet, each time anew. A
    revision of an older minute is left to the next drawing, which begins anew.

    Parameters
    ----------
    timeframe: of the candles made
    drawn: the last candle of a chart
    through_ms: close time of the last minute that is in it
    """

    def __init__(self, timeframe: Timeframe, drawn: Point, through_ms: int) -> None:
        self._timeframe = timeframe
        self._fold = Fold(timeframe, drawn["t"])
        self._fold.add(_minute(drawn, through_ms))
        self._running: dict[int, Minute] = {}

    @property
    def through_ms(self) -> int:
        """Close time of the last minute that is folded for good."""
        return self._fold.through_ms

    def add(self, point: Point) -> list[Point]:
        """Take a minute in; the candles that it changes, oldest first."""
        if point["t"] <= self.through_ms:
            return []
        self._running[point["t"]] = _minute(point, point["t"])
        changed = self._settle(point["t"]) if point["final"] else {}
        if self._running:
            fold = self._begun(max(self._running)).copy()
            for minute in self._of(fold):
                fold.add(minute)
            changed[fold.close_ms] = _point(fold, False)
        return list(changed.values())

    def _settle(self, through_ms: int) -> dict[int, Point]:
        """Fold the minutes up to that one, which come in their order, for good."""
        changed: dict[int, Point] = {}
        for close_ms in sorted(each for each in self._running if each <= through_ms):
            self._fold = self._begun(close_ms)
            self._fold.add(self._running.pop(close_ms))
            changed[self._fold.close_ms] = _point(self._fold, self._fold.is_complete)
        return changed

    def _begun(self, close_ms: int) -> Fold:
        """The candle that this minute is in, as far as it is folded for good."""
        label = self._timeframe.close_ms(close_ms - MINUTE_MS)
        return self._fold if label == self._fold.close_ms else Fold(self._timeframe, label)

    def _of(self, fold: Fold) -> list[Minute]:
        opened = fold.close_ms - self._timeframe.ms
        return [self._running[each] for each in sorted(self._running) if opened < each <= fold.close_ms]


def _minute(point: Point, close_ms: int) -> Minute:
    minute = Minute(close_ms, Decimal(str(point["o"])), "trades")
    minute.high, minute.low, minute.close, minute.volume = (
        Decimal(str(point[name])) for name in ("h", "l", "c", "v")
    )
    return minute


def _point(fold: Fold, final: bool) -> Point:
    prices = {"o": fold.open, "h": fold.high, "l": fold.low, "c": fold.close, "v": fold.volume}
    return {"t": fold.close_ms, "final": final, **{name: float(prices[name]) for name in prices}}
