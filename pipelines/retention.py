"""What is too old leaves PostgreSQL, as the settings say; by default nothing does.

For the command line (`tcp data prune`) and for Dagster alike. It may be killed at any line and repeated: raw
trades go a day of a symbol at a time, and only after the day's file in the lake was read again and proven.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta

import msgspec
from sqlalchemy import Connection, Engine

from config.settings import Settings
from core.errors import Unavailable
from pipelines.lake.archive import archive_raw_trades
from pipelines.lake.files import RAW_TRADES
from pipelines.warehouse.archive import traded_symbols
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.lake_files import find_files
from pipelines.warehouse.retention import (
    bot_ids,
    drop_events,
    newest_ms,
    rows_of_day,
    thin_signals,
    thin_snapshots,
    windows,
)
from pipelines.warehouse.sql import EXCHANGE, to_datetime
from pipelines.warehouse.trade_days import day_bounds, stored_days

DAY_MS = 86_400_000
HOUR_MS = 3_600_000


class PrunedDay(msgspec.Struct, frozen=True):
    """A day of raw trades past its time. dropped: rows removed; kept_because: why none were."""

    symbol: str
    day: date
    dropped: int
    kept_because: str | None = None


class Pruned(msgspec.Struct, frozen=True):
    """What was removed, or would be. None: that setting is unset, all of it is kept."""

    trades: list[PrunedDay] | None
    signals: int | None
    snapshots: int | None
    events: int | None


def prune(settings: Settings, now_ms: int, dry_run: bool = False) -> Pruned:
    """Remove what is older than the settings allow.

    settings: with database_url resolved; see `raw_trades_days`, `bot_detail_days` and `events_days`
    now_ms: wall clock, for events; trades and bots age by the newest stored trade or candle, whose clock may
        run faster, see `newest_ms`
    dry_run: count only; the database is as it was
    """
    own = engine_of(str(settings.database_url))
    newest = newest_ms(own, now_ms)
    trades = signals = snapshots = events = None
    if settings.raw_trades_days is not None:
        trades = _prune_trades(settings, own, settings.raw_trades_days, newest or 0, dry_run)
    if settings.bot_detail_days is not None:
        until_ms = (newest or 0) - settings.bot_detail_days * DAY_MS
        until = to_datetime(max(0, until_ms - until_ms % HOUR_MS))
        signals = _thin(own, "signals", thin_signals, until, dry_run)
        snapshots = _thin(own, "bot_performance", thin_snapshots, until, dry_run)
    if settings.events_days is not None:
        before = to_datetime(now_ms - settings.events_days * DAY_MS)
        events = _attempt(own, lambda connection: drop_events(connection, before), dry_run)
    return Pruned(trades, signals, snapshots, events)


def _prune_trades(settings: Settings, own: Engine, days: int, newest: int, dry_run: bool) -> list[PrunedDay]:
    oldest_kept = to_datetime(newest).date() - timedelta(days=days)
    with own.connect() as connection:
        past = [
            (symbol, day)
            for symbol in traded_symbols(connection)
            for day in stored_days(connection, symbol)
            if day < oldest_kept
        ]
    return [_prune_day(settings, own, symbol, day, dry_run) for symbol, day in past]


def _prune_day(settings: Settings, own: Engine, symbol: str, day: date, dry_run: bool) -> PrunedDay:
    with own.connect() as connection:
        archived = find_files(connection, RAW_TRADES, EXCHANGE, symbol, day)
        rows = rows_of_day(connection, EXCHANGE, symbol, *day_bounds(day))
    if not archived:
        return PrunedDay(symbol, day, 0, "not in the lake yet: run `tcp data archive`")
    if dry_run:
        return PrunedDay(symbol, day, rows)
    try:
        file = archive_raw_trades(str(settings.database_url), settings.lake_url, symbol, day, drop=True)
    except Unavailable as error:
        return PrunedDay(symbol, day, 0, str(error))
    return PrunedDay(symbol, day, file.dropped)


def _thin(
    own: Engine,
    table: str,
    action: Callable[[Connection, int, datetime, datetime], int],
    until: datetime,
    dry_run: bool,
) -> int:
    with own.connect() as connection:
        parts = [
            (bot_id, *window)
            for bot_id in bot_ids(connection)
            for window in windows(connection, table, bot_id, until)
        ]
    return sum(
        _attempt(own, lambda connection, part=part: action(connection, *part), dry_run)  # type: ignore[misc]
        for part in parts
    )


def _attempt(own: Engine, action: Callable[[Connection], int], dry_run: bool) -> int:
    """In a transaction of its own, which is taken back when it was only to be counted."""
    with own.connect() as connection, connection.begin() as transaction:
        count = action(connection)
        if dry_run:
            transaction.rollback()
        return count
