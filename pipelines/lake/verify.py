"""Does the lake hold what its manifest says, every trade once, and the trades of the stored candles?"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Literal

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection

from pipelines.exchanges.ccxt.traits import traits_of
from pipelines.lake.continuity import (
    Day,
    Hole,
    days_between,
    differing_minutes,
    hole_between,
    read_day,
    unexplained,
)
from pipelines.lake.files import RAW_TRADES, read_contents
from pipelines.lake.store import LakeStore, open_store, sha256_of
from pipelines.warehouse.archive import read_minutes_of_day
from pipelines.warehouse.database import engine
from pipelines.warehouse.gaps import unfillable_ids
from pipelines.warehouse.lake_files import LakeFile, find_files
from pipelines.warehouse.sql import EXCHANGE
from pipelines.warehouse.trade_days import stored_days

Kind = Literal["missing", "damaged", "gap", "differs", "garbage"]

UNKNOWN = "not in the manifest: `tcp data adopt` takes a day of trades in, `tcp data compact` sets it aside"


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong.

    missing: a file of the manifest is not there; damaged: it is not what the manifest says, or no day of
    trades; gap: trades that no file has, and that are not known to be lost at the exchange; differs: candles
    in Postgres that are not those of the trades; garbage: a file unknown to the manifest, which is harmless
    """

    kind: Kind
    path: str
    detail: str


class Verification(msgspec.Struct, frozen=True):
    """files: manifest rows looked at; rows: trades and candles they hold; candles: stored minutes that were
    compared with the trades."""

    files: int
    rows: int
    candles: int
    findings: list[Finding]

    @property
    def sound(self) -> bool:
        """Nothing is wrong."""
        return all(finding.kind == "garbage" for finding in self.findings)


def verify_lake(
    database_url: str, lake_url: str, symbol: str | None = None, day: date | None = None
) -> Verification:
    """Read every file of the manifest again (or those of one symbol or day): hash, rows, ids, order; then
    look at the days of each symbol side by side, and at the candles their trades make."""
    store = open_store(lake_url)
    with engine(database_url).connect() as connection:
        files = find_files(connection, symbol=symbol, day=day)
        findings, days, unreadable, empty = [], defaultdict(list), defaultdict(set), defaultdict(set)
        for file in files:
            looked_at = _look_at(store, file)
            if file.dataset == RAW_TRADES and not file.rows:
                empty[file.symbol].add(file.date)
            if isinstance(looked_at, Finding):
                findings.append(looked_at)
                unreadable[file.symbol].add(file.date)
            elif looked_at is not None:
                days[file.symbol].append(looked_at)
        compared = 0
        for name, of_symbol in days.items():
            of_symbol.sort(key=lambda each: each.file.date)
            findings += _continuity(connection, name, of_symbol, unreadable[name], empty[name])
            count, differing = _candles(connection, name, of_symbol)
            compared, findings = compared + count, findings + differing
    if symbol is None and day is None:
        known = {file.path for file in files}
        findings += [Finding("garbage", path, UNKNOWN) for path in store.paths() if path not in known]
    return Verification(len(files), sum(file.rows for file in files), compared, findings)


def _look_at(store: LakeStore, file: LakeFile) -> Finding | Day | None:
    """What is wrong with a file, or the day of trades that it is; None for sound candles and empty days."""
    with store.local(file.path) as path:
        try:
            if not path.is_file():
                return Finding("missing", file.path, f"{file.rows} rows are gone")
            digest = sha256_of(path)
            if digest != file.sha256:
                return Finding("damaged", file.path, f"sha256 is {digest}, the manifest says {file.sha256}")
            has_trades = file.dataset == RAW_TRADES and file.rows > 0
            problem = _rows_problem(file, path) or (_trades_problem(file, path) if has_trades else None)
            if problem is not None:
                return Finding("damaged", file.path, problem)
            return read_day(file, path) if has_trades and file.exchange == EXCHANGE else None
        except (pa.ArrowInvalid, OSError) as error:
            return Finding("damaged", file.path, f"cannot be read: {str(error).splitlines()[0]}")


def _rows_problem(file: LakeFile, path: Path) -> str | None:
    rows = pq.read_metadata(path).num_rows
    return None if rows == file.rows else f"holds {rows} rows, the manifest says {file.rows}"


def _trades_problem(file: LakeFile, path: Path) -> str | None:
    found = read_contents(path)
    if (found.rows, found.min_trade_id, found.max_trade_id, found.min_timestamp, found.max_timestamp) != (
        file.rows,
        file.min_trade_id,
        file.max_trade_id,
        file.min_timestamp,
        file.max_timestamp,
    ):
        return f"holds {found}, the manifest says {file}"
    if not found.ordered or found.distinct_ids != found.rows:
        return "its trades are not in order, or not each there once"
    times = (found.min_timestamp, found.max_timestamp)
    if {at.astimezone(UTC).date() for at in times} != {file.date}:
        return f"has trades of another day than {file.date}"
    return None


def _continuity(
    connection: Connection, symbol: str, days: list[Day], unreadable: set[date], empty: set[date]
) -> Iterator[Finding]:
    """Ids that are nowhere or twice, in the files of a symbol in order of their days. unreadable: days whose
    files have a finding of their own; empty: days of which it is known that they have no trade."""
    if not traits_of(EXCHANGE).consecutive_ids:
        return
    known = unfillable_ids(connection, symbol)
    elsewhere = unreadable | set(stored_days(connection, symbol))
    for day in days:
        if day.repeated:
            yield Finding("damaged", day.file.path, f"{day.repeated} trade ids are in more than one row")
        yield from (finding for hole in day.holes if (finding := _gap(day, hole, known)) is not None)
    for earlier, later in pairwise(days):
        between = days_between(earlier.file.date, later.file.date)
        lost = [day for day in between or [] if day not in elsewhere | empty]
        hole = hole_between(earlier, later)
        if hole is None or between is None or (not lost and not empty.issuperset(between)):
            continue
        if (finding := _gap(later, hole, known)) is not None:
            no_file = f"; no file of {', '.join(map(str, lost))}" if lost else ""
            yield msgspec.structs.replace(finding, detail=finding.detail + no_file)


def _gap(day: Day, hole: Hole, known: list[tuple[int, int]]) -> Finding | None:
    count = unexplained(hole, known)
    if not count:
        return None
    times = f"between {hole.after:%Y-%m-%d %H:%M:%S.%f} and {hole.before:%Y-%m-%d %H:%M:%S.%f}"
    return Finding("gap", day.file.path, f"{count} of the ids {hole.first_id} to {hole.last_id}, {times}")


def _candles(connection: Connection, symbol: str, days: list[Day]) -> tuple[int, list[Finding]]:
    compared, findings = 0, []
    by_date = {day.file.date: day for day in days}
    for at, day in by_date.items():
        before, after = (by_date.get(date.fromordinal(at.toordinal() + step)) for step in (-1, 1))
        starts = day.file.whole or (before is not None and hole_between(before, day) is None)
        ends = day.file.whole or (after is not None and hole_between(day, after) is None)
        stored = pl.from_arrow(read_minutes_of_day(connection, symbol, at))
        assert isinstance(stored, pl.DataFrame)
        differing, count = differing_minutes(day, stored, starts, ends)
        compared += count
        if differing.height:
            findings.append(Finding("differs", day.file.path, _difference(differing, count)))
    return compared, findings


def _difference(differing: pl.DataFrame, compared: int) -> str:
    first = differing.row(0, named=True)
    stored, made = (
        " ".join(_shown(first[name + end]) for name in ("open", "high", "low", "close", "volume"))
        for end in ("", "_made")
    )
    return (
        f"{differing.height} of {compared} stored minutes are not those of the trades, the first at "
        f"{first['timestamp']:%Y-%m-%d %H:%M}: stored {stored}, from trades {made}"
    )


def _shown(number: Decimal | None) -> str:
    return "none" if number is None else f"{number.normalize():f}"
