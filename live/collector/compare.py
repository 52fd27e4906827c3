"""Stored candles beside the exchange's rows of them: what differs, with the evidence, recorded."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import aclosing

import msgspec
from sqlalchemy import Connection, Engine

from core.candles import Candle
from core.clock import Clock
from core.errors import BadInput, Unavailable
from core.timeframes import Timeframe
from core.trades import Trade
from live.collector.judge import (
    Evidence,
    Judgement,
    Known,
    candle_of,
    judge,
    judge_longer,
    missing,
    without_counterpart,
)
from live.collector.rollup import roll_up_stored
from pipelines.exchanges.base import ExchangeRest
from pipelines.warehouse.gaps import missing_ids
from pipelines.warehouse.reconciliation import (
    Difference,
    Kind,
    differences,
    numbers,
    reconciled_through,
    record_difference,
    record_reconciled,
    resolve_differences,
    unfilled_gaps,
)
from pipelines.warehouse.resume import collected_trades, exact_candles, newest_candle_ms

M1 = Timeframe.M1
MOST_EVIDENCE = 60
"""Minutes of which the trades are asked for in one comparison: more differ only in another market."""
MOST_PAGES = 100
"""Pages of trades of one minute, at most: ten seconds of the exchange's request limit."""
MOST_MISSING = 20
"""Of more missing candles in one comparison none gets a row of its own: a whole stretch was not collected."""


class Found(msgspec.Struct):
    """What a comparison found. new: judgements that were not known with the same numbers. confirmed: candles
    that went out provisional and are the exchange's all the same. remade: minutes of our own trades in place
    of the exchange's rows that they equal. agreed: (timeframe, close time) of those that differed before and
    do not any more"""

    compared: int = 0
    through_ms: int = 0
    judgements: list[Judgement] = []
    new: list[Difference] = []
    confirmed: list[Candle] = []
    remade: list[Candle] = []
    agreed: list[tuple[Timeframe, int]] = []


class _Pairs(msgspec.Struct):
    """Both sides of a stretch of minutes."""

    found: Found
    differing: list[tuple[Candle, Candle, Known]] = []
    missing: list[Candle] = []
    alone: list[Candle] = []
    before: dict[int, Difference] = {}


class Comparer:
    """Reads and records; storing what follows from it is the caller's.

    unkept: symbols of which no raw trades are stored
    """

    def __init__(
        self, rest: ExchangeRest, engine: Engine, clock: Clock, unkept: Collection[str] = ()
    ) -> None:
        self._rest = rest
        self._engine = engine
        self._clock = clock
        self._unkept = frozenset(unkept)

    async def minutes(self, symbol: str, kind: Kind | None, after_ms: int, through_ms: int) -> Found:
        """Compare the minutes that close in (after_ms, through_ms].

        kind: whose progress it is; None when it is nobody's. Only `recent` leaves out candles that are the
        exchange's own, and candles that only the exchange has: history may still be on its way.
        """
        rows = {row.close_ms: row for row in await self._rest.candles(symbol, M1, after_ms, through_ms)}
        pairs = await asyncio.to_thread(self._pairs, symbol, kind, after_ms, through_ms, rows)
        found = pairs.found
        for n, (ours, theirs, known) in enumerate(pairs.differing):
            # Of minutes that were not collected none is to be stored: they would be an island.
            is_collected = ours.source != "exchange" or known.in_gap or known.has_trades
            asked = is_collected and n < MOST_EVIDENCE
            evidence = await self._evidence(ours) if asked else None
            found.judgements.append(judge(ours, theirs, known, evidence))
        found.judgements += [without_counterpart(candle) for candle in pairs.alone]
        found.judgements += [missing(row) for row in pairs.missing]
        await asyncio.to_thread(self._record, symbol, kind, after_ms, found, list(pairs.before.values()))
        return found

    async def longer(
        self, symbol: str, timeframes: Sequence[Timeframe], after_ms: int, through_ms: int
    ) -> Found:
        """Compare the candles of longer timeframes that close in (after_ms, through_ms]."""
        found = Found(through_ms=through_ms)
        before: list[Difference] = []
        for timeframe in timeframes:
            rows = await self._rest.candles(symbol, timeframe, after_ms, through_ms)
            newest = max((row.close_ms for row in rows), default=after_ms)
            if newest < timeframe.open_ms(through_ms):  # its history lags: the rest is for the next time
                found.through_ms = min(found.through_ms, newest)
            before += await asyncio.to_thread(
                self._longer, symbol, timeframe, after_ms, through_ms, rows, found
            )
        await asyncio.to_thread(self._record, symbol, "longer", after_ms, found, before)
        return found

    # --- reading, in a thread

    def _pairs(
        self, symbol: str, kind: Kind | None, after_ms: int, through_ms: int, rows: Mapping[int, Candle]
    ) -> _Pairs:
        with self._engine.connect() as connection:
            stored = exact_candles(connection, symbol, M1, after_ms - 1, through_ms)
            # What either side does not have yet is left for the next time.
            ends = [max(rows, default=after_ms), newest_candle_ms(connection, symbol, M1) or after_ms]
            pairs = _Pairs(Found(through_ms=max(after_ms, min(through_ms, *ends))))
            mine = {
                candle.close_ms: candle
                for candle in stored
                if after_ms < candle.close_ms <= pairs.found.through_ms
            }
            if kind == "recent":
                mine = {at: candle for at, candle in mine.items() if candle.source != "exchange"}
            elif stored:
                begin = max(after_ms, stored[0].close_ms)
                pairs.missing = [
                    row for at, row in rows.items() if begin < at <= pairs.found.through_ms and at not in mine
                ]
            pairs.found.compared = sum(at in rows for at in mine)
            pairs.alone = _alone(mine, rows)
            self._find_differing(connection, symbol, kind, pairs, mine, rows, after_ms)
        return pairs

    def _find_differing(
        self,
        connection: Connection,
        symbol: str,
        kind: Kind | None,
        pairs: _Pairs,
        mine: Mapping[int, Candle],
        rows: Mapping[int, Candle],
        after_ms: int,
    ) -> None:
        both = [(candle, rows[at]) for at, candle in mine.items() if at in rows]
        own = _of_own_trades(connection, symbol, [candle for candle, _ in both])
        pairs.found.remade = [
            msgspec.structs.replace(own[row.close_ms], revision=candle.revision)
            for candle, row in both
            if row.close_ms in own and numbers(own[row.close_ms]) == numbers(row) == numbers(candle)
        ]
        pairs.found.confirmed = [
            msgspec.structs.replace(candle, provisional=False)
            for candle, row in both
            if candle.provisional and numbers(candle) == numbers(row)
        ]
        differing = [(candle, row) for candle, row in both if numbers(candle) != numbers(row)]
        through_ms = pairs.found.through_ms
        pairs.before = {
            known.close_ms: known for known in differences(connection, symbol, [M1], after_ms, through_ms)
        }
        pairs.found.agreed = _agreed(both, pairs.before)
        if not differing:
            return
        gaps = unfilled_gaps(connection, symbol)
        seen_ms = 0 if kind == "recent" else reconciled_through(connection, symbol, "recent") or 0
        for candle, row in differing:
            before = pairs.before.get(candle.close_ms)
            if before is not None and _is_judged(before, row, kind):
                continue
            equal_before = candle.close_ms <= seen_ms and (
                before is None or before.resolution not in (None, "ours_stands")
            )
            # Where ids show no holes nothing says that our trades are all there were.
            in_gap = not self._rest.consecutive_ids or any(
                start < candle.close_ms and end >= candle.open_ms for start, end in gaps
            )
            pairs.differing.append((candle, row, Known(equal_before, in_gap, candle.close_ms in own)))

    def _longer(
        self,
        symbol: str,
        timeframe: Timeframe,
        after_ms: int,
        through_ms: int,
        rows: Sequence[Candle],
        found: Found,
    ) -> list[Difference]:
        """Adds to `found`; returns what was known before."""
        with self._engine.connect() as connection:
            stored = exact_candles(connection, symbol, timeframe, after_ms, through_ms)
            known = differences(connection, symbol, [timeframe, M1], after_ms - timeframe.ms, through_ms)
        mine = {candle.close_ms: candle for candle in stored}
        before = {
            difference.close_ms: difference for difference in known if difference.timeframe is timeframe
        }
        wanted = [
            row
            for row in rows
            if (ours := mine.get(row.close_ms)) is None or numbers(ours) != numbers(row)
            if row.close_ms not in before or not _is_judged(before[row.close_ms], row, "longer")
        ]
        both = [(mine[row.close_ms], row) for row in rows if row.close_ms in mine]
        found.compared += len(both)
        found.agreed += _agreed(both, before)
        wanted = [row for row in wanted if row.close_ms in mine or (mine and row.close_ms > min(mine))]
        rolled = roll_up_stored(self._engine, symbol, [(timeframe, row.close_ms) for row in wanted], {})
        for row in wanted:
            minutes = [d for d in known if d.timeframe is M1 and row.open_ms < d.close_ms <= row.close_ms]
            judgement = judge_longer(mine.get(row.close_ms), row, rolled[timeframe, row.close_ms], minutes)
            found.judgements.append(judgement)
        return list(before.values())

    # --- evidence

    async def _evidence(self, ours: Candle) -> Evidence | None:
        """The exchange's own trades of a minute; None when they cannot be had, or not all of them."""
        symbol, close_ms = ours.symbol, ours.close_ms
        trades: dict[int, Trade] = {}
        pages = 0
        is_numbered = self._rest.consecutive_ids
        try:
            async with aclosing(self._rest.trade_pages(symbol, close_ms - M1.ms, close_ms)) as found:
                async for page in found:
                    trades.update((trade.trade_id, trade) for trade in page)
                    pages += 1
                    if pages > MOST_PAGES:
                        return None
            if trades and is_numbered and _holes(trades):
                more = await self._rest.trades_by_id(symbol, min(trades), max(trades))
                trades.update((trade.trade_id, trade) for trade in more)
        except (Unavailable, BadInput):
            return None
        ordered = [trades[trade_id] for trade_id in sorted(trades)]
        made = candle_of(symbol, close_ms, ordered)
        if made is None or (is_numbered and _holes(trades)):
            return None
        if symbol in self._unkept:
            own = ours.source != "exchange"  # else nobody here has counted any
            return Evidence(made, uncounted=max(0, made.trades_count - ours.trades_count) if own else 0)
        return Evidence(made, await asyncio.to_thread(self._unknown, symbol, ordered))

    def _unknown(self, symbol: str, trades: Sequence[Trade]) -> list[Trade]:
        """Those that are not stored; `trades` are single matches in the order of their ids."""
        with self._engine.connect() as connection:
            lacking = missing_ids(connection, symbol, trades[0].trade_id, trades[-1].trade_id)
        return [trade for trade in trades if any(first <= trade.trade_id <= last for first, last in lacking)]

    # --- recording, in a thread, one transaction

    def _record(
        self, symbol: str, kind: Kind | None, after_ms: int, found: Found, before: Sequence[Difference]
    ) -> None:
        known = {(difference.timeframe, difference.close_ms): difference for difference in before}
        judged = [judgement.difference for judgement in found.judgements]
        found.new = [new for new in judged if not _is_same(known.get((new.timeframe, new.close_ms)), new)]
        with self._engine.begin() as connection:
            self._write(connection, judged)
            resolve_differences(connection, symbol, found.agreed, "equal_again", self._clock.now_ms())
            if kind is not None and found.through_ms > after_ms:
                record_reconciled(connection, symbol, kind, found.through_ms, found.compared, len(found.new))

    def _write(self, connection: Connection, judged: Iterable[Difference]) -> None:
        judged = list(judged)
        if sum(difference.explanation == "missing_candle" for difference in judged) > MOST_MISSING:
            judged = [difference for difference in judged if difference.explanation != "missing_candle"]
        for difference in judged:
            record_difference(connection, difference, self._clock.now_ms())


def _of_own_trades(connection: Connection, symbol: str, minutes: Sequence[Candle]) -> dict[int, Candle]:
    """What stored trades make of minutes that have the exchange's row: it was taken while some of them were
    missing, or fetched before they came. The last ones, where there are many."""
    foreign = [minute.close_ms for minute in minutes if minute.source == "exchange"][-MOST_EVIDENCE:]
    stored = collected_trades(connection, symbol, foreign) if foreign else {}
    made = {at: candle_of(symbol, at, trades) for at, trades in stored.items()}
    return {at: candle for at, candle in made.items() if candle is not None}


def _alone(mine: Mapping[int, Candle], rows: Mapping[int, Candle]) -> list[Candle]:
    """Candles with trades that the exchange leaves out between rows that it has."""
    if not rows:
        return []
    first, last = min(rows), max(rows)
    return [
        candle
        for at, candle in mine.items()
        if first < at < last and at not in rows and candle.source == "trades"
    ]


def _agreed(
    both: Iterable[tuple[Candle, Candle]], before: Mapping[int, Difference]
) -> list[tuple[Timeframe, int]]:
    """Equal by now, and a difference is open: the exchange took its own back."""
    return [
        (ours.timeframe, ours.close_ms)
        for ours, row in both
        if (known := before.get(ours.close_ms)) is not None
        and known.resolution is None
        and known.explanation == "unexplained"
        and numbers(ours) == numbers(row)
    ]


def _is_judged(before: Difference, row: Candle, kind: Kind | None) -> bool:
    """Whether this very row of the exchange was judged, and nothing is left to be done about it. What nobody
    could explain is looked at again, but not every few minutes."""
    if before.theirs != numbers(row):
        return False
    if before.resolution is None:
        return kind == "recent" and before.explanation == "unexplained"
    return before.resolution == "ours_stands"


def _is_same(before: Difference | None, new: Difference) -> bool:
    return (
        before is not None
        and (before.explanation, before.theirs) == (new.explanation, new.theirs)
        and before.resolution == new.resolution
    )


def _holes(trades: Mapping[int, Trade]) -> bool:
    return len(trades) < max(trades) - min(trades) + 1
