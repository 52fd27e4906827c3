"""Every closed minute against the exchange's own confirmed row: soon after it closed, and daily once more."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import structlog
from sqlalchemy import Connection, Engine

from core.candles import Candle
from core.clock import Clock
from core.errors import BadInput
from core.timeframes import Timeframe
from live.collector.patience import until_it_answers
from live.collector.stream import SymbolStream
from live.messages import iso
from pipelines.exchanges.base import ExchangeRest
from pipelines.warehouse.reconciliation import (
    Difference,
    Explanation,
    Kind,
    numbers,
    open_differences,
    reconciled_through,
    record_difference,
    record_reconciled,
    resolve_difference,
    unfilled_gaps,
)
from pipelines.warehouse.resume import exact_candles

M1 = Timeframe.M1
DAY_MS = Timeframe.D1.ms
EVERY_MS = 5 * M1.ms
"""Exchange time between two comparisons."""
SHORTEST_S = 2.0
"""Real time between them, however fast the exchange's clock runs: they share its request limits."""
SETTLED_MS = 2 * M1.ms
"""A minute is compared when it is that old: the exchange's history lags the market."""
DAILY_AFTER_MS = 30 * M1.ms
"""Exchange time after midnight at which the day before is compared again."""
LONGEST_MS = DAY_MS
"""Compared at once, and looked back when nothing was compared before."""

LEVELS: dict[Explanation, str] = {
    "unexplained": "error",
    "known_gap": "warning",
    "exchange_revision": "info",
}

_log = structlog.get_logger("reconcile")


class Found(msgspec.Struct):
    """What a comparison of one symbol found. taken_over: the exchange's rows to store in place of ours."""

    compared: int = 0
    through_ms: int = 0
    differing: list[tuple[int, Explanation]] = []
    taken_over: list[Candle] = []


def explain(ours: Candle, compared_before: bool, in_gap: bool) -> Explanation:
    """Why a minute may differ from the exchange's row.

    compared_before: an earlier comparison found them equal; in_gap: trades are known to be missing there
    """
    if ours.source == "exchange":
        return "exchange_revision"
    if ours.provisional or in_gap:
        return "known_gap"
    return "exchange_revision" if compared_before else "unexplained"


class Reconciler:
    """Compares, stores what differs, tells it, and takes the exchange's row over where it is known to be the
    better one: where we lack trades, and where the exchange revised its own. A difference that nothing
    explains is left standing, because our minute is made of an unbroken sequence of trades.

    Parameters
    ----------
    on_candles: stores and publishes candles of which the builder does not know any more
    on_event: told (level, event, message) of differences
    """

    def __init__(
        self,
        rest: ExchangeRest,
        engine: Engine,
        clock: Clock,
        timeframes: Sequence[Timeframe],
        on_candles: Callable[[Sequence[Candle]], None],
        on_event: Callable[[str, str, str], None],
    ) -> None:
        self._rest = rest
        self._engine = engine
        self._clock = clock
        self._timeframes = timeframes
        self._on_candles = on_candles
        self._on_event = on_event
        self._compared: Counter[Kind] = Counter()
        self._explanations: Counter[Explanation] = Counter()
        self._through: dict[str, int] = {}
        self._next_ms: dict[Kind, int] = {"recent": 0, "daily": 0}

    def health(self) -> dict[str, Any]:
        """For the heartbeat; counts are since the start of the process."""
        return {
            "compared": self._compared["recent"],
            "compared_daily": self._compared["daily"],
            "differing": self._explanations.total(),
            "known_gap": self._explanations["known_gap"],
            "exchange_revision": self._explanations["exchange_revision"],
            "unexplained": self._explanations["unexplained"],
            "through_ms": dict(self._through),
        }

    async def run(self, streams: Mapping[str, SymbolStream]) -> None:
        """Compare whenever it is time, for ever."""
        while True:
            await asyncio.sleep(SHORTEST_S)
            now_ms = self._clock.now_ms()
            if now_ms >= self._next_ms["recent"]:
                self._next_ms["recent"] = now_ms + EVERY_MS
                for stream in list(streams.values()):
                    await self._recent(stream)
            if now_ms >= self._next_ms["daily"]:
                midnight = now_ms - now_ms % DAY_MS
                done = now_ms >= midnight + DAILY_AFTER_MS
                self._next_ms["daily"] = midnight + DAILY_AFTER_MS + (DAY_MS if done else 0)
                for stream in list(streams.values()):
                    if done:
                        await self._daily(stream, midnight)

    async def _recent(self, stream: SymbolStream) -> None:
        through_ms = stream.builder.closed_through_ms - SETTLED_MS
        if stream.continuity.gaps:
            # Minutes that wait for missing trades are compared when they have them.
            through_ms = min(through_ms, M1.open_ms(min(gap.after_ms for gap in stream.continuity.gaps)))
        await self._from_last(stream, "recent", through_ms)

    async def _daily(self, stream: SymbolStream, midnight_ms: int) -> None:
        await self._from_last(stream, "daily", midnight_ms)

    async def _from_last(self, stream: SymbolStream, kind: Kind, through_ms: int) -> None:
        """Compare from where the last comparison of that kind ended, at most a day at once."""
        symbol = stream.symbol
        after_ms = await until_it_answers(
            "reconciliation", lambda: asyncio.to_thread(self._start, symbol, kind)
        )
        after_ms = through_ms - LONGEST_MS if after_ms is None else after_ms
        while after_ms < through_ms:
            end_ms = min(through_ms, after_ms + LONGEST_MS)
            try:
                found = await until_it_answers(
                    f"comparison of {symbol}", partial(self._compare, symbol, kind, after_ms, end_ms)
                )
            except BadInput as error:
                _log.warning("no comparison", symbol=symbol, reason=str(error))
                return
            await self._take_over(stream, found.taken_over)
            self._tell(symbol, kind, found)
            if found.through_ms <= after_ms:
                return
            after_ms = found.through_ms

    async def _compare(self, symbol: str, kind: Kind, after_ms: int, through_ms: int) -> Found:
        theirs = await self._rest.candles(symbol, M1, after_ms, through_ms)
        rows = {candle.close_ms: candle for candle in theirs}
        return await asyncio.to_thread(self._compare_stored, symbol, kind, after_ms, through_ms, rows)

    def _compare_stored(
        self, symbol: str, kind: Kind, after_ms: int, through_ms: int, rows: Mapping[int, Candle]
    ) -> Found:
        """In a thread, one transaction."""
        found, now_ms = Found(), self._clock.now_ms()
        with self._engine.begin() as connection:
            stored = exact_candles(connection, symbol, M1, after_ms, through_ms)
            # What either side does not have yet is left for the next time.
            ends = [max(rows, default=after_ms), max((c.close_ms for c in stored), default=after_ms)]
            found.through_ms = min(through_ms, *ends)
            pairs = [
                (ours, rows[ours.close_ms])
                for ours in stored
                if ours.close_ms in rows
                and ours.close_ms <= found.through_ms
                and (kind == "daily" or ours.source != "exchange")
            ]
            found.compared = len(pairs)
            known = open_differences(connection, symbol, M1.value, after_ms, found.through_ms)
            for ours, row in pairs:
                if ours.close_ms in known and numbers(ours) == numbers(row):
                    resolve_difference(connection, ours, now_ms)
            differing = [pair for pair in pairs if numbers(pair[0]) != numbers(pair[1])]
            self._judge(connection, kind, found, differing, known)
            if found.through_ms > after_ms:
                record_reconciled(
                    connection, symbol, kind, found.through_ms, found.compared, len(found.differing)
                )
        return found

    def _judge(
        self,
        connection: Connection,
        kind: Kind,
        found: Found,
        differing: Sequence[tuple[Candle, Candle]],
        known: Mapping[int, Difference],
    ) -> None:
        """Explain and store what differs; what was told before with the same numbers is not told again."""
        if not differing:
            return
        symbol = differing[0][0].symbol
        gaps = unfilled_gaps(connection, symbol)
        seen_ms = (reconciled_through(connection, symbol, "recent") or 0) if kind == "daily" else 0
        for ours, row in differing:
            before = known.get(ours.close_ms)
            if before is not None and before.theirs == numbers(row):
                continue
            in_gap = any(start < ours.close_ms and end >= ours.open_ms for start, end in gaps)
            reason = explain(ours, before is not None or ours.close_ms <= seen_ms, in_gap)
            taken = reason != "unexplained"
            record_difference(connection, ours, row, reason, self._clock.now_ms(), taken)
            found.differing.append((ours.close_ms, reason))
            if taken:
                count = ours.trades_count
                found.taken_over.append(
                    msgspec.structs.replace(row, trades_count=count, revision=ours.revision + 1)
                )

    async def _take_over(self, stream: SymbolStream, candles: Sequence[Candle]) -> None:
        """Through the builder, which re-issues what is made of these minutes, or straight to the store."""
        for candle in candles:
            if stream.builder.correct(candle):
                continue
            self._on_candles([candle])
            for timeframe in self._timeframes:
                close_ms = timeframe.close_ms(candle.open_ms)
                if timeframe is not M1 and close_ms <= self._clock.now_ms():
                    self._on_candles(
                        await until_it_answers(
                            "a revised candle",
                            partial(
                                self._rest.candles,
                                stream.symbol,
                                timeframe,
                                close_ms - timeframe.ms,
                                close_ms,
                            ),
                        )
                    )

    def _tell(self, symbol: str, kind: Kind, found: Found) -> None:
        self._compared[kind] += found.compared
        self._through[symbol] = max(self._through.get(symbol, 0), found.through_ms)
        for reason, level in LEVELS.items():
            at = [close_ms for close_ms, why in found.differing if why == reason]
            if at:
                self._explanations[reason] += len(at)
                text = f"{symbol}: {len(at)} of {found.compared} minutes are not the exchange's ({reason}), "
                self._on_event(level, "candles_differ", text + f"the first at {iso(min(at))}")

    def _start(self, symbol: str, kind: Kind) -> int | None:
        with self._engine.connect() as connection:
            return reconciled_through(connection, symbol, kind)
