"""Bots as the pages and the API show them: one row a bot, with what it holds and what it made."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from dashboards.queries.spans import ALL_TIME, Span, within
from pipelines.warehouse.sql import EXCHANGE
from pipelines.warehouse.tables import (
    bot_crashes,
    bot_performance,
    bots,
    instruments,
    positions,
    signals,
    trades,
)

_OVERVIEW = sa.text("""
select b.id, b.name, b.strategy_name, b.symbol, b.timeframe, b.status, b.state, b.config_file,
       b.virtual_balance, b.current_balance, b.last_heartbeat, b.restarts, b.last_error, b.pid, b.config,
       b.deleted_at,
       p.cash, p.quantity, p.cost, p.realised_pnl, p.fees,
       coalesce(p.total_trades, 0) as total_trades, coalesce(p.winning_trades, 0) as winning_trades,
       coalesce(p.fills, 0) as fills,
       coalesce(day.total_value, b.virtual_balance) as day_start_value,
       s.timestamp as signal_time, s.signal_type, s.price as signal_price, s.confidence,
       p.risk->>'halted' as halted, v.timestamp as veto_time, v.reason as veto_reason,
       exists (select from controls where name in ('kill_switch', 'kill_switch:' || b.id)
               and (value->>'on')::boolean) as kill_switch,
       i.tick_size, i.lot_size, i.base, i.quote
from bots b
left join positions p on p.bot_id = b.id
left join instruments i on i.exchange = :exchange and i.symbol = b.symbol
left join lateral (
    select total_value from bot_performance
    where bot_id = b.id and timestamp <= :day_start order by timestamp desc limit 1) day on true
left join lateral (
    select timestamp, signal_type, price, confidence from signals
    where bot_id = b.id and signal_type <> 'hold' order by timestamp desc limit 1) s on true
left join lateral (
    select timestamp, reason from orders
    where bot_id = b.id and status = 'rejected' order by timestamp desc limit 1) v on true
where case when cast(:name as text) is null then :deleted or b.deleted_at is null else b.name = :name end
order by b.name
""").bindparams(exchange=EXCHANGE)


def overview(
    engine: Engine, day_start: datetime, name: str | None = None, deleted: bool = False
) -> list[dict[str, Any]]:
    """Every bot (or one), by name.

    deleted: those too that were deleted; a named one is found in any case
    day_start: beginning of the exchange's UTC day; `day_start_value` is the bot's value there, or its
        starting cash when it is younger
    fills: buys and sells; total_trades, winning_trades: closed round trips
    signal_*: the last buy or sell (holds are left out)
    kill_switch: of all bots, or the bot's own; halted: why it buys nothing until it is reset; veto_*: the
        newest order that the risk gate, or the exchange's rules, did not let through
    """
    with engine.connect() as connection:
        rows = connection.execute(_OVERVIEW, {"day_start": day_start, "name": name, "deleted": deleted})
        return [dict(row) for row in rows.mappings()]


def bot(engine: Engine, name: str) -> dict[str, Any] | None:
    """The stored row of one bot, or None."""
    with engine.connect() as connection:
        row = connection.execute(sa.select(bots).where(bots.c.name == name)).mappings().first()
        return dict(row) if row else None


def names(engine: Engine) -> list[str]:
    """Names that are taken: of every bot, the deleted ones too until they are forgotten."""
    with engine.connect() as connection:
        return list(connection.execute(sa.select(bots.c.name)).scalars())


def deleted(engine: Engine) -> list[tuple[str, datetime]]:
    """(name, when) of the bots that were deleted and not forgotten, by name."""
    query = sa.select(bots.c.name, bots.c.deleted_at).where(bots.c.deleted_at.is_not(None))
    with engine.connect() as connection:
        return [(row.name, row.deleted_at) for row in connection.execute(query.order_by(bots.c.name))]


def fills(
    engine: Engine,
    bot_id: int,
    limit: int,
    before: tuple[datetime, str] | None = None,
    side: str | None = None,
    span: Span = ALL_TIME,
) -> list[dict[str, Any]]:
    """Newest `limit` trades of a bot, newest first; `before`: (timestamp, id) of the last row seen; `side`
    keeps buys or sells, `span` those of a time."""
    return _newest(
        engine, trades, bot_id, limit, before, None if side is None else trades.c.side == side, span
    )


def signal_rows(
    engine: Engine,
    bot_id: int,
    limit: int,
    before: tuple[datetime, str] | None = None,
    signal_type: str | None = None,
    span: Span = ALL_TIME,
) -> list[dict[str, Any]]:
    """Newest signals of a bot, newest first; `signal_type` keeps one kind, `span` those of a time."""
    kept = None if signal_type is None else signals.c.signal_type == signal_type
    return _newest(engine, signals, bot_id, limit, before, kept, span)


def performance_rows(
    engine: Engine, bot_id: int, limit: int, before: datetime | None = None, span: Span = ALL_TIME
) -> list[dict[str, Any]]:
    """Newest value snapshots of a bot, newest first."""
    query = sa.select(bot_performance).where(
        bot_performance.c.bot_id == bot_id, *within(bot_performance.c.timestamp, span)
    )
    if before is not None:
        query = query.where(bot_performance.c.timestamp < before)
    query = query.order_by(bot_performance.c.timestamp.desc()).limit(limit)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def crashes(
    engine: Engine, bot_id: int, limit: int = 20, before: int | None = None, span: Span = ALL_TIME
) -> list[dict[str, Any]]:
    """Newest crashes of a bot, with stack traces; `before`: id of the last row seen."""
    query = sa.select(bot_crashes).where(
        bot_crashes.c.bot_id == bot_id, *within(bot_crashes.c.timestamp, span)
    )
    if before is not None:
        query = query.where(bot_crashes.c.id < before)
    query = query.order_by(bot_crashes.c.id.desc()).limit(limit)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def holding(engine: Engine, bot_id: int) -> dict[str, Any] | None:
    """What a bot holds, or None before its first candle."""
    with engine.connect() as connection:
        row = connection.execute(sa.select(positions).where(positions.c.bot_id == bot_id)).mappings().first()
        return dict(row) if row else None


def instrument(engine: Engine, symbol: str, exchange: str = EXCHANGE) -> dict[str, Any] | None:
    """Tick and lot size of a symbol, or None when it was never listed here."""
    query = sa.select(instruments).where(instruments.c.symbol == symbol, instruments.c.exchange == exchange)
    with engine.connect() as connection:
        row = connection.execute(query).mappings().first()
        return dict(row) if row else None


def _newest(
    engine: Engine,
    table: sa.Table,
    bot_id: int,
    limit: int,
    before: tuple[datetime, str] | None,
    kept: sa.ColumnElement[bool] | None,
    span: Span,
) -> list[dict[str, Any]]:
    query = sa.select(table).where(table.c.bot_id == bot_id, *within(table.c.timestamp, span))
    if kept is not None:
        query = query.where(kept)
    if before is not None:
        query = query.where(sa.tuple_(table.c.timestamp, table.c.id) < sa.tuple_(*map(sa.literal, before)))
    query = query.order_by(table.c.timestamp.desc(), table.c.id.desc()).limit(limit)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
