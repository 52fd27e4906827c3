"""How whole the stored data is: candles by day, what is final, what the lake holds. Every read is bounded in
time and goes by the key (exchange, symbol, timeframe, time)."""

from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from pipelines.warehouse.sql import EXCHANGE

# Counted inside: a join with the days would be planned as one walk through all candles.
_COVERAGE = sa.text("""
select s.symbol, d.day::date as day, m.candles, m.provisional
from unnest(cast(:symbols as text[])) as s(symbol)
cross join generate_series(cast(:first as timestamp), cast(:last as timestamp), interval '1 day') as d(day)
cross join lateral (
    select count(*) as candles, count(*) filter (where provisional) as provisional from market_data
    where exchange = :exchange and symbol = s.symbol and timeframe = '1m'
      and timestamp > d.day at time zone 'UTC' and timestamp <= (d.day + interval '1 day') at time zone 'UTC'
) m
order by 1, 2
""").bindparams(exchange=EXCHANGE)
_LAKE = sa.text("""
select symbol, date as day, dataset, sum(rows) as rows, sum(bytes) as bytes from lake_files
where exchange = :exchange and date between :first and :last group by 1, 2, 3
""").bindparams(exchange=EXCHANGE)
_FINALITY = sa.text("""
select symbol, count(*) as candles, count(*) filter (where provisional) as provisional,
       count(*) filter (where source = 'synthetic') as synthetic,
       count(*) filter (where revision > 0) as revised
from market_data
where exchange = :exchange and symbol = any(cast(:symbols as text[])) and timeframe = '1m'
  and timestamp > :since and timestamp <= :until
group by 1 order by 1
""").bindparams(exchange=EXCHANGE)


def coverage(engine: Engine, symbols: list[str], first: date, last: date) -> list[dict[str, Any]]:
    """1m candles stored of each symbol and UTC day: `symbol`, `day`, `candles` and `provisional` of them."""
    return _read(engine, _COVERAGE, symbols=symbols, first=first, last=last)


def archived(engine: Engine, first: date, last: date) -> list[dict[str, Any]]:
    """What the lake holds of each symbol and UTC day: `symbol`, `day`, `dataset`, `rows`, `bytes`."""
    return _read(engine, _LAKE, first=first, last=last)


def finality(engine: Engine, symbols: list[str], since: datetime, until: datetime) -> list[dict[str, Any]]:
    """Of each symbol's 1m candles that closed after `since`, until `until`: how many, and of them
    `provisional` (trades are missing), `synthetic` (a minute without trades) and `revised` (issued again with
    other numbers)."""
    return _read(engine, _FINALITY, symbols=symbols, since=since, until=until)


def _read(engine: Engine, query: sa.TextClause, **values: Any) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query, values).mappings()]
