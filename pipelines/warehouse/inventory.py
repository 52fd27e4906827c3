"""What the daemon's tables hold, cheaply: their newest row and an estimate of how many there are."""

from collections.abc import Iterable

import msgspec
from sqlalchemy import DateTime, Engine, Text, bindparam, cast, func, select, text

from pipelines.warehouse.sql import to_datetime, to_ms
from pipelines.warehouse.tables import heartbeats, metadata

_TIME_COLUMNS = {
    "bots": "updated_at",
    "strategy_runs": "created_at",
    "data_gaps": "detected_at",
    "candle_differences": "detected_at",
}
"""Tables whose rows change or arrive at another time than `timestamp`."""

# The planner's estimate: a count of market_data would read all of it. Partitions and chunks are summed; what
# is noted of the table above them may be their sum, or nothing.
_ESTIMATE = text("""
    SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class
    WHERE oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = CAST(:name AS regclass))
       OR oid = CAST(:name AS regclass)
          AND NOT EXISTS (SELECT 1 FROM pg_inherits WHERE inhparent = CAST(:name AS regclass))
""")

# The newest row by the indexes there are: a probe for each series, symbol or bot instead of the whole table.
# An import may have rows of the future: they are nobody's newest.
_NEWEST = {
    "market_data": text("""
        WITH RECURSIVE series AS (
            (SELECT exchange, symbol, timeframe FROM market_data
             ORDER BY exchange, symbol, timeframe LIMIT 1)
            UNION ALL
            SELECT n.exchange, n.symbol, n.timeframe FROM series AS s CROSS JOIN LATERAL (
                SELECT exchange, symbol, timeframe FROM market_data
                WHERE (exchange, symbol, timeframe) > (s.exchange, s.symbol, s.timeframe)
                ORDER BY exchange, symbol, timeframe LIMIT 1) AS n
        )
        SELECT max((SELECT max(timestamp) FROM market_data AS m WHERE m.exchange = s.exchange
                    AND m.symbol = s.symbol AND m.timeframe = s.timeframe
                    AND m.timestamp <= CAST(:until AS timestamptz))) FROM series AS s
    """),
    "raw_trades": text("""
        WITH RECURSIVE found AS (
            (SELECT exchange, symbol FROM raw_trades ORDER BY exchange, symbol LIMIT 1)
            UNION ALL
            SELECT n.exchange, n.symbol FROM found AS f CROSS JOIN LATERAL (
                SELECT exchange, symbol FROM raw_trades WHERE (exchange, symbol) > (f.exchange, f.symbol)
                ORDER BY exchange, symbol LIMIT 1) AS n
        )
        SELECT max((SELECT timestamp FROM raw_trades AS t WHERE t.exchange = f.exchange
                    AND t.symbol = f.symbol AND t.timestamp <= CAST(:until AS timestamptz)
                    ORDER BY trade_id DESC LIMIT 1)) FROM found AS f
    """),
    **{
        name: text(
            "SELECT max((SELECT max(timestamp) "  # noqa: S608 - the names below
            f"FROM {name} AS t WHERE t.bot_id = b.id AND t.timestamp <= CAST(:until AS timestamptz)))"
            " FROM bots AS b"
        )
        for name in ("signals", "orders", "trades", "bot_performance")
    },
}


_UNTIL = cast(bindparam("until", type_=Text), DateTime(timezone=True))


class TableState(msgspec.Struct, frozen=True):
    """newest_ms: time of the newest row, None for an empty table; rows_estimate: the planner's."""

    table: str
    newest_ms: int | None
    rows_estimate: int


def table_states(engine: Engine, tables: Iterable[str], until_ms: int | None = None) -> list[TableState]:
    """The state of each table of schema public; until_ms: rows of a later time are not its newest."""
    states = []
    until = "infinity" if until_ms is None else to_datetime(until_ms).isoformat()
    with engine.connect() as connection:
        for name in tables:
            table = metadata.tables[name]
            column = _TIME_COLUMNS.get(name, "timestamp")
            newest_of = _NEWEST.get(name, select(func.max(table.c[column])).where(table.c[column] <= _UNTIL))
            newest = connection.scalar(newest_of, {"until": until})
            rows = connection.scalar(_ESTIMATE, {"name": f"public.{name}"})
            states.append(TableState(name, None if newest is None else to_ms(newest), int(rows or 0)))
    return states


def heartbeat_age_s(engine: Engine, component: str) -> float | None:
    """Seconds since the component's last heartbeat by the server's clock; None if it never had one."""
    with engine.connect() as connection:
        age = connection.scalar(
            select(func.extract("epoch", func.now() - heartbeats.c.timestamp)).where(
                heartbeats.c.component == component
            )
        )
    return None if age is None else float(age)
