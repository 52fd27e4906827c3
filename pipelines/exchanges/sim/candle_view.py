"""The exchange's candles as it tells them: without the trades that are not in them yet."""

import numpy as np

from pipelines.exchanges.sim import days
from pipelines.exchanges.sim.bars import Bar
from pipelines.exchanges.sim.days import DAY_MS, MINUTE_MS, Candles, DayTrades, Flags, Ints
from pipelines.exchanges.sim.delays import Delays
from pipelines.exchanges.sim.history import History


class CandleView:
    """Reads candles as of a virtual time; without faults exactly those of the history."""

    def __init__(self, history: History, delays: Delays) -> None:
        self._history = history
        self._delays = delays

    def rows(self, symbol: str, bar: Bar, opens: Ints, now_ms: int) -> Candles:
        """The candles that open at `opens`, without holes."""
        rows = self._history.candles(symbol, bar, opens, now_ms)
        since_ms = now_ms - self._delays.hidden_ms
        if not self._delays.hidden_ms or not len(rows) or self._close_ms(bar, rows) <= since_ms:
            return rows
        columns = [column.copy() for column in rows.columns()]
        for place in self._incomplete(symbol, rows, since_ms, now_ms):
            told = self._told(symbol, bar, int(rows.open_ms[place]), now_ms)
            for column, (value,) in zip(columns, told.columns(), strict=True):
                column[place] = value
        return Candles(*columns)

    def confirmed(self, symbol: str, bar: Bar, rows: Candles, now_ms: int) -> Flags:
        """Which of the candles are told as complete."""
        if not len(rows):
            return np.zeros(0, np.bool_)
        closes = np.append(rows.open_ms[1:], self._close_ms(bar, rows))
        return self._delays.confirmed(symbol, bar.name, rows.open_ms, closes, now_ms)

    def _close_ms(self, bar: Bar, rows: Candles) -> int:
        return bar.open_ms(bar.index(int(rows.open_ms[-1])) + 1)

    def _incomplete(self, symbol: str, rows: Candles, since_ms: int, now_ms: int) -> list[int]:
        """The places of the candles that lack a trade."""
        trades = self._trades(symbol, since_ms - since_ms % MINUTE_MS, now_ms)
        at = trades.ts[self._delays.hidden(symbol, trades, now_ms)]
        places = np.searchsorted(rows.open_ms, at[at >= rows.open_ms[0]], side="right") - 1
        return [int(place) for place in np.unique(places)]

    def _told(self, symbol: str, bar: Bar, open_ms: int, now_ms: int) -> Candles:
        close_ms = bar.open_ms(bar.index(open_ms) + 1)
        # whole minutes, also around a candle of a second
        minutes = (open_ms - open_ms % MINUTE_MS, close_ms - 1 + -close_ms % MINUTE_MS)
        trades = self._trades(symbol, minutes[0], min(minutes[1], now_ms))
        known = trades.only(~self._delays.hidden(symbol, trades, now_ms))
        known = known.part(known.until(open_ms - 1), known.until(close_ms - 1))
        before = self._history.newest_trades(symbol, open_ms - 1, 1)
        flat = int(before.price[0]) if len(before) else int(trades.price[0])
        return days.from_trades(known, np.array([open_ms]), flat)

    def _trades(self, symbol: str, first_ms: int, last_ms: int) -> DayTrades:
        """All matches of these times."""
        parts = [self._history.day(symbol, day) for day in range(first_ms // DAY_MS, last_ms // DAY_MS + 1)]
        cut = [part.part(part.until(first_ms - 1), part.until(last_ms)) for part in parts]
        return days.join_trades(cut)
