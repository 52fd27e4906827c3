"""Trades in, candles out: exact, whatever the order the trades of a minute come in."""

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal

from core.candle_parts import Fold, Minute
from core.candles import Candle
from core.timeframes import Timeframe
from core.trades import Trade

MINUTE_MS = Timeframe.M1.ms
KEPT_MINUTES = 26 * 60
"""Closed minutes kept for revisions and roll-ups: a day and two hours."""


class CandleBuilder:
    """The candles of one symbol.

    Minutes are built from trades and closed one after the other, by the caller, who knows when a minute is
    complete; higher timeframes are rolled up from closed minutes. A trade of a minute that is closed makes a
    revision of it; where the trades of a closed minute are not known here, its close time is left in
    `late_minutes` for the caller. Nothing here reads a clock.

    Parameters
    ----------
    symbol: of all trades added
    timeframes: those to build; minutes are always built
    start_ms: a minute boundary; the first minute to be closed is the one that begins there
    """

    def __init__(self, symbol: str, timeframes: Iterable[Timeframe], start_ms: int) -> None:
        self.symbol = symbol
        self.closed_through_ms = start_ms
        self.latest_ms = 0
        self.latest_price: Decimal | None = None
        self.late_minutes: set[int] = set()
        self._latest_id = -1
        self._higher = [timeframe for timeframe in Timeframe if timeframe in set(timeframes) - {Timeframe.M1}]
        self._open: dict[int, Minute] = {}
        self._closed: dict[int, Minute] = {}
        self._folds: dict[Timeframe, Fold] = {}
        self._waiting: list[tuple[Timeframe, int]] = []
        self._revised: set[int] = set()
        self._is_seeded = False

    @property
    def next_close_ms(self) -> int:
        """Close time of the next minute to be closed."""
        return self.closed_through_ms + MINUTE_MS

    @property
    def revised(self) -> Collection[int]:
        """Close times of the closed minutes that changed and are not re-issued yet."""
        return self._revised

    @property
    def last_close(self) -> Decimal | None:
        """Close of the last closed minute, if known: the price of a minute without trades."""
        minute = self._closed.get(self.closed_through_ms)
        return None if minute is None else minute.close

    def add_all(self, trades: Sequence[Trade]) -> None:
        """Count trades into their minutes. The caller passes each trade once."""
        start, count = 0, len(trades)
        while start < count:
            at_ms = trades[start].timestamp_ms
            minute = self._open.get(at_ms - at_ms % MINUTE_MS + MINUTE_MS)
            end, latest_ms = (start, 0) if minute is None else minute.add_run(trades, start)
            if end == start:
                self.add(trades[start])
                start += 1
                continue
            newest, start = trades[end - 1], end
            self.latest_ms = max(self.latest_ms, latest_ms)
            if newest.trade_id > self._latest_id:
                self._latest_id, self.latest_price = newest.trade_id, newest.price

    def add(self, trade: Trade) -> None:
        """Count a trade into its minute. The caller passes each trade once."""
        if trade.trade_id > self._latest_id:
            self._latest_id, self.latest_price = trade.trade_id, trade.price
        if trade.timestamp_ms > self.latest_ms:
            self.latest_ms = trade.timestamp_ms
        close_ms = trade.timestamp_ms - trade.timestamp_ms % MINUTE_MS + MINUTE_MS
        if close_ms > self.closed_through_ms:
            minute = self._open.get(close_ms)
            if minute is None:
                self._open[close_ms] = Minute.of_trade(close_ms, trade)
            else:
                minute.add(trade)
            return
        late = self._closed.get(close_ms)
        if late is None or late.is_foreign:
            # Long ago, or a candle built elsewhere, of which the order of trades is not known.
            self.late_minutes.add(close_ms)
            return
        late.add(trade)
        self._revised.add(close_ms)

    def can_close(self) -> bool:
        """Whether the next minute has trades, or a price before it to be flat at."""
        return self.next_close_ms in self._open or self.last_close is not None

    def begin_with_first_trade(self) -> None:
        """Leave out the minutes before the first trade, of which there is no price: once `seed` has been
        called, none is to come any more."""
        if not self._is_seeded or not self._open or self.can_close():
            return
        self.closed_through_ms = min(self._open) - MINUTE_MS
        for timeframe in self._higher:
            fold = Fold(timeframe, timeframe.close_ms(self.closed_through_ms))
            fold.through_ms = self.closed_through_ms
            self._folds[timeframe] = fold

    def close(self, provisional: bool = False) -> list[Candle]:
        """Close the next minute: its candle, then those of the higher timeframes that end with it."""
        close_ms = self.next_close_ms
        minute = self._open.pop(close_ms, None)
        if minute is None:
            price = self.last_close
            if price is None:
                raise ValueError(f"{self.symbol}: no price is known before the empty minute {close_ms}")
            minute = Minute.flat(close_ms, price)
        minute.provisional = provisional
        self._closed[close_ms] = minute
        self._closed.pop(close_ms - KEPT_MINUTES * MINUTE_MS, None)
        self.closed_through_ms = close_ms
        return [minute.candle(self.symbol), *self._roll_up(minute)]

    def seed(self, candles: Iterable[Candle]) -> list[Candle]:
        """Take in final minute candles from before the start; those that were built here are kept.

        Returns the candles of higher timeframes that could not be built for want of these minutes.
        """
        self._is_seeded = True
        for candle in candles:
            if candle.close_ms <= self.closed_through_ms and candle.close_ms not in self._closed:
                self._closed[candle.close_ms] = Minute.of_candle(candle)
        for timeframe in self._higher:
            self._folds[timeframe] = self._fold(timeframe, timeframe.close_ms(self.closed_through_ms))
        waiting, self._waiting = self._waiting, []
        return [candle for timeframe, close_ms in waiting for candle in self._finish(timeframe, close_ms)]

    def rolled_up(self) -> list[Candle]:
        """The longer candles of every ended period of which all minutes are known."""
        first_ms = min(self._closed, default=self.closed_through_ms) - MINUTE_MS
        folds = [
            self._fold(timeframe, close_ms)
            for timeframe in self._higher
            for close_ms in range(timeframe.close_ms(first_ms), self.closed_through_ms + 1, timeframe.ms)
        ]
        return [fold.candle(self.symbol) for fold in folds if fold.is_complete]

    def settle(self, close_ms: int) -> None:
        """A provisional minute is complete after all: re-issue it as a revision."""
        minute = self._closed.get(close_ms)
        if minute is not None and minute.provisional:
            minute.provisional = False
            self._revised.add(close_ms)

    def correct(self, candle: Candle) -> bool:
        """Put a closed minute right with a candle built elsewhere; it and what is made of it are re-issued.

        False: the minute is not known here any more."""
        old = self._closed.get(candle.close_ms)
        if old is None:
            return False
        minute = Minute.of_candle(candle)
        minute.revision, minute.provisional = old.revision, False
        self._closed[candle.close_ms] = minute
        self._revised.add(candle.close_ms)
        return True

    def take_revisions(self) -> list[Candle]:
        """The closed candles, of every timeframe, that late trades changed since the last call."""
        revised = sorted(self._revised | self._flat_after(self._revised))
        self._revised = set()
        changed: dict[tuple[Timeframe, int], None] = {}
        candles = []
        for close_ms in revised:
            minute = self._closed[close_ms]
            minute.revision += 1
            candles.append(minute.candle(self.symbol))
            changed |= {(higher, higher.close_ms(close_ms - MINUTE_MS)): None for higher in self._higher}
        for timeframe, close_ms in changed:
            fold = self._fold(timeframe, close_ms)
            if close_ms > self.closed_through_ms:
                self._folds[timeframe] = fold
            elif fold.is_complete:
                candles.append(fold.candle(self.symbol))
        return candles

    def running(self) -> list[Candle]:
        """The unfinished candles as of the last trade, smallest timeframe first; none before any trade."""
        last = max(self._open, default=None)
        if last is None:
            return []
        newest = self._open[last]
        candles = [newest.candle(self.symbol, final=False)]
        for timeframe in self._higher:
            period_close_ms = timeframe.close_ms(newest.open_ms)
            fold = self._folds.get(timeframe)
            if fold is None or fold.close_ms != period_close_ms:
                fold = Fold(timeframe, period_close_ms)
            if fold.through_ms < self.closed_through_ms:
                continue  # its beginning is not known yet
            fold = fold.copy()
            for close_ms in range(self.next_close_ms, last + 1, MINUTE_MS):
                if close_ms - MINUTE_MS >= fold.through_ms and close_ms in self._open:
                    fold.add(self._open[close_ms])
            candles.append(fold.candle(self.symbol, final=False))
        return candles

    def _flat_after(self, revised: Iterable[int]) -> set[int]:
        """Give the empty minutes that follow revised ones the new price to be flat at."""
        moved: set[int] = set()
        for close_ms in sorted(revised):
            price = self._closed[close_ms].close
            following = self._closed.get(close_ms + MINUTE_MS)
            while following is not None and following.source == "synthetic" and following.close != price:
                following.open = following.high = following.low = following.close = price
                moved.add(following.close_ms)
                following = self._closed.get(following.close_ms + MINUTE_MS)
        return moved

    def _roll_up(self, minute: Minute) -> list[Candle]:
        candles: list[Candle] = []
        for timeframe in self._higher:
            close_ms = timeframe.close_ms(minute.open_ms)
            fold = self._folds.get(timeframe)
            if fold is None or fold.close_ms != close_ms:
                fold = self._folds[timeframe] = Fold(timeframe, close_ms)
            if fold.through_ms == minute.open_ms:
                fold.add(minute)
            if minute.close_ms == close_ms:
                candles += self._finish(timeframe, close_ms)
        return candles

    def _finish(self, timeframe: Timeframe, close_ms: int) -> Sequence[Candle]:
        fold = self._folds.get(timeframe)
        if fold is None or fold.close_ms != close_ms:
            fold = self._fold(timeframe, close_ms)
        if fold.is_complete:
            return [fold.candle(self.symbol)]
        self._waiting.append((timeframe, close_ms))
        return []

    def _fold(self, timeframe: Timeframe, close_ms: int) -> Fold:
        """The closed minutes of a period, as far as they are known without a hole from its beginning."""
        fold = Fold(timeframe, close_ms)
        while not fold.is_complete:
            minute = self._closed.get(fold.through_ms + MINUTE_MS)
            if minute is None:
                break
            fold.add(minute)
        return fold
