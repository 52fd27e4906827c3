"""How far back candles are stored, and longer candles made of shorter ones: floats, for charts alone."""

from collections.abc import Mapping, Sequence

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Engine

from core.timeframes import Timeframe
from pipelines.warehouse.sql import EXCHANGE, to_datetime, to_ms

Spans = Mapping[Timeframe, tuple[int, int]]
"""Close times of the first and the last stored candle, epoch ms, of each timeframe that has any."""

COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")

_SPANS = sa.text("""
select frame, extract(epoch from first)::bigint * 1000 as first,
       extract(epoch from last)::bigint * 1000 as last
from unnest(cast(:frames as text[])) as frame, lateral (
    select (select timestamp from market_data
            where exchange = :exchange and symbol = :symbol and timeframe = frame
            order by timestamp limit 1) as first,
           (select timestamp from market_data
            where exchange = :exchange and symbol = :symbol and timeframe = frame
            order by timestamp desc limit 1) as last) as ends
where first is not null
""").bindparams(frames=list(Timeframe))

# A range of the index a candle: to group two years of minutes takes half as long again, to sort them thrice.
_MADE = """
select label as timestamp, first.open::float8, whole.high::float8, whole.low::float8, last.close::float8,
       whole.volume::float8, whole.covered
from unnest(cast(:labels as timestamptz[])) as label,
    lateral (select max(high) as high, min(low) as low, sum(volume) as volume,
                    count(*) * :source_ms as covered
             from market_data where {inside}) as whole,
    lateral (select open from market_data where {inside} order by timestamp limit 1) as first,
    lateral (select close from market_data where {inside} order by timestamp desc limit 1) as last
"""
_INSIDE = """exchange = :exchange and symbol = :symbol and timeframe = :source
    and timestamp > label - make_interval(secs => :seconds) and timestamp <= label"""
_MAKE = sa.text(_MADE.format(inside=_INSIDE))


def spans(engine: Engine, symbol: str, exchange: str = EXCHANGE) -> Spans:
    """From when to when each timeframe of a symbol is stored (two index probes each); exchange: whose
    candles, here and below those of the one in force if it is not told."""
    with engine.connect() as connection:
        rows = connection.execute(_SPANS, {"symbol": symbol, "exchange": exchange}).all()
    return {Timeframe(row.frame): (row.first, row.last) for row in rows}


def made_candles(
    engine: Engine,
    symbol: str,
    frame: Timeframe,
    source: Timeframe,
    labels_ms: Sequence[int],
    exchange: str = EXCHANGE,
) -> pl.DataFrame:
    """The candles of `frame` that close at these times, of the stored ones of `source`; without those that
    have none. `covered`: how many ms of each are stored."""
    asked = {
        "exchange": exchange,
        "symbol": symbol,
        "source": source.value,
        "source_ms": source.ms,
        "seconds": frame.ms // 1000,
        "labels": [to_datetime(label) for label in labels_ms],
    }
    with engine.connect() as connection:
        rows = connection.execute(_MAKE, asked).all()
    schema = {"timestamp": pl.Int64, **dict.fromkeys(COLUMNS[1:], pl.Float64), "covered": pl.Int64}
    found = pl.DataFrame([(to_ms(row[0]), *row[1:]) for row in rows], schema=schema, orient="row")
    time = pl.from_epoch("timestamp", "ms").dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    return found.with_columns(time)
