"""Our candles against the exchange's own: minutes soon after they closed, and everything again days later."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Engine

from core.candles import Candle
from core.clock import Clock
from core.errors import BadInput
from core.timeframes import Timeframe
from core.trades import Trade
from live.collector.compare import Comparer, Found
from live.collector.patience import until_it_answers
from live.collector.rollup import periods_of, roll_up_stored
from live.collector.stream import SymbolStream
from live.messages import iso
from pipelines.exchanges.base import ExchangeRest
from pipelines.warehouse.gaps import close_covered
from pipelines.warehouse.reconciliation import (
    Explanation,
    Kind,
    differences,
    reconciled_through,
    settle_differences,
)

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
WEEK_MS = 7 * DAY_MS
"""A day is compared once more when a week has passed: the exchange may revise a candle days later."""
AGAIN = 5
"""Minutes that are looked at once more in one comparison, because something was to be put right in them."""

LEVELS: dict[Explanation, str] = {
    "unexplained": "error",
    "missing_trades": "warning",
    "known_gap": "warning",
    "missing_candle": "warning",
    "stale": "warning",
    "exchange_row": "warning",
    "exchange_revision": "info",
}

_log = structlog.get_logger("reconcile")


class Reconciler:
    """Compares on a schedule, puts right what is ours to put right, and tells what differs, once.

    Every minute is compared within minutes of its close, the next day and a week later; longer candles the
    next day. What is told of a symbol is not told again before one of its comparisons found nothing.

    Parameters
    ----------
    store: stores and publishes trades and candles of which the builder does not know any more
    on_event: told (level, event, message) of differences
    unkept: symbols of which no raw trades are stored
    """

    def __init__(
        self,
        rest: ExchangeRest,
        engine: Engine,
        clock: Clock,
        timeframes: Sequence[Timeframe],
        store: Callable[[Sequence[Trade], Sequence[Candle]], None],
        on_event: Callable[[str, str, str], None],
        unkept: Collection[str] = (),
    ) -> None:
        self._rest = rest
        self._engine = engine
        self._clock = clock
        self._timeframes = timeframes
        self._store = store
        self._on_event = on_event
        self._comparer = Comparer(rest, engine, clock, unkept)
        self._compared: Counter[Kind] = Counter()
        self._explanations: Counter[Explanation] = Counter()
        self._through: dict[str, int] = {}
        self._told: set[tuple[str, Kind, Explanation]] = set()
        self._next_ms: dict[Kind, int] = {"recent": 0, "daily": 0}

    def health(self) -> dict[str, Any]:
        """For the heartbeat; counts are since the start of the process."""
        return {
            "compared": self._compared["recent"],
            "compared_daily": self._compared["daily"],
            "compared_weekly": self._compared["weekly"],
            "compared_longer": self._compared["longer"],
            "differing": self._explanations.total(),
            **{explanation: self._explanations[explanation] for explanation in LEVELS},
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

    # --- the schedule

    async def _recent(self, stream: SymbolStream) -> None:
        through_ms = stream.builder.closed_through_ms - SETTLED_MS
        if stream.continuity.gaps:
            # Minutes that wait for missing trades are compared when they have them.
            through_ms = min(through_ms, M1.open_ms(min(gap.after_ms for gap in stream.continuity.gaps)))
        await self._again(stream)
        await self._from_last(stream, "recent", through_ms)

    async def _daily(self, stream: SymbolStream, midnight_ms: int) -> None:
        await self._from_last(stream, "daily", midnight_ms)
        await self._from_last(stream, "weekly", midnight_ms - WEEK_MS + DAY_MS)
        await self._from_last(stream, "longer", midnight_ms)
        await self._answered("ledger", lambda: self._close_ledger(stream.symbol))

    async def _from_last(self, stream: SymbolStream, kind: Kind, through_ms: int) -> None:
        """Compare from where the last comparison of that kind ended, at most a day at once."""
        symbol = stream.symbol
        after_ms = await self._answered("reconciliation", lambda: self._start(symbol, kind))
        after_ms = through_ms - LONGEST_MS if after_ms is None else after_ms
        while after_ms < through_ms:
            end_ms = min(through_ms, after_ms + LONGEST_MS)
            found = await self._compare(stream, kind, after_ms, end_ms)
            if found is None or found.through_ms <= after_ms:
                return
            self._compared[kind] += found.compared
            if kind == "recent":
                self._through[symbol] = max(self._through.get(symbol, 0), found.through_ms)
            after_ms = found.through_ms

    async def _again(self, stream: SymbolStream) -> None:
        """Minutes in which something was put right, until it is; and those to which trades came that the
        builder could not count in."""
        late, stream.builder.late_minutes = stream.builder.late_minutes, set()
        pending = await self._answered("reconciliation", lambda: self._pending(stream.symbol))
        minutes = sorted(late | pending)
        for close_ms in minutes[:AGAIN]:
            await self._compare(stream, None, close_ms - M1.ms, close_ms)
        stream.builder.late_minutes.update(late & set(minutes[AGAIN:]))

    # --- one comparison

    async def _compare(
        self, stream: SymbolStream, kind: Kind | None, after_ms: int, end_ms: int
    ) -> Found | None:
        """None when the exchange does not know the symbol."""
        symbol, comparer = stream.symbol, self._comparer
        longer = [timeframe for timeframe in self._timeframes if timeframe is not M1]
        ask = (
            partial(comparer.longer, symbol, longer, after_ms, end_ms)
            if kind == "longer"
            else partial(comparer.minutes, symbol, kind, after_ms, end_ms)
        )
        try:
            found = await until_it_answers(f"comparison of {symbol}", ask)
        except BadInput as error:
            _log.warning("no comparison", symbol=symbol, reason=str(error))
            return None
        await self._put_right(stream, found)
        self._tell(symbol, kind or "recent", found)
        return found

    async def _put_right(self, stream: SymbolStream, found: Found) -> None:
        """What replaces ours, with the longer candles made of it: through the builder, which keeps what is
        made of these minutes right from now on, and to the store for what it does not know any more."""
        better = [judgement.candle for judgement in found.judgements if judgement.candle is not None]
        better += found.remade
        minutes = {candle.close_ms: candle for candle in better if candle.timeframe is M1}
        candles = [*found.confirmed, *(candle for candle in better if candle.timeframe is not M1)]
        candles += [candle for candle in minutes.values() if not stream.builder.correct(candle)]
        periods = periods_of(minutes, self._timeframes, stream.builder.closed_through_ms)
        rolled = await self._answered(
            "stored minutes", lambda: roll_up_stored(self._engine, stream.symbol, periods, minutes)
        )
        for (timeframe, close_ms), candle in rolled.items():
            candles += [candle] if candle else await self._theirs(stream.symbol, timeframe, close_ms)
        trades = [trade for judgement in found.judgements for trade in judgement.trades]
        if trades or candles:
            self._store(trades, candles)

    async def _theirs(self, symbol: str, timeframe: Timeframe, close_ms: int) -> list[Candle]:
        """The exchange's candle, where we lack minutes to make it of."""
        return await until_it_answers(
            "a revised candle",
            partial(self._rest.candles, symbol, timeframe, close_ms - timeframe.ms, close_ms),
        )

    # --- telling

    def _tell(self, symbol: str, kind: Kind, found: Found) -> None:
        for explanation, level in LEVELS.items():
            new = [difference for difference in found.new if difference.explanation == explanation]
            self._explanations[explanation] += len(new)
            if new and (symbol, kind, explanation) not in self._told:
                self._told.add((symbol, kind, explanation))
                first = min(new, key=lambda difference: difference.close_ms)
                self._on_event(
                    level,
                    "candles_differ",
                    f"{symbol}: {len(new)} of {found.compared} candles are not the exchange's "
                    f"({explanation}), the first {first.timeframe} at {iso(first.close_ms)}: {first.detail}",
                )
        told = {known for known in self._told if known[:2] == (symbol, kind)}
        if told and found.compared and not found.judgements:
            self._told -= told
            self._on_event("info", "candles_agree", f"{symbol}: {found.compared} candles are the exchange's")

    # --- the database, in a thread

    async def _answered(self, what: str, read: Callable[[], Any]) -> Any:
        return await until_it_answers(what, lambda: asyncio.to_thread(read))

    def _start(self, symbol: str, kind: Kind) -> int | None:
        with self._engine.connect() as connection:
            return reconciled_through(connection, symbol, kind)

    def _pending(self, symbol: str) -> set[int]:
        """Settle what was put right; the minutes in which it is not done yet."""
        now_ms = self._clock.now_ms()
        with self._engine.begin() as connection:
            settle_differences(connection, symbol, now_ms)
            left = differences(connection, symbol, [M1], now_ms - WEEK_MS - DAY_MS, now_ms, only_open=True)
        return {difference.close_ms for difference in left if difference.explanation != "unexplained"}

    def _close_ledger(self, symbol: str) -> None:
        """Holes that were given up, and whose trades came after all."""
        with self._engine.begin() as connection:
            close_covered(connection, symbol, self._clock.now_ms(), "reconciliation", ("unfillable",))
