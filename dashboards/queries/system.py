"""State of the platform: heartbeats, events, gaps, controls, and how fresh the candles are."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from dashboards.queries.spans import ALL_TIME, Span, within
from pipelines.warehouse.sql import EXCHANGE
from pipelines.warehouse.tables import (
    candle_differences,
    data_gaps,
    heartbeats,
    lake_files,
    reconciliations,
    system_events,
)

UNCLOSED = ("open", "refilling")
"""States of a hole that may still be filled."""
_FRESHNESS = sa.text("""
with recursive series as (
    (select symbol, timeframe from market_data where exchange = :exchange order by symbol, timeframe limit 1)
    union all
    select n.symbol, n.timeframe from series s cross join lateral (
        select symbol, timeframe from market_data
        where exchange = :exchange and (symbol, timeframe) > (s.symbol, s.timeframe)
        order by symbol, timeframe limit 1) n)
select s.symbol, s.timeframe,
       (select min(timestamp) from market_data m where m.exchange = :exchange and m.symbol = s.symbol
            and m.timeframe = s.timeframe) as first_candle,
       (select max(timestamp) from market_data m where m.exchange = :exchange and m.symbol = s.symbol
            and m.timeframe = s.timeframe) as last_candle
from series s
""").bindparams(exchange=EXCHANGE)


def components(engine: Engine) -> list[dict[str, Any]]:
    """The last heartbeat of every component, by name."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(heartbeats).order_by(heartbeats.c.component))
        return [dict(row) for row in rows.mappings()]


def events(
    engine: Engine,
    limit: int = 100,
    before_id: int | None = None,
    level: str | None = None,
    span: Span = ALL_TIME,
) -> list[dict[str, Any]]:
    """Newest system events, newest first; of a level, of a time."""
    query = sa.select(system_events).where(*within(system_events.c.timestamp, span))
    if before_id is not None:
        query = query.where(system_events.c.id < before_id)
    if level is not None:
        query = query.where(system_events.c.level == level)
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(system_events.c.id.desc()).limit(limit))
        return [dict(row) for row in rows.mappings()]


def alerts(engine: Engine, since: datetime, until: datetime) -> dict[str, int]:
    """Level → events of that time; what is only information is left out."""
    columns = system_events.c
    query = (
        sa.select(columns.level, sa.func.count().label("events"))
        .where(columns.timestamp.between(since, until), columns.level.in_(("warning", "error")))
        .group_by(columns.level)
    )
    with engine.connect() as connection:
        return {row.level: row.events for row in connection.execute(query)}


def database_load(engine: Engine) -> dict[str, int]:
    """Of this database: `bytes` on disk, `connections` open, and the `most` that the server takes."""
    query = sa.text("""
        select pg_database_size(current_database()) as bytes,
               (select count(*) from pg_stat_activity where datname = current_database()) as connections,
               current_setting('max_connections')::int as most""")
    with engine.connect() as connection:
        return dict(connection.execute(query).mappings().one())


def freshness(engine: Engine) -> list[dict[str, Any]]:
    """First and last candle of every stored symbol and timeframe (an index skip scan, fast at any size)."""
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(_FRESHNESS).mappings()]


def gaps(engine: Engine, limit: int = 200) -> list[dict[str, Any]]:
    """Newest holes in the trade sequences, open ones first."""
    columns = data_gaps.c
    kinds = (*(columns.state == state for state in UNCLOSED), columns.state.not_in(UNCLOSED))
    # Each kind by an index of its own: one order of all would read and sort all there ever were.
    newest = (
        sa.select(data_gaps)
        .where(columns.exchange == EXCHANGE, kind)
        .order_by(columns.detected_at.desc())
        .limit(limit)
        for kind in kinds
    )
    found = sa.union_all(*newest).subquery()
    query = sa.select(found).order_by(found.c.state.not_in(UNCLOSED), found.c.detected_at.desc()).limit(limit)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def trouble(engine: Engine) -> dict[str, int]:
    """How many holes there are that are `open` or `unfillable`, and candles whose `differences` are not
    settled, however old: a list of the newest says nothing of that."""
    holes, other = data_gaps.c, candle_differences.c

    def count(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
        query = sa.select(sa.func.count()).select_from(table)
        return query.where(table.c.exchange == EXCHANGE, *conditions).scalar_subquery()

    query = sa.select(
        count(data_gaps, holes.state.in_(UNCLOSED)).label("open"),
        count(data_gaps, holes.state == "unfillable").label("unfillable"),
        count(candle_differences, other.resolved_at.is_(None)).label("differences"),
    )
    with engine.connect() as connection:
        return dict(connection.execute(query).mappings().one())


def gap_rows(
    engine: Engine,
    limit: int,
    before: tuple[datetime, str, int] | None = None,
    state: str | None = None,
    span: Span = ALL_TIME,
) -> list[dict[str, Any]]:
    """Holes, the newest found first; `before`: (detected_at, symbol, first_id) of the last row seen."""
    columns = data_gaps.c
    order = (columns.detected_at, columns.symbol, columns.first_id)
    query = sa.select(data_gaps).where(columns.exchange == EXCHANGE, *within(columns.detected_at, span))
    if state is not None:
        query = query.where(columns.state == state)
    if before is not None:
        query = query.where(sa.tuple_(*order) < sa.tuple_(*map(sa.literal, before)))
    query = query.order_by(*(column.desc() for column in order)).limit(limit)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def lake_rows(
    engine: Engine,
    limit: int,
    after: str | None = None,
    symbol: str | None = None,
    span: Span = ALL_TIME,
) -> list[dict[str, Any]]:
    """Rows of the lake's manifest by path, from behind the path `after`; `span` keeps files with rows of that
    time."""
    first, last = span
    query = sa.select(lake_files).where(
        lake_files.c.exchange == EXCHANGE,
        *([] if first is None else [lake_files.c.max_timestamp >= first]),
        *([] if last is None else [lake_files.c.min_timestamp <= last]),
    )
    if after is not None:
        query = query.where(lake_files.c.path > after)
    if symbol is not None:
        query = query.where(lake_files.c.symbol == symbol)
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(lake_files.c.path).limit(limit))
        return [dict(row) for row in rows.mappings()]


def differences(
    engine: Engine,
    limit: int,
    before: tuple[datetime, str, str] | None = None,
    only_open: bool = False,
    span: Span = ALL_TIME,
) -> list[dict[str, Any]]:
    """Candles that were not the exchange's, the newest candle first; `before`: (timestamp, symbol, timeframe)
    of the last row seen."""
    columns = candle_differences.c
    order = (columns.timestamp, columns.symbol, columns.timeframe)
    query = sa.select(candle_differences).where(
        columns.exchange == EXCHANGE, *within(columns.timestamp, span)
    )
    if only_open:
        query = query.where(columns.resolved_at.is_(None))
    if before is not None:
        query = query.where(sa.tuple_(*order) < sa.tuple_(*map(sa.literal, before)))
    query = query.order_by(*(column.desc() for column in order)).limit(limit)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def reconciled(engine: Engine) -> list[dict[str, Any]]:
    """How far the candles of each symbol were compared with the exchange's, and how many differed."""
    columns = reconciliations.c
    query = sa.select(reconciliations).where(columns.exchange == EXCHANGE)
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(columns.symbol, columns.kind))
        return [dict(row) for row in rows.mappings()]


def lake_summary(engine: Engine) -> list[dict[str, Any]]:
    """Files, rows and bytes of the lake by dataset and symbol."""
    columns = lake_files.c
    query = (
        sa.select(
            columns.dataset,
            columns.symbol,
            sa.func.count().label("files"),
            sa.func.sum(columns.rows).label("rows"),
            sa.func.sum(columns.bytes).label("bytes"),
            sa.func.min(columns.date).label("first_date"),
            sa.func.max(columns.date).label("last_date"),
        )
        .where(columns.exchange == EXCHANGE)
        .group_by(columns.dataset, columns.symbol)
        .order_by(columns.dataset, columns.symbol)
    )
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
