"""Is every match of the archived days there once, and do the days make the candles that are stored?"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from core.timeframes import Timeframe
from pipelines.lake.aggregate import candles_of_trades
from pipelines.warehouse.lake_files import LakeFile

LONGEST_GAP_DAYS = 31
"""Days further apart are of two stretches that somebody fetched, and nothing is missing between them."""

_MINUTE = timedelta(minutes=1)
_NUMBERS = ("open", "high", "low", "close", "volume")


class Hole(NamedTuple):
    """Ids that no row covers, and the times of the rows on both sides."""

    first_id: int
    last_id: int
    after: datetime
    before: datetime


class Day(NamedTuple):
    """What of a file of trades is kept to look at it beside others.

    repeated: ids that more than one row covers; minutes: its candles, see `candles_of_trades`
    """

    file: LakeFile
    first_id: int
    last_id: int
    holes: list[Hole]
    repeated: int
    minutes: pl.DataFrame


def read_day(file: LakeFile, path: Path) -> Day:
    """Look through the trades of a file, which is at `path`."""
    table = pq.read_table(path, columns=["trade_id", "timestamp", "count"], partitioning=None)
    ids = table["trade_id"].to_numpy()
    order = np.argsort(ids, kind="stable")
    last = ids[order]
    first = last - table["count"].to_numpy()[order] + 1
    times = table["timestamp"]
    gaps = np.flatnonzero(first[1:] > last[:-1] + 1)
    holes = [
        Hole(
            int(last[at]) + 1,
            int(first[at + 1]) - 1,
            times[int(order[at])].as_py(),
            times[int(order[at + 1])].as_py(),
        )
        for at in gaps
    ]
    repeated = int(np.maximum(last[:-1] - first[1:] + 1, 0).sum())
    minutes = candles_of_trades([path], Timeframe.M1)
    return Day(file, int(first[0]), int(last[-1]), holes, repeated, minutes)


def hole_between(earlier: Day, later: Day) -> Hole | None:
    """The ids between two days that neither has."""
    if later.first_id <= earlier.last_id + 1:
        return None
    times = earlier.file.max_timestamp, later.file.min_timestamp
    return Hole(earlier.last_id + 1, later.first_id - 1, *times)


def unexplained(hole: Hole, known: Sequence[tuple[int, int]]) -> int:
    """How many ids of a hole no stretch (first id, last id) of `known` covers."""
    left = [(hole.first_id, hole.last_id)]
    for first, last in known:
        left = [
            part
            for start, end in left
            for part in ((start, min(end, first - 1)), (max(start, last + 1), end))
            if part[0] <= part[1]
        ]
    return sum(end - start + 1 for start, end in left)


def days_between(earlier: date, later: date) -> list[date] | None:
    """The days between those of two files; None where they are more than `LONGEST_GAP_DAYS` apart."""
    apart = (later - earlier).days
    return None if apart > LONGEST_GAP_DAYS else [earlier + timedelta(days=n) for n in range(1, apart)]


def differing_minutes(
    day: Day, candles: pl.DataFrame, starts_whole: bool, ends_whole: bool
) -> tuple[pl.DataFrame, int]:
    """Minutes of a day whose stored candle is another one than its trades make, and how many were compared.

    candles: timestamp and numbers as stored, decimals; starts_whole, ends_whole: no trade is missing before
    the file's first and after its last one. Minutes that lack trades are not compared.
    """
    unsure = {at for hole in day.holes for at in _minutes_of(hole.after, hole.before)}
    begin, end = day.file.min_timestamp, day.file.max_timestamp
    seen = pl.col("timestamp").is_in(list(unsure)).not_()
    if not starts_whole:
        seen &= pl.col("timestamp") > _label(begin)
    if not ends_whole:
        seen &= pl.col("timestamp") < _label(end)
    both = candles.join(day.minutes, on="timestamp", how="left", suffix="_made").filter(seen)
    is_other = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_made")) for name in _NUMBERS)
    # A minute without trades has no candle of its own here; the stored one is flat then.
    is_empty = (pl.col("volume") == 0) & pl.col("volume_made").is_null()
    return both.filter(is_other & ~is_empty).sort("timestamp"), both.height


def _label(at: datetime) -> datetime:
    """Close time of the minute that holds an instant."""
    return at.replace(second=0, microsecond=0) + _MINUTE


def _minutes_of(first: datetime, last: datetime) -> list[datetime]:
    begin = _label(first)
    return [begin + number * _MINUTE for number in range((_label(last) - begin) // _MINUTE + 1)]
