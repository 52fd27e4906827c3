"""What the daemon's tables hold, cheaply: their newest row and an estimate of how many there are."""

from collections.abc import Iterable

import msgspec
from sqlalchemy import Engine, func, select, text

from pipelines.warehouse.sql import to_ms
from pipelines.warehouse.tables import heartbeats, metadata

_TIME_COLUMNS = {"bots": "updated_at", "strategy_runs": "created_at"}
"""Tables whose rows change or arrive at another time than `timestamp`."""

# The planner's estimate, partitions summed: a count of market_data would read all of it.
_ESTIMATES = text("""
    SELECT coalesce(sum(greatest(leaf.reltuples, 0)), 0)::bigint
    FROM pg_partition_tree(CAST(:name AS regclass)) AS tree
    JOIN pg_class AS leaf ON leaf.oid = tree.relid
    WHERE tree.isleaf
""")
_ESTIMATE = text("SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = CAST(:name AS regclass)")


class TableState(msgspec.Struct, frozen=True):
    """newest_ms: time of the newest row, None for an empty table; rows_estimate: the planner's."""

    table: str
    newest_ms: int | None
    rows_estimate: int


def table_states(engine: Engine, tables: Iterable[str]) -> list[TableState]:
    """The state of each table of schema public."""
    states = []
    with engine.connect() as connection:
        for name in tables:
            table = metadata.tables[name]
            newest = connection.scalar(select(func.max(table.c[_TIME_COLUMNS.get(name, "timestamp")])))
            partitioned = table.dialect_options["postgresql"]["partition_by"] is not None
            rows = connection.scalar(_ESTIMATES if partitioned else _ESTIMATE, {"name": f"public.{name}"})
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
