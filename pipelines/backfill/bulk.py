"""Trades of the exchange's history by its bulk files: UTC+8 days, cut to UTC days, into the lake."""

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta
from enum import Enum
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import BadInput
from pipelines.backfill.report import OnProgress, Progress
from pipelines.exchanges.base import ExchangeRest
from pipelines.exchanges.okx.bulk import BulkDownloads, day_start_ms, file_name, may_exist, must_exist
from pipelines.exchanges.okx.bulk_rows import DamagedFile, read_bulk_file
from pipelines.lake.bulk import bulk_trades, store_day, whole_days
from pipelines.lake.store import LakeStore, disk_errors, open_store, sha256_of
from pipelines.warehouse.lake_files import LakeFile
from pipelines.warehouse.sql import to_datetime, to_ms

DAY_MS = 86_400_000
AHEAD = 2
"""Files that are fetched while a day is cut and written."""
READINGS = 2
"""A file that is damaged is fetched once more before it is set aside."""


class BulkReport(msgspec.Struct, frozen=True):
    """A backfill of the UTC days that touch [requested_start_ms, end_ms).

    rows, bytes: of the files written; written, already: days of the lake, new and whole before
    pending: days whose files the exchange does not have yet; missing: days of which it has no file, or only
        half of the day (that half is stored)
    damaged: files that could not be read, as they are called in the quarantine
    missing_ids: trade ids between the first and the last of the days written that are in no file
    """

    symbol: str
    requested_start_ms: int
    requested_end_ms: int
    end_ms: int
    rows: int
    bytes: int
    missing_ids: int
    written: list[date]
    already: list[date]
    pending: list[date]
    missing: list[date]
    damaged: list[str]

    @property
    def is_complete(self) -> bool:
        """Nothing is missing that could be there."""
        return not self.missing and not self.damaged


class _No(Enum):
    """Why the trades of a UTC+8 day are not to be had."""

    YET = "not yet"
    FILE = "missing"
    SOUND_FILE = "damaged"


async def backfill_bulk_trades(
    rest: ExchangeRest,
    downloads: BulkDownloads,
    database_url: str,
    lake_url: str,
    quarantine: Path,
    symbol: str,
    start_ms: int,
    end_ms: int,
    on_progress: OnProgress | None = None,
    repair: bool = False,
) -> BulkReport:
    """Store every trade of the UTC days that touch [start_ms, end_ms), as far as the exchange has files.

    A day that the lake has whole is left alone, so a second run fetches nothing and one that was killed goes
    on where it was; with `repair` one whose file is damaged is fetched again. A bulk file that is
    damaged goes to the folder `quarantine`. BadInput for a symbol with neither a file nor a listing.
    """
    now_ms = await rest.server_time_ms()
    days, end = _days(start_ms, end_ms, now_ms)
    store = open_store(lake_url)
    whole = await asyncio.to_thread(whole_days, database_url, store, symbol, repair)
    work = _Work(downloads, database_url, store, quarantine, symbol, now_ms)
    try:
        await work.run([day for day in days if day not in whole], on_progress)
    finally:
        await work.stop()
    if not (work.files or work.damaged or whole):
        await _refuse_unlisted(rest, symbol)
    return work.report(start_ms, end_ms, end, [day for day in days if day in whole])


class _Work:
    """Days, oldest first; files are fetched ahead, each once, and serve the two UTC days they hold."""

    def __init__(
        self,
        downloads: BulkDownloads,
        database_url: str,
        store: LakeStore,
        quarantine: Path,
        symbol: str,
        now_ms: int,
    ) -> None:
        self.files: list[LakeFile] = []
        self.pending: list[date] = []
        self.missing: list[date] = []
        self.damaged: list[str] = []
        self.missing_ids = 0
        self._downloads = downloads
        self._database_url = database_url
        self._store = store
        self._quarantine = quarantine
        self._symbol = symbol
        self._now_ms = now_ms
        self._tables: dict[date, asyncio.Task[pa.Table | _No]] = {}
        self._last: tuple[date, int] | None = None

    async def run(self, days: Sequence[date], on_progress: OnProgress | None) -> None:
        """Deal with each UTC day."""
        needed = sorted({each for day in days for each in (day, day + timedelta(days=1))})
        for done, day in enumerate(days):
            self._begin(needed[: needed.index(day) + 2 + AHEAD], day)
            halves = [await self._tables[each] for each in (day, day + timedelta(days=1))]
            await self._take(day, halves)
            self._forget(day, later=days[done + 1 :])
            if on_progress is not None:
                rows = sum(file.rows for file in self.files)
                on_progress(Progress((done + 1) * DAY_MS, len(days) * DAY_MS, rows))

    def report(self, start_ms: int, end_ms: int, end: int, already: list[date]) -> BulkReport:
        """What was done."""
        return BulkReport(
            symbol=self._symbol,
            requested_start_ms=start_ms,
            requested_end_ms=end_ms,
            end_ms=end,
            rows=sum(file.rows for file in self.files),
            bytes=sum(file.bytes for file in self.files),
            missing_ids=self.missing_ids,
            written=[file.date for file in self.files],
            already=already,
            pending=self.pending,
            missing=self.missing,
            damaged=self.damaged,
        )

    async def stop(self) -> None:
        """End what was begun ahead."""
        for task in self._tables.values():
            task.cancel()
        await asyncio.gather(*self._tables.values(), return_exceptions=True)

    def _begin(self, files: Sequence[date], day: date) -> None:
        for each in files:
            if each >= day and each not in self._tables:
                self._tables[each] = asyncio.create_task(self._read(each))

    async def _take(self, day: date, halves: Sequence[pa.Table | _No]) -> None:
        """Store a UTC day of its two files, or note why not."""
        tables = [half for half in halves if not isinstance(half, _No)]
        if _No.SOUND_FILE in halves:
            return
        if _No.YET in halves:
            self.pending.append(day)
            return
        if len(tables) < len(halves):
            self.missing.append(day)
        if not tables:
            return
        rows = _cut(tables, day)
        self.missing_ids += self._holes(rows, day)
        # A whole day without a trade has a file too: it is known that there is nothing to fetch.
        if rows.num_rows or len(tables) == len(halves):
            file = await asyncio.to_thread(
                store_day,
                self._database_url,
                self._store,
                self._symbol,
                day,
                bulk_trades(rows),
                len(tables) == len(halves),
            )
            self.files.append(file)

    async def _read(self, day: date) -> pa.Table | _No:
        """The trades of a UTC+8 day."""
        if not may_exist(day, self._now_ms):
            return _No.YET
        readings = 0
        while readings < READINGS:
            path = await self._downloads.fetch(self._symbol, day)
            if path is None:
                return _No.FILE if must_exist(day, self._now_ms) else _No.YET
            try:
                return await asyncio.to_thread(read_bulk_file, path, self._symbol, day_start_ms(day))
            except FileNotFoundError:
                continue  # Another backfill of the same days was done with it.
            except DamagedFile as error:
                readings += 1
                if readings < READINGS:
                    path.unlink(missing_ok=True)
                else:
                    self.damaged.append(f"{self._set_aside(path)}: {error}")
        return _No.SOUND_FILE

    def _set_aside(self, path: Path) -> Path:
        """Where a damaged file is kept: its name says which day it is and what is in it, so that one that
        came damaged in another way stays beside it."""
        with disk_errors(self._quarantine):
            self._quarantine.mkdir(parents=True, exist_ok=True)
            try:
                return path.replace(self._quarantine / f"{path.stem}.{sha256_of(path)[:8]}{path.suffix}")
            except FileNotFoundError:
                return self._quarantine  # another backfill of the same days has put it there

    def _forget(self, day: date, later: Sequence[date]) -> None:
        """Files that no later day needs leave memory and the disk."""
        kept = {each for other in later for each in (other, other + timedelta(days=1))}
        for each in [each for each in self._tables if each <= day + timedelta(days=1)]:
            if each not in kept:
                del self._tables[each]
                (self._downloads.folder / file_name(self._symbol, each)).unlink(missing_ok=True)

    def _holes(self, rows: pa.Table, day: date) -> int:
        """Ids that are in no file: inside the day, and between it and the day before if that was read too."""
        ids = np.sort(rows["trade_id"].to_numpy())
        if not len(ids):
            return 0
        before = self._last[1] if self._last and self._last[0] == day - timedelta(days=1) else int(ids[0]) - 1
        self._last = (day, int(ids[-1]))
        return int(ids[-1]) - before - len(ids)


def _cut(tables: Sequence[pa.Table], day: date) -> pa.Table:
    """The rows of a UTC day out of its two files, each id once."""
    start = to_ms(to_datetime(0).replace(year=day.year, month=day.month, day=day.day))
    trades = pa.concat_tables(tables)
    times = trades["timestamp_ms"]
    trades = trades.filter(pc.and_(pc.greater_equal(times, start), pc.less(times, start + DAY_MS)))
    _, first = np.unique(trades["trade_id"].to_numpy(), return_index=True)
    return trades if len(first) == trades.num_rows else trades.take(pa.array(first))


def _days(start_ms: int, end_ms: int, now_ms: int) -> tuple[list[date], int]:
    """The UTC days that touch [start_ms, end_ms) and have begun, and where the range ends."""
    if start_ms >= end_ms:
        raise BadInput("from", "must be before `to`")
    if start_ms >= now_ms:
        raise BadInput("from", "is in the exchange's future")
    end = min(end_ms, now_ms + 1)
    first, last = to_datetime(start_ms).date(), to_datetime(end - 1).date()
    return [first + timedelta(days=number) for number in range((last - first).days + 1)], end


async def _refuse_unlisted(rest: ExchangeRest, symbol: str) -> None:
    if symbol not in {instrument.symbol for instrument in await rest.instruments()}:
        raise BadInput("symbol", f"{symbol!r} is not listed by the exchange, and it has no files of it")
