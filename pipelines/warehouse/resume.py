"""What a collector needs to go on where the last one stopped: exact candles, trades, and the point itself."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, text

from core.candles import Candle
from core.timeframes import Timeframe
from core.trades import Side, Trade
from pipelines.warehouse.sql import EXCHANGE, to_datetime, to_ms
from pipelines.warehouse.trade_marks import last_mark
from pipelines.warehouse.trades import StoredTrade, last_trade_ids

DAY_MS = 86_400_000


class ResumePoint(msgspec.Struct, frozen=True):
    """Where to go on.

    last: newest stored trade
    start_ms: minute boundary; minutes from here on are rebuilt from trades
    anchor: newest stored trade before `start_ms`, if any; the sequence must be unbroken from it on
    """

    last: StoredTrade
    start_ms: int
    anchor: StoredTrade | None


def resume_point(connection: Connection, symbol: str) -> ResumePoint | None:
    """Where collecting `symbol` goes on; None when nothing is known of its trades.

    That is the close of the newest minute built from trades, or the open of the oldest one of the day before
    that was released with a hole (provisional): it may be completed now. Of a symbol whose raw trades are
    not kept the last one before that point is known all the same; those after it are to be asked for.
    """
    last = last_trade_ids(connection, [symbol]).get(symbol)
    start_ms = _start_ms(connection, symbol, last)
    if start_ms is None:
        return None
    mark = last_mark(connection, symbol, start_ms)
    if mark is not None and (last is None or mark.trade_id > last.trade_id):
        return ResumePoint(mark, start_ms, mark)
    if last is None:
        return None
    anchor = _last_before(connection, symbol, start_ms)
    if mark is not None and (anchor is None or mark.trade_id > anchor.trade_id):
        anchor = mark
    if anchor is None and last.timestamp_ms < start_ms:
        anchor = last  # nothing was traded for more than a day
    return ResumePoint(last, start_ms, anchor)


def _start_ms(connection: Connection, symbol: str, last: StoredTrade | None) -> int | None:
    key = {"exchange": EXCHANGE, "symbol": symbol}
    newest = connection.execute(
        text(
            "SELECT timestamp FROM market_data WHERE exchange = :exchange AND symbol = :symbol "
            "AND timeframe = '1m' AND source <> 'exchange' ORDER BY timestamp DESC LIMIT 1"
        ),
        key,
    ).scalar()
    if newest is None:
        return None if last is None else Timeframe.M1.open_ms(last.timestamp_ms)
    start_ms = to_ms(newest)
    provisional = connection.execute(
        text(
            "SELECT min(timestamp) FROM market_data WHERE exchange = :exchange AND symbol = :symbol "
            "AND timeframe = '1m' AND provisional AND timestamp > :since"
        ),
        {**key, "since": to_datetime(start_ms - DAY_MS)},
    ).scalar()
    return start_ms if provisional is None else min(start_ms, to_ms(provisional) - Timeframe.M1.ms)


def _last_before(connection: Connection, symbol: str, start_ms: int) -> StoredTrade | None:
    row = connection.execute(
        text(
            "SELECT trade_id, timestamp FROM raw_trades WHERE exchange = :exchange AND symbol = :symbol "
            "AND timestamp < :start AND timestamp >= :day_before ORDER BY trade_id DESC LIMIT 1"
        ),
        {
            "exchange": EXCHANGE,
            "symbol": symbol,
            "start": to_datetime(start_ms),
            "day_before": to_datetime(start_ms - DAY_MS),
        },
    ).first()
    return None if row is None else StoredTrade(row.trade_id, to_ms(row.timestamp))


def trades_since(connection: Connection, symbol: str, since_ms: int) -> list[Trade]:
    """Stored trades from `since_ms` on, in the order of their ids."""
    rows = connection.execute(
        text(
            "SELECT trade_id, timestamp, price, size, side, count AS matches, source FROM raw_trades "
            "WHERE exchange = :exchange AND symbol = :symbol AND timestamp >= :since ORDER BY trade_id"
        ),
        {"exchange": EXCHANGE, "symbol": symbol, "since": to_datetime(since_ms)},
    )
    return [_trade(symbol, row) for row in rows]


def collected_trades(connection: Connection, symbol: str, minutes: Sequence[int]) -> dict[int, list[Trade]]:
    """Stored trades of the minutes with these close times, in the order of their ids, by close time.

    Left out are minutes without any, and those with none built from trades in the day before them: from
    before the first one trades are stored by chance only.
    """
    rows = connection.execute(
        text(
            "SELECT close_ms, t.* FROM unnest(cast(:minutes AS bigint[])) AS m (close_ms) "
            "CROSS JOIN LATERAL ("
            "  SELECT trade_id, timestamp, price, size, side, count AS matches, source FROM raw_trades"
            "  WHERE exchange = :exchange AND symbol = :symbol"
            "    AND timestamp >= to_timestamp((close_ms - 60000) / 1000.0)"
            "    AND timestamp < to_timestamp(close_ms / 1000.0)) AS t "
            "WHERE EXISTS ("
            "  SELECT 1 FROM market_data WHERE exchange = :exchange AND symbol = :symbol"
            "    AND timeframe = '1m' AND source <> 'exchange'"
            "    AND timestamp < to_timestamp(close_ms / 1000.0)"
            "    AND timestamp >= to_timestamp(close_ms / 1000.0) - interval '1 day') "
            "ORDER BY close_ms, trade_id"
        ),
        {"exchange": EXCHANGE, "symbol": symbol, "minutes": list(minutes)},
    )
    found: dict[int, list[Trade]] = {}
    for row in rows:
        found.setdefault(row.close_ms, []).append(_trade(symbol, row))
    return found


def _trade(symbol: str, row: Row[Any]) -> Trade:
    return Trade(
        symbol,
        row.trade_id,
        to_ms(row.timestamp),
        row.price,
        row.size,
        Side(row.side),
        row.matches,
        row.source,
    )


def exact_candles(
    connection: Connection, symbol: str, timeframe: Timeframe, after_ms: int, through_ms: int
) -> list[Candle]:
    """Stored candles with a close time in (after_ms, through_ms], oldest first, to the last digit."""
    rows = connection.execute(
        text(
            "SELECT timestamp, open, high, low, close, volume, trades_count, source, revision, provisional "
            "FROM market_data WHERE exchange = :exchange AND symbol = :symbol AND timeframe = :timeframe "
            "AND timestamp > :after AND timestamp <= :through ORDER BY timestamp"
        ),
        {
            "exchange": EXCHANGE,
            "symbol": symbol,
            "timeframe": timeframe.value,
            "after": to_datetime(after_ms),
            "through": to_datetime(through_ms),
        },
    )
    return [
        Candle(
            symbol=symbol,
            timeframe=timeframe,
            close_ms=to_ms(row.timestamp),
            open=row.open,
            high=row.high,
            low=row.low,
            close=row.close,
            volume=row.volume,
            trades_count=row.trades_count,
            source=row.source,
            revision=row.revision,
            provisional=row.provisional,
        )
        for row in rows
    ]


def newest_candle_ms(connection: Connection, symbol: str, timeframe: Timeframe) -> int | None:
    """Close time in ms of the newest stored candle of a series."""
    newest = connection.execute(
        text(
            "SELECT timestamp FROM market_data WHERE exchange = :exchange AND symbol = :symbol "
            "AND timeframe = :timeframe ORDER BY timestamp DESC LIMIT 1"
        ),
        {"exchange": EXCHANGE, "symbol": symbol, "timeframe": timeframe.value},
    ).scalar()
    return None if newest is None else to_ms(newest)
