"""What may leave PostgreSQL when it is old: holds, snapshots between the hours, events. Each call is one
transaction; a repeat finds nothing more."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, text

from pipelines.warehouse.inventory import table_states
from pipelines.warehouse.sql import to_ms

WINDOW = timedelta(days=31)

_EXCHANGE_TIME = text("SELECT max(exchange_time) FROM heartbeats")
_BOTS = text("SELECT id FROM bots ORDER BY id")
_FIRST = {
    name: text(
        f"SELECT min(timestamp) FROM {name} WHERE bot_id = :bot_id AND timestamp <= :until"  # noqa: S608 - below
    )
    for name in ("signals", "bot_performance")
}
# Buys and sells stay for ever, and so does any signal that an order or a fill is of.
_HOLDS = text("""
    DELETE FROM signals AS s
    WHERE bot_id = :bot_id AND timestamp > :after AND timestamp <= :until AND signal_type = 'hold'
      AND NOT EXISTS (SELECT 1 FROM orders WHERE signal_id = s.id)
      AND NOT EXISTS (SELECT 1 FROM trades WHERE signal_id = s.id)
""")
# Beside the last of each hour stay its highest and lowest, the one that is deepest below the peak so far, and
# that peak: a restarted bot reads its peak from them, and the deepest drawdown of its life is that of all its
# snapshots. Its first stays because its life is counted from there. What closes on the hour belongs to the
# hour before.
_SNAPSHOTS = text("""
    WITH life AS (
        SELECT (SELECT min(timestamp) FROM bot_performance WHERE bot_id = :bot_id) AS first_at,
               greatest(b.virtual_balance, (
                   SELECT max(total_value) FROM bot_performance
                   WHERE bot_id = :bot_id AND timestamp <= :after
               )) AS peak
        FROM bots AS b WHERE b.id = :bot_id
    ), old AS (
        SELECT timestamp, total_value, date_trunc('hour', timestamp - interval '1 microsecond') AS hour,
               greatest(life.peak, max(total_value) OVER (ORDER BY timestamp)) AS peak
        FROM bot_performance CROSS JOIN life
        WHERE bot_id = :bot_id AND timestamp > :after AND timestamp <= :until
    ), depths AS (
        SELECT *, first_value(peak) OVER (PARTITION BY hour ORDER BY total_value / peak, timestamp)
                  AS fell_from
        FROM old
    ), ranked AS (
        SELECT timestamp, total_value = fell_from AS is_peak,
               row_number() OVER (PARTITION BY hour ORDER BY timestamp DESC) AS last,
               row_number() OVER (PARTITION BY hour ORDER BY total_value DESC, timestamp) AS highest,
               row_number() OVER (PARTITION BY hour ORDER BY total_value, timestamp) AS lowest,
               row_number() OVER (PARTITION BY hour ORDER BY total_value / peak, timestamp) AS deepest,
               row_number() OVER (PARTITION BY hour, total_value = fell_from ORDER BY timestamp) AS reached
        FROM depths
    )
    DELETE FROM bot_performance AS p USING ranked, life
    WHERE p.bot_id = :bot_id AND p.timestamp = ranked.timestamp AND p.timestamp > life.first_at
      AND least(ranked.last, ranked.highest, ranked.lowest, ranked.deepest) > 1
      AND NOT (ranked.is_peak AND ranked.reached = 1)
""")
_EVENTS = (
    text("DELETE FROM system_events WHERE timestamp < :before"),
    text("DELETE FROM connection_quality WHERE minute < :before"),
    text("DELETE FROM heartbeats WHERE timestamp < :before"),
)
_ROWS_OF_DAY = text("""
    SELECT count(*) FROM raw_trades
    WHERE exchange = :exchange AND symbol = :symbol AND timestamp >= :start AND timestamp < :end
""")


def newest_ms(engine: Engine, wall_ms: int) -> int | None:
    """Time of the newest stored trade or candle, ms: the present of the exchange's clock, as stored; None
    when nothing is. A stored row may be of the future: what is returned is never later than `present_ms`."""
    states = table_states(engine, ("market_data", "raw_trades"))
    newest = max((state.newest_ms for state in states if state.newest_ms is not None), default=None)
    return None if newest is None else min(newest, present_ms(engine, wall_ms))


def present_ms(engine: Engine, wall_ms: int) -> int:
    """The wall clock `wall_ms` or, where that runs ahead, the exchange's clock as a process saw it last, ms:
    what is later did not happen yet."""
    with engine.connect() as connection:
        seen = connection.execute(_EXCHANGE_TIME).scalar()
    return max(wall_ms, 0 if seen is None else to_ms(seen))


def bot_ids(connection: Connection) -> list[int]:
    """Of all bots."""
    return [row.id for row in connection.execute(_BOTS)]


def windows(
    connection: Connection, table: str, bot_id: int, until: datetime
) -> list[tuple[datetime, datetime]]:
    """(after, until] stretches of a month that hold what the bot has in `table` through `until`; each ends
    on the hour, as `until` must."""
    first = connection.execute(_FIRST[table], {"bot_id": bot_id, "until": until}).scalar()
    if first is None:
        return []
    found, after = [], first.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    while after < until:
        found.append((after, min(after + WINDOW, until)))
        after += WINDOW
    return found


def thin_signals(connection: Connection, bot_id: int, after: datetime, until: datetime) -> int:
    """Remove a bot's holds of a stretch; returns how many."""
    return connection.execute(_HOLDS, {"bot_id": bot_id, "after": after, "until": until}).rowcount


def thin_snapshots(connection: Connection, bot_id: int, after: datetime, until: datetime) -> int:
    """Leave of each hour the last, the highest and the lowest snapshot and the deepest drawdown with its
    peak, and the bot's first; returns how many went."""
    return connection.execute(_SNAPSHOTS, {"bot_id": bot_id, "after": after, "until": until}).rowcount


def drop_events(connection: Connection, before: datetime) -> int:
    """Remove events, connection quality and heartbeats of before (wall clock); returns how many."""
    return sum(connection.execute(statement, {"before": before}).rowcount for statement in _EVENTS)


def rows_of_day(connection: Connection, exchange: str, symbol: str, start: datetime, end: datetime) -> int:
    """How many raw trades of a symbol are stored from `start` until `end`."""
    key = {"exchange": exchange, "symbol": symbol, "start": start, "end": end}
    return int(connection.execute(_ROWS_OF_DAY, key).scalar_one())
