"""The candles of a chart, of whatever timeframes are stored: the daemon fetches 300 of each longer one,
people fetch years of minutes, an import brings one timeframe alone. Runs in a worker thread."""

from math import ceil, floor

import polars as pl
from sqlalchemy import Engine

from core.timeframes import Timeframe
from dashboards.queries.candles import COLUMNS, Spans, made_candles
from dashboards.rows import epoch_ms
from pipelines.warehouse.candles import read_candles
from pipelines.warehouse.sql import EXCHANGE

WIDEST = 4
"""Times the stretch that so many candles take: as far back as missing ones among the newest are made."""
PARTS = 20
"""Of a stretch, to see whether candles fill it: a quiet market's have holes and fill it all the same."""


def beginning(spans: Spans) -> int | None:
    """Close time of the first stored candle of all, epoch ms; None without any."""
    return min((first for first, _ in spans.values()), default=None)


def newest(spans: Spans) -> int | None:
    """Close time of the last stored candle of all, epoch ms; None without any."""
    return max((last for _, last in spans.values()), default=None)


def parts_with_candles(candles: pl.DataFrame, frame: Timeframe, start_ms: float, end_ms: float) -> int:
    """In how many of `PARTS` equal parts of a stretch there is a piece of one of these candles."""
    width = max(end_ms - start_ms, 1) / PARTS
    found: set[int] = set()
    for close_ms in candles["timestamp"].dt.epoch("ms"):
        first, behind = floor((close_ms - frame.ms - start_ms) / width), ceil((close_ms - start_ms) / width)
        found.update(range(max(first, 0), min(behind, PARTS)))
    return len(found)


def candles_between(
    engine: Engine,
    symbol: str,
    frame: Timeframe,
    start_ms: int,
    end_ms: int,
    spans: Spans,
    exchange: str = EXCHANGE,
) -> pl.DataFrame:
    """The candles that close within [start_ms, end_ms], oldest first: the stored ones of the timeframe, and
    where there are none, such as are made of the longest shorter ones. The one that is not over yet is the
    last, made of what there is of it. exchange: whose candles; spans: of the same."""
    start, end = max(start_ms, beginning(spans) or 0), min(end_ms, _last_label(spans, frame))
    own = read_candles(engine, symbol, frame.value, start, max(start, end), exchange=exchange)
    labels = range(_label(start, frame), end + 1, frame.ms)
    return _completed(engine, symbol, frame, own.select(COLUMNS), labels, spans, exchange)


def newest_candles(engine: Engine, symbol: str, frame: Timeframe, count: int, spans: Spans) -> pl.DataFrame:
    """The newest candles, at least `count` where so many are stored, as `candles_between` has them."""
    own = read_candles(engine, symbol, frame.value, limit=count).select(COLUMNS)
    end = _last_label(spans, frame)
    start = end - (count - 1) * frame.ms
    if own.height == count:  # through holes, but not for years where the timeframe was stored long ago
        start = max(epoch_ms(own["timestamp"][0]) or 0, end - WIDEST * count * frame.ms)
    start = max(start, beginning(spans) or 0)
    return _completed(engine, symbol, frame, own, range(_label(start, frame), end + 1, frame.ms), spans)


def _label(at_ms: int, frame: Timeframe) -> int:
    """Close time of the candle in which `at_ms` is, as its close if it is one."""
    return -(-at_ms // frame.ms) * frame.ms


def _last_label(spans: Spans, frame: Timeframe) -> int:
    return _label(newest(spans) or 0, frame)


def _completed(
    engine: Engine,
    symbol: str,
    frame: Timeframe,
    own: pl.DataFrame,
    labels: range,
    spans: Spans,
    exchange: str = EXCHANGE,
) -> pl.DataFrame:
    """Own candles, and for each label without one the one that the most is stored of."""
    stored = set(own["timestamp"].dt.epoch("ms"))
    missing = [label for label in labels if label not in stored]
    made = []
    for source in reversed(Timeframe):
        if source.ms >= frame.ms or source not in spans or not missing:
            continue
        first, last = spans[source]
        within = [label for label in missing if first <= label and label - frame.ms < last]
        if not within:
            continue
        found = made_candles(engine, symbol, frame, source, within, exchange)
        made.append(found)
        whole = set(found.filter(pl.col("covered") >= frame.ms)["timestamp"].dt.epoch("ms"))
        missing = [label for label in missing if label not in whole]
    if not made:
        return own
    best = pl.concat(made).sort("covered", descending=True, maintain_order=True)
    best = best.unique("timestamp", keep="first", maintain_order=True)
    return pl.concat([own, best.select(COLUMNS)]).sort("timestamp")
