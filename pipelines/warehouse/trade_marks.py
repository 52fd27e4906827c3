"""The last trade of each minute, of trades that are not or no longer stored: what a restart goes on from."""

from collections.abc import Collection, Sequence
from datetime import date

from sqlalchemy import Connection, text

from core.timeframes import Timeframe
from core.trades import Trade
from pipelines.warehouse.sql import EXCHANGE, to_datetime, to_ms
from pipelines.warehouse.trade_days import day_bounds
from pipelines.warehouse.trades import StoredTrade, copy_trades

KEPT_DAYS = 9
"""A restart looks back a day at most, comparisons with the exchange's candles a week and a day."""

# A repeat of older trades, or a part of them, changes nothing.
_UPSERT = text("""
    INSERT INTO trade_marks AS old (exchange, symbol, timestamp, trade_id, traded_at)
    VALUES (:exchange, :symbol, :timestamp, :trade_id, :traded_at)
    ON CONFLICT (exchange, symbol, timestamp) DO UPDATE
    SET trade_id = excluded.trade_id, traded_at = excluded.traded_at
    WHERE excluded.trade_id > old.trade_id
""")
_MARK_DAY = text("""
    INSERT INTO trade_marks AS old (exchange, symbol, timestamp, trade_id, traded_at)
    SELECT DISTINCT ON (minute) exchange, symbol, minute, trade_id, timestamp FROM (
        SELECT *, date_trunc('minute', timestamp) + interval '1 minute' AS minute FROM raw_trades
        WHERE exchange = :exchange AND symbol = :symbol AND timestamp >= :start AND timestamp < :end
    ) AS trades ORDER BY minute, trade_id DESC
    ON CONFLICT (exchange, symbol, timestamp) DO UPDATE
    SET trade_id = excluded.trade_id, traded_at = excluded.traded_at
    WHERE excluded.trade_id > old.trade_id
""")
_NEWEST = text("SELECT max(timestamp) FROM trade_marks WHERE exchange = :exchange AND symbol = :symbol")
_FORGET = text("""
    DELETE FROM trade_marks WHERE exchange = :exchange AND symbol = :symbol
      AND timestamp < CAST(:timestamp AS timestamptz) - make_interval(days => :days)
""")
_LAST = text("""
    SELECT trade_id, traded_at FROM trade_marks
    WHERE exchange = :exchange AND symbol = :symbol AND timestamp <= :through
    ORDER BY timestamp DESC LIMIT 1
""")


def store_trades(connection: Connection, trades: Sequence[Trade], unkept: Collection[str]) -> None:
    """Write trades in the caller's transaction; of the symbols in `unkept` only the last one of a minute."""
    if not unkept:
        copy_trades(connection, trades)
        return
    copy_trades(connection, [trade for trade in trades if trade.symbol not in unkept])
    record_marks(connection, [trade for trade in trades if trade.symbol in unkept])


def record_marks(connection: Connection, trades: Sequence[Trade]) -> None:
    """In the caller's transaction: these trades were counted into their minutes."""
    newest: dict[tuple[str, int], Trade] = {}
    for trade in trades:
        key = trade.symbol, Timeframe.M1.close_ms(trade.timestamp_ms)
        if key not in newest or trade.trade_id > newest[key].trade_id:
            newest[key] = trade
    for (symbol, close_ms), trade in sorted(newest.items()):
        row = {"exchange": EXCHANGE, "symbol": symbol, "timestamp": to_datetime(close_ms)}
        connection.execute(
            _UPSERT, {**row, "trade_id": trade.trade_id, "traded_at": to_datetime(trade.timestamp_ms)}
        )
        connection.execute(_FORGET, {**row, "days": KEPT_DAYS})


def mark_day(connection: Connection, symbol: str, day: date) -> None:
    """In the caller's transaction: the stored trades of a UTC day are about to be removed. Of days that no
    restart looks back to nothing stays."""
    start, end = day_bounds(day)
    key = {"exchange": EXCHANGE, "symbol": symbol}
    connection.execute(_MARK_DAY, {**key, "start": start, "end": end})
    newest = connection.execute(_NEWEST, key).scalar()
    connection.execute(_FORGET, {**key, "timestamp": newest, "days": KEPT_DAYS})


def last_mark(connection: Connection, symbol: str, through_ms: int) -> StoredTrade | None:
    """The last trade of the newest minute that closed at or before `through_ms`."""
    key = {"exchange": EXCHANGE, "symbol": symbol, "through": to_datetime(through_ms)}
    row = connection.execute(_LAST, key).first()
    return None if row is None else StoredTrade(row.trade_id, to_ms(row.traded_at))
