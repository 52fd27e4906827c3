"""The two mutable things candles are made of: a minute of trades, and a fold of minutes."""

from collections.abc import Sequence
from decimal import Decimal

from core.candles import Candle, CandleSource
from core.timeframes import Timeframe
from core.trades import Trade

MINUTE_MS = Timeframe.M1.ms
_ZERO = Decimal(0)


class Minute:
    """One minute, open or closed. Open and close belong to its lowest and highest trade id."""

    __slots__ = (
        "close",
        "close_ms",
        "first_id",
        "high",
        "last_id",
        "low",
        "open",
        "provisional",
        "revision",
        "source",
        "trades_count",
        "volume",
    )

    def __init__(self, close_ms: int, price: Decimal, source: CandleSource) -> None:
        self.close_ms = close_ms
        self.open = self.high = self.low = self.close = price
        self.volume = _ZERO
        self.trades_count = 0
        self.first_id = self.last_id = -1
        self.source: CandleSource = source
        self.revision = 0
        self.provisional = False

    @classmethod
    def of_trade(cls, close_ms: int, trade: Trade) -> "Minute":
        """A minute with its first trade in it."""
        minute = cls(close_ms, trade.price, "trades")
        minute.first_id = minute.last_id = trade.trade_id
        minute.volume = trade.size
        minute.trades_count = trade.count
        return minute

    @classmethod
    def flat(cls, close_ms: int, price: Decimal) -> "Minute":
        """A minute without trades."""
        return cls(close_ms, price, "synthetic")

    @classmethod
    def of_candle(cls, candle: Candle) -> "Minute":
        """A minute that was built elsewhere."""
        minute = cls(candle.close_ms, candle.open, candle.source)
        minute.high, minute.low, minute.close = candle.high, candle.low, candle.close
        minute.volume, minute.trades_count = candle.volume, candle.trades_count
        minute.revision, minute.provisional = candle.revision, candle.provisional
        return minute

    @property
    def is_foreign(self) -> bool:
        """Whether it was built elsewhere from trades that are not known here."""
        return self.source != "synthetic" and self.first_id < 0

    @property
    def open_ms(self) -> int:
        """Its first instant."""
        return self.close_ms - MINUTE_MS

    def add(self, trade: Trade) -> None:
        """Count a trade in."""
        price = trade.price
        if self.source == "synthetic":
            self.open = self.high = self.low = self.close = price
            self.source = "trades"
            self.first_id = self.last_id = trade.trade_id
        elif trade.trade_id > self.last_id:
            self.last_id, self.close = trade.trade_id, price
        elif trade.trade_id < self.first_id:
            self.first_id, self.open = trade.trade_id, price
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.volume += trade.size
        self.trades_count += trade.count

    def add_run(self, trades: Sequence[Trade], start: int) -> tuple[int, int]:
        """Count in trades from number `start` as long as they belong here and come in the order of their ids.

        Returns the number of the first one left, and the latest time of those taken. The same as `add` for
        each, at half the cost.
        """
        open_ms, close_ms, last_id = self.open_ms, self.close_ms, self.last_id
        high, low, volume, count, latest_ms = self.high, self.low, self.volume, self.trades_count, 0
        for end in range(start, len(trades)):
            trade = trades[end]
            at_ms = trade.timestamp_ms
            if not open_ms <= at_ms < close_ms or trade.trade_id < last_id:
                break
            last_id, price = trade.trade_id, trade.price
            if price > high:
                high = price
            elif price < low:
                low = price
            volume += trade.size
            count += trade.count
            if at_ms > latest_ms:
                latest_ms = at_ms
        else:
            end = len(trades)
        if end > start:
            self.high, self.low, self.volume, self.trades_count = high, low, volume, count
            self.last_id, self.close = last_id, price
        return end, latest_ms

    def candle(self, symbol: str, final: bool = True) -> Candle:
        """The minute as a candle."""
        return Candle(
            symbol=symbol,
            timeframe=Timeframe.M1,
            close_ms=self.close_ms,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            volume=self.volume,
            trades_count=self.trades_count,
            source=self.source,
            final=final,
            revision=self.revision,
            provisional=self.provisional,
        )


class Fold:
    """The minutes of one longer candle, added oldest first; knows how far it has come (`through_ms`).

    Flat minutes count only while there is no other: a 5m candle opens with its first trade, and not with the
    price of a minute before it, as the exchange's own does.
    """

    __slots__ = (
        "_sources",
        "close",
        "close_ms",
        "high",
        "low",
        "open",
        "provisional",
        "revision",
        "through_ms",
        "timeframe",
        "trades_count",
        "volume",
    )

    def __init__(self, timeframe: Timeframe, close_ms: int) -> None:
        self.timeframe = timeframe
        self.close_ms = close_ms
        self.through_ms = close_ms - timeframe.ms
        self.open = self.high = self.low = self.close = _ZERO
        self.volume = _ZERO
        self.trades_count = 0
        self.provisional = False
        self.revision = 0
        self._sources: set[CandleSource] = set()

    @property
    def is_complete(self) -> bool:
        """Whether the last minute is in it."""
        return self.through_ms == self.close_ms

    def add(self, minute: Minute) -> None:
        """Append a minute."""
        traded = minute.volume > 0
        if not self._sources or (traded and not self.volume):
            self.open, self.high, self.low, self.close = minute.open, minute.high, minute.low, minute.close
        elif traded:
            self.high, self.low = max(self.high, minute.high), min(self.low, minute.low)
            self.close = minute.close
        self.volume += minute.volume
        self.trades_count += minute.trades_count
        self.provisional = self.provisional or minute.provisional
        self.revision = max(self.revision, minute.revision)
        self._sources.add(minute.source)
        self.through_ms = minute.close_ms

    def copy(self) -> "Fold":
        """An equal one that can be added to on its own."""
        twin = Fold(self.timeframe, self.close_ms)
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        twin._sources = set(self._sources)
        return twin

    def candle(self, symbol: str, final: bool = True) -> Candle:
        """The fold as a candle. Its source is the exchange when any minute's was."""
        source: CandleSource = "trades"
        if "exchange" in self._sources:
            source = "exchange"
        elif self._sources == {"synthetic"}:
            source = "synthetic"
        return Candle(
            symbol=symbol,
            timeframe=self.timeframe,
            close_ms=self.close_ms,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            volume=self.volume,
            trades_count=self.trades_count,
            source=source,
            final=final,
            revision=self.revision,
            provisional=self.provisional,
        )
