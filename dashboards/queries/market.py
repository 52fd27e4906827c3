"""Candles as exact rows for the API, and which symbols there are."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from dashboards.queries.spans import ALL_TIME, Span, within
from pipelines.warehouse.sql import EXCHANGE
from pipelines.warehouse.tables import market_data, raw_trades

PRICES = ("open", "high", "low", "close", "volume")


def candle_rows(
    engine: Engine,
    symbol: str,
    timeframe: str,
    limit: int,
    start: datetime | None = None,
    end: datetime | None = None,
    before: datetime | None = None,
) -> list[dict[str, Any]]:
    """Newest `limit` candles with start <= close time <= end and close time < before, oldest first,
    prices exact."""
    columns = market_data.c
    query = sa.select(
        columns.timestamp,
        *(columns[name] for name in PRICES),
        columns.trades_count,
        columns.source,
        columns.revision,
        columns.provisional,
    ).where(columns.exchange == EXCHANGE, columns.symbol == symbol, columns.timeframe == timeframe)
    if start is not None:
        query = query.where(columns.timestamp >= start)
    if end is not None:
        query = query.where(columns.timestamp <= end)
    if before is not None:
        query = query.where(columns.timestamp < before)
    query = query.order_by(columns.timestamp.desc()).limit(limit)
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    return rows[::-1]


def symbols(engine: Engine) -> list[str]:
    """Symbols with candles, by name (one index probe a symbol)."""
    query = sa.text("""
        with recursive s as (
            (select symbol from market_data where exchange = :exchange order by symbol limit 1)
            union all
            select (select m.symbol from market_data m where m.exchange = :exchange and m.symbol > s.symbol
                    order by m.symbol limit 1) from s where s.symbol is not null)
        select symbol from s where symbol is not null""").bindparams(exchange=EXCHANGE)
    with engine.connect() as connection:
        return [row.symbol for row in connection.execute(query)]


def ends(
    engine: Engine, symbol: str, timeframe: str, exchange: str | None = None
) -> tuple[datetime, datetime] | None:
    """Close times of the first and the last stored candle, two probes of the key; None without candles.
    exchange: None is the one in force."""
    columns = market_data.c
    query = sa.select(
        sa.func.min(columns.timestamp).label("first"), sa.func.max(columns.timestamp).label("last")
    ).where(
        columns.exchange == (exchange or EXCHANGE), columns.symbol == symbol, columns.timeframe == timeframe
    )
    with engine.connect() as connection:
        row = connection.execute(query).mappings().one()
    return None if row["first"] is None else (row["first"], row["last"])


def price_at(engine: Engine, symbol: str, moment: datetime) -> float | None:
    """Close of the last 1m candle at or before a moment; None when there is none."""
    columns = market_data.c
    query = (
        sa.select(columns.close)
        .where(
            columns.exchange == EXCHANGE,
            columns.symbol == symbol,
            columns.timeframe == "1m",
            columns.timestamp <= moment,
        )
        .order_by(columns.timestamp.desc())
        .limit(1)
    )
    with engine.connect() as connection:
        value = connection.execute(query).scalar()
        return None if value is None else float(value)


def trade_rows(
    engine: Engine, symbol: str, limit: int, before: int | None = None, span: Span = ALL_TIME
) -> list[dict[str, Any]]:
    """Stored trades of a symbol, the newest id first, from before the id `before`; exact."""
    columns = raw_trades.c
    shown = ("trade_id", "timestamp", "price", "size", "side", "count", "source", "received_at")
    query = sa.select(*(columns[name] for name in shown)).where(
        columns.exchange == EXCHANGE, columns.symbol == symbol, *within(columns.timestamp, span)
    )
    if before is not None:
        query = query.where(columns.trade_id < before)
    query = query.order_by(columns.trade_id.desc()).limit(limit)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def recent_trades(engine: Engine, symbol: str, since: datetime, limit: int = 30) -> list[dict[str, Any]]:
    """The newest stored trades of a symbol, newest first; `since` keeps the search within a day or two."""
    columns = raw_trades.c
    query = (
        sa.select(columns.trade_id, columns.timestamp, columns.price, columns.size, columns.side)
        .where(columns.exchange == EXCHANGE, columns.symbol == symbol, columns.timestamp >= since)
        .order_by(columns.trade_id.desc())
        .limit(limit)
    )
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
