"""Trades of a stretch of time from an exchange that is asked by `since`, proven complete or refused.

Exchanges do with `since` what they like: some give the oldest trades from then on, some their newest ones
whatever is asked. What comes is taken as complete only where it begins before the stretch does and each page
goes on from a trade of the one before.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from datetime import UTC, datetime

from core.errors import Unavailable
from core.trades import Trade
from pipelines.exchanges.base import TooOld

WINDOW_MS = 3_600_000
"""Read forwards before the window before it is: what is kept in memory."""
LOOK_BACK_MS = (1_000, 60_000, 3_600_000, 86_400_000, 30 * 86_400_000)
"""How far before a window the trade is looked for that proves its beginning complete."""

Since = Callable[[int | None], Awaitable[list[Trade]]]
"""A page of trades from a time on (ms), or the newest ones; oldest first."""


async def pages_by_time(since: Since, start_ms: int, end_ms: int) -> AsyncGenerator[list[Trade], None]:
    """Trades with start_ms <= timestamp < end_ms, a window a page, the newest first; oldest first inside.

    TooOld when the exchange does not give trades as old as that.
    """
    newest = await since(None)
    if not newest:
        return
    if newest[0].timestamp_ms < start_ms:
        if wanted := _within(newest, start_ms, end_ms):
            yield wanted
        return
    high = min(end_ms, newest[-1].timestamp_ms + 1)
    while high > start_ms:
        low = max(high - WINDOW_MS, start_ms)
        if wanted := _within(await _window(since, low, high, newest[-1]), low, high):
            yield wanted
        high = low


def _within(trades: Iterable[Trade], start_ms: int, end_ms: int) -> list[Trade]:
    return [trade for trade in trades if start_ms <= trade.timestamp_ms < end_ms]


async def _window(since: Since, start_ms: int, end_ms: int, newest: Trade) -> list[Trade]:
    page = await _from_before(since, start_ms, newest)
    found = {trade.trade_id: trade for trade in page}
    while page[-1].timestamp_ms < end_ms and page[-1].trade_id < newest.trade_id:
        last = page[-1]
        page = await since(last.timestamp_ms)
        if page and page[-1].trade_id > last.trade_id and last.trade_id in {trade.trade_id for trade in page}:
            found.update((trade.trade_id, trade) for trade in page)
        else:
            raise Unavailable(
                f"{last.symbol}: the exchange's trades do not go on from {_iso(last.timestamp_ms)}"
            )
    return [found[trade_id] for trade_id in sorted(found)]


async def _from_before(since: Since, start_ms: int, newest: Trade) -> list[Trade]:
    """A page whose first trade is from before `start_ms`."""
    for back_ms in LOOK_BACK_MS:
        page = await since(start_ms - back_ms)
        if page and page[0].timestamp_ms < start_ms:
            return page
    oldest = page[0] if page else newest
    raise TooOld(
        f"{newest.symbol}: the exchange gives no trades as old as {_iso(start_ms)}, only from "
        f"{_iso(oldest.timestamp_ms)} on"
    )


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
