"""The inside of one candle, exact, as the bars that a bot's orders are judged on.

Trades are read by id. Of a running candle only the unbroken sequence of ids counts, from the last trade
before it on: what lies behind a hole waits until the hole is filled or the candle is final, so that a bot
that was down and replays the candle sees the same trades in the same order.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, text

from core.accounts import Bar, Matching, Path
from core.candles import Candle
from core.timeframes import Timeframe
from pipelines.warehouse.sql import EXCHANGE, to_datetime, to_ms

MOST_BARS = 20_000
"""Bars read in one go."""

_TRADES = text("""
    WITH before AS MATERIALIZED (
        SELECT trade_id FROM raw_trades
        WHERE exchange = :exchange AND symbol = :symbol
          AND timestamp < :begins AND timestamp >= CAST(:begins AS timestamptz) - interval '1 day'
        ORDER BY trade_id DESC LIMIT 1
    )
    SELECT trade_id, timestamp, price, size, count, (SELECT trade_id FROM before) AS before
    FROM raw_trades
    WHERE exchange = :exchange AND symbol = :symbol AND timestamp >= :begins AND timestamp < :ends
      AND trade_id > greatest(:after, coalesce((SELECT trade_id FROM before), 0))
    ORDER BY trade_id LIMIT :most
""")
_ANY_TRADE = text("""
    SELECT 1 FROM raw_trades WHERE exchange = :exchange AND symbol = :symbol
      AND timestamp >= CAST(:begins AS timestamptz) - interval '1 day' AND timestamp < :ends LIMIT 1
""")
_SHAPE = text("""
    SELECT (array_agg(price ORDER BY trade_id))[1] AS open, max(price) AS high, min(price) AS low,
           (array_agg(price ORDER BY trade_id DESC))[1] AS close
    FROM raw_trades
    WHERE exchange = :exchange AND symbol = :symbol AND timestamp >= :begins AND timestamp < :ends
""")
_MINUTES = text("""
    SELECT timestamp, open, high, low, close, volume FROM market_data
    WHERE exchange = :exchange AND symbol = :symbol AND timeframe = '1m'
      AND timestamp > :begins AND timestamp <= :ends ORDER BY timestamp
""")


class Inside:
    """Reads the bars inside the candles of one symbol.

    Parameters
    ----------
    path: trades (minutes where none are stored), 1m, or candle for none at all
    """

    def __init__(self, engine: Engine, symbol: str, path: Path) -> None:
        self._engine = engine
        self._symbol = symbol
        self._path = path

    def of_final(self, candle: Candle, matching: Matching) -> Sequence[Bar]:
        """The bars of a final candle that the orders have not met yet: the finest that make the candle. As
        many as `MOST_BARS` are not all of them: ask again when the orders have met these."""
        whole = (Bar.of_candle(candle),)
        if self._path == "candle":
            return whole
        begun = is_begun(candle, matching)
        with self._engine.connect() as connection:
            for read in (self._trades, self._minutes) if self._path == "trades" else (self._minutes,):
                bars = read(connection, candle, matching, proven=False)
                if bars and (begun or make(bars, candle) or self._make_all(connection, candle, bars)):
                    return bars
        return () if begun else whole

    def so_far(self, running: Candle, matching: Matching) -> Sequence[Bar]:
        """The bars of a running candle that are certain and that the orders have not met yet."""
        if self._path == "candle":
            return ()
        with self._engine.connect() as connection:
            if self._path == "trades":
                bars = self._trades(connection, running, matching, proven=True)
                if bars or connection.execute(_ANY_TRADE, self._key(running)).first() is not None:
                    return bars
            return self._minutes(connection, running, matching, proven=True)

    def _key(self, candle: Candle) -> dict[str, Any]:
        times = {"begins": to_datetime(candle.open_ms), "ends": to_datetime(candle.close_ms)}
        return {"exchange": EXCHANGE, "symbol": self._symbol, **times}

    def _make_all(self, connection: Connection, candle: Candle, first: Sequence[Bar]) -> bool:
        """Whether these are the first of more trades, which make the candle together."""
        if len(first) < MOST_BARS:
            return False
        shape = connection.execute(_SHAPE, self._key(candle)).one()
        return tuple(shape) == (candle.open, candle.high, candle.low, candle.close)

    def _trades(
        self, connection: Connection, candle: Candle, matching: Matching, proven: bool
    ) -> Sequence[Bar]:
        after = matching.matched_id if is_begun(candle, matching) else 0
        rows = connection.execute(_TRADES, {**self._key(candle), "after": after, "most": MOST_BARS})
        bars, last = [], after or None
        for row in rows:
            last = row.before if last is None else last
            if proven and (last is None or row.trade_id - row.count != last):
                break
            at_ms, last = to_ms(row.timestamp), row.trade_id
            if at_ms < matching.since_ms:
                continue
            prices = (row.price, row.price, row.price, row.price)
            bars.append(Bar(at_ms, at_ms, *prices, row.size, row.trade_id))
        return bars

    def _minutes(
        self, connection: Connection, candle: Candle, matching: Matching, proven: bool
    ) -> Sequence[Bar]:
        bars = []
        for row in connection.execute(_MINUTES, self._key(candle)):
            ends_ms = to_ms(row.timestamp)
            begins_ms = ends_ms - Timeframe.M1.ms
            if begins_ms >= max(matching.matched_ms, matching.since_ms):
                bars.append(Bar(begins_ms, ends_ms, row.open, row.high, row.low, row.close, row.volume))
        return bars


def is_begun(candle: Candle, matching: Matching) -> bool:
    """Whether the orders have met a part of the candle already."""
    return matching.matched_ms > candle.open_ms or matching.matched_id > 0


def make(bars: Sequence[Bar], candle: Candle) -> bool:
    """Whether the first, highest, lowest and last price of the bars are the candle's."""
    traded = [bar for bar in bars if bar.volume > 0]
    return bool(traded) and (
        traded[0].open == candle.open
        and max(bar.high for bar in traded) == candle.high
        and min(bar.low for bar in traded) == candle.low
        and traded[-1].close == candle.close
    )
