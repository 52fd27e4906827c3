"""The collector: everything between the exchange's socket and the stored, published candle."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any

import structlog
from sqlalchemy import Connection, Engine

from core.candles import Candle
from core.clock import Clock
from core.errors import BadInput, Unavailable
from core.timeframes import Timeframe
from core.trades import Trade
from live.collector.adopt import abandoned
from live.collector.batch import GapRecord
from live.collector.by_time import TimeRefiller, open_stream_by_time
from live.collector.follow import follow_clock, sample
from live.collector.history import History
from live.collector.lost import Reasker
from live.collector.patience import until_it_answers
from live.collector.publisher import Publisher
from live.collector.reconcile import Reconciler
from live.collector.refill import PATIENCE_S, Refiller
from live.collector.spool import Spool
from live.collector.start import LARGEST_REFILL_IDS, open_stream
from live.collector.stream import REFILL_BUDGET_S, SymbolStream, Verdict
from live.collector.unlisted import ASK_AGAIN_S, ListedStart
from live.collector.writer import Writer
from pipelines.bus.base import Bus
from pipelines.clock import ExchangeClock
from pipelines.exchanges.base import ExchangeRest, TradeFeed
from pipelines.warehouse.instruments import upsert_instruments
from pipelines.warehouse.sql import EXCHANGE
from pipelines.warehouse.trade_days import ensure_partitions

GRACE_S = 0.2
"""Real time after a boundary in which trades from before it may still arrive."""
TICK_S = 0.02
RUNNING_S = 0.25
"""Running candles of a symbol are published at most this often, but at once when a new one opens."""
QUIET_RETRY_S = 0.5
EARLY_TRADES = 100_000
"""Trades of one symbol kept while the exchange's REST does not answer."""
PARTITIONS_EVERY_S = 60.0
DAY_MS = 86_400_000
STOP_S = 2.0
"""Longest wait for Postgres at the end; what it has not taken by then goes to disk."""

OnEvent = Callable[[str, str, str], None]
"""(level, event, message)"""

_log = structlog.get_logger("collector")


class Collector:
    """Collects a fixed list of symbols.

    Parameters
    ----------
    symbols, timeframes: what to collect and build
    rest, feed: the exchange
    engine: the database, migrated
    bus: where candles are published
    clock: the exchange's; this sets it
    wall: the machine's
    history_days: of 1m candles to have from before the first trade
    on_event: told of what people should know
    spool: where trades go when Postgres stays away; None keeps them in memory
    unkept: symbols of which no raw trades are stored; their candles are complete all the same
    largest_refill: missing trades of a symbol that are asked for by id; candles close what is larger
    ask_unlisted_s: pause before symbols that the exchange does not list are asked for again
    confirm: of the writer
    """

    def __init__(
        self,
        symbols: Sequence[str],
        timeframes: Sequence[Timeframe],
        rest: ExchangeRest,
        feed: TradeFeed,
        engine: Engine,
        bus: Bus,
        clock: ExchangeClock,
        wall: Clock,
        history_days: int,
        on_event: OnEvent,
        spool: Spool | None = None,
        unkept: Collection[str] = (),
        largest_refill: int = LARGEST_REFILL_IDS,
        ask_unlisted_s: float = ASK_AGAIN_S,
        confirm: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        self._symbols = tuple(symbols)
        self._timeframes = tuple(timeframes)
        self._rest = rest
        self._feed = feed
        self._engine = engine
        self._clock = clock
        self._on_event = on_event
        self._largest_refill = largest_refill
        self._ask_unlisted_s = ask_unlisted_s
        self._publisher = Publisher(bus, wall, on_event)
        self._writer = Writer(engine, self._publisher.finals, on_event, spool, unkept=unkept, confirm=confirm)
        url = engine.url.render_as_string(hide_password=False)
        self._history = History(rest, engine, url, self._timeframes, history_days, self._release)
        self._reconciler = Reconciler(
            rest, engine, clock, self._timeframes, self._put_right, on_event, unkept
        )
        self._streams: dict[str, SymbolStream] = {}
        self._refillers: dict[str, Refiller | TimeRefiller] = {}
        self._early: defaultdict[str, list[Trade]] = defaultdict(list)
        self._changed: set[str] = set()
        self._published: dict[str, tuple[float, int]] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._starting = ListedStart(self._start_symbol, on_event)
        self._feeding: asyncio.Task[None] | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._feed_state = ("connecting", "")
        self._received = self._refused = 0

    async def run(self) -> None:
        """Collect until cancelled; then write what was received. An error in any part ends it; so does
        BadInput when the exchange lists none of the symbols."""
        writing = asyncio.create_task(self._writer.run(), name="writer")
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._watch(writing), name="writer watch")
                tasks.create_task(self._publisher.run(), name="publisher")
                await self._subscribe()
                await until_it_answers("the exchange's time", lambda: sample(self._rest, self._clock))
                tasks.create_task(follow_clock(self._rest, self._clock), name="clock")
                tasks.create_task(self._tick_on(), name="ticks")
                tasks.create_task(self._make_partitions(), name="partitions")
                tasks.create_task(self._start_symbols(), name="start")
                tasks.create_task(
                    Reasker(self._rest, self._engine, self._clock, self._writer).run(), name="lost trades"
                )
                tasks.create_task(self._reconciler.run(self._streams), name="reconciliation")
        finally:
            await self._write_the_rest(writing)

    async def _write_the_rest(self, writing: "asyncio.Task[None]") -> None:
        self._writer.stop()
        try:
            async with asyncio.timeout(STOP_S):
                await writing
        except TimeoutError:
            if not await self._writer.save():
                # The next start asks for them by id.
                _log.error("stopped before all was written", pending_trades=self._writer.pending_trades)
        finally:
            await self._writer.close()

    def health(self) -> dict[str, Any]:
        """What the heartbeat says; plain JSON."""
        now_ms = self._clock.now_ms()
        return {
            "exchange": EXCHANGE,
            "feed": self._feed_state[0],
            "feed_detail": self._feed_state[1],
            "clock_rate": round(self._clock.rate, 3),
            "history": self._history.state,
            "received_trades": self._received,
            "refused_trades": self._refused,
            **self._writer.health(),
            "reconciliation": self._reconciler.health(),
            "bus_away": self._publisher.is_away,
            "bus_waiting": self._publisher.waiting,
            "published": self._publisher.published,
            "symbols": {symbol: self._symbol_health(symbol, now_ms) for symbol in self._symbols},
        }

    def _symbol_health(self, symbol: str, now_ms: int) -> dict[str, Any]:
        stream = self._streams.get(symbol)
        if (refusal := self._starting.unlisted.get(symbol)) is not None:
            return {"state": "unlisted", "detail": str(refusal)}
        if stream is None:
            return {"state": "starting", "waiting_trades": len(self._early[symbol])}
        return {
            "state": "live",
            "start_ms": stream.start_ms,
            "last_trade_id": stream.continuity.last_id,
            "last_trade_ms": stream.builder.latest_ms,
            "lag_ms": max(0, now_ms - stream.builder.latest_ms),
            "closed_through_ms": stream.builder.closed_through_ms,
            "trades": stream.trades,
            "duplicates": stream.continuity.duplicates,
            "missing_ids": sum(gap.size for gap in stream.continuity.gaps),
            "refilled": self._refillers[symbol].refilled,
        }

    # --- starting

    async def _start_symbols(self) -> None:
        # What an earlier run left on disk first: where to resume is read from the database.
        await self._writer.recovered.wait()
        await self._starting.first(self._symbols)
        await until_it_answers("the ledger", self._tell_abandoned)
        await self._load_history(self._streams)
        await until_it_answers("instruments", self._store_instruments)
        while self._starting.unlisted:
            await asyncio.sleep(self._ask_unlisted_s)
            if listed := await self._starting.again():
                await self._subscribe()
                await self._load_history(listed)

    async def _subscribe(self) -> None:
        """Connect the feed, anew if it runs: what it was refused it asks for only then."""
        assert self._tasks is not None
        if self._feeding is not None:
            self._feeding.cancel()
            await asyncio.wait({self._feeding})
        running = self._feed.run(self._symbols, self._on_trades, self._on_feed_state)
        self._feeding = self._tasks.create_task(running, name="feed")

    async def _load_history(self, symbols: Collection[str]) -> None:
        await self._history.run({symbol: self._streams[symbol] for symbol in symbols})
        self._on_event("info", "history_complete", f"history of {', '.join(symbols)} is complete")

    async def _start_symbol(self, symbol: str) -> None:
        is_numbered = self._rest.consecutive_ids
        by_id = partial(open_stream, largest_refill=self._largest_refill)
        open_it = by_id if is_numbered else open_stream_by_time
        opened = await until_it_answers(
            f"start of {symbol}", lambda: open_it(symbol, self._timeframes, self._rest, self._engine)
        )
        stream = opened.stream
        refiller = (Refiller if is_numbered else TimeRefiller)(
            symbol,
            stream.continuity,
            self._rest,
            self._clock,
            self._on_trades,
            self._ledger,
            self._on_event,
            opened.adopted,
        )
        self._streams[symbol], self._refillers[symbol] = stream, refiller
        assert self._tasks is not None
        self._tasks.create_task(refiller.run(), name=f"refill {symbol}")
        note = "too large to refill by id: its candles come from the exchange's history"
        gaps = []
        for hole in opened.too_large:
            gaps.append(GapRecord(symbol, *hole, "unfillable", self._clock.now_ms(), note, "start"))
            self._on_event("warning", "gap_by_candles", f"{symbol}: trades {hole[0]} to {hole[1]} {note}")
        # Together: a kill in between would leave trades behind a hole that nobody knows of.
        self._writer.put(trades=opened.new, gaps=gaps)
        # The feed could not doubt the time of a trade before the exchange's clock was known.
        early = self._early.pop(symbol, [])
        self._on_trades([trade for trade in early if self._clock.doubt(trade.timestamp_ms) is None])
        refiller.feed_is(self._feed_state[0])
        refiller.wake()

    async def _tell_abandoned(self) -> None:
        left = await asyncio.to_thread(abandoned, self._engine, self._symbols)
        for symbol, holes in left.items():
            text = f"{symbol}: {holes} holes stay open, because it is not collected any more"
            self._on_event("warning", "gap_abandoned", text)

    async def _make_partitions(self) -> None:
        """Have those of today and the next days: at midnight nobody should have to make any."""
        while True:
            await until_it_answers("partitions", lambda: asyncio.to_thread(self._ensure_partitions))
            await asyncio.sleep(PARTITIONS_EVERY_S)

    def _ensure_partitions(self) -> None:
        now_ms = self._clock.now_ms()
        with self._engine.begin() as connection:
            ensure_partitions(connection, now_ms, now_ms + partitions_ahead_ms(self._clock.rate))

    async def _store_instruments(self) -> None:
        listed = await self._rest.instruments()
        await asyncio.to_thread(upsert_instruments, self._engine, listed)

    # --- trades in

    def _on_trades(self, trades: Sequence[Trade]) -> None:
        """From the feed and from refills. Never awaits."""
        if not trades:
            return
        self._received += len(trades)
        if self._writer.is_full:
            # Left out here, these ids show as a gap later and are asked for again.
            self._refused += len(trades)
            for symbol in {trade.symbol for trade in trades} & self._refillers.keys():
                self._refillers[symbol].refused()
            return
        for symbol, run in groupby(trades, key=attrgetter("symbol")):
            ours = list(run)
            stream = self._streams.get(symbol)
            if stream is None:
                self._keep_early(symbol, ours)
                continue
            new = stream.take(ours)
            if new:
                self._writer.put(trades=new)
                self._changed.add(symbol)
                self._clock.observe(stream.builder.latest_ms)
            if stream.continuity.gaps:
                self._refillers[symbol].wake()

    def _keep_early(self, symbol: str, trades: list[Trade]) -> None:
        """Until the symbol has started; what is too much then is asked for by id."""
        if len(self._early[symbol]) < EARLY_TRADES:
            self._early[symbol] += trades
        else:
            self._refused += len(trades)

    # --- candles out

    async def _tick_on(self) -> None:
        while True:
            for stream in list(self._streams.values()):
                self._advance(stream)
            await asyncio.sleep(TICK_S)

    def _advance(self, stream: SymbolStream) -> None:
        # The clock may be wrong by so much: a candle must not close that much early.
        grace_ms = int((GRACE_S * 1000 + self._clock.uncertainty_ms) * self._clock.rate)
        now_ms = self._clock.now_ms()
        released, verdict = stream.advance(now_ms, grace_ms, time.monotonic())
        self._release(released)
        if verdict is Verdict.ASK and stream.symbol not in self._asking and self._tasks is not None:
            task = self._tasks.create_task(self._ask_quiet(stream, now_ms - grace_ms))
            self._asking[stream.symbol] = task
        if stream.symbol in self._changed:
            self._publish_running(stream, now_ms)

    def _release(self, candles: Sequence[Candle]) -> None:
        self._writer.put(candles=candles)

    def _put_right(self, trades: Sequence[Trade], candles: Sequence[Candle]) -> None:
        self._writer.put(trades=trades, candles=candles)

    def _publish_running(self, stream: SymbolStream, now_ms: int) -> None:
        last_at, last_close_ms = self._published.get(stream.symbol, (0.0, 0))
        close_ms = Timeframe.M1.close_ms(stream.builder.latest_ms)
        at = time.monotonic()
        if at - last_at < RUNNING_S and close_ms == last_close_ms:
            return
        self._changed.discard(stream.symbol)
        running = stream.builder.running()
        if running:
            self._published[stream.symbol] = (at, close_ms)
            self._publisher.running(running)
            self._publisher.last(running[0], stream.builder.latest_ms, now_ms)

    async def _ask_quiet(self, stream: SymbolStream, through_ms: int) -> None:
        """Ask for the newest trades: either there are some we lack, or the market is quiet."""
        try:
            if self._feed_state[0] != "live":
                # Then only REST could show trades that we lack, and it may lag behind them.
                await asyncio.sleep(REFILL_BUDGET_S)
            recent = await self._rest.recent_trades(stream.symbol, 5)
            if not self._knows(stream, recent):
                # The feed may be on the way with them, as aggregates that single matches would cut up.
                await asyncio.sleep(PATIENCE_S)
                if not self._knows(stream, recent):
                    self._refillers[stream.symbol].newer(recent)
            if self._knows(stream, recent):
                stream.confirm_quiet(through_ms)
        except (Unavailable, BadInput) as error:  # bad: no longer listed, which ends no other symbol
            _log.warning("cannot ask for the newest trades", symbol=stream.symbol, reason=str(error))
            await asyncio.sleep(QUIET_RETRY_S)
        finally:
            self._asking.pop(stream.symbol, None)

    def _knows(self, stream: SymbolStream, recent: Sequence[Trade]) -> bool:
        known = stream.continuity.last_id
        return not recent or (known is not None and recent[-1].trade_id <= known)

    # --- the rest

    def _ledger(self, record: GapRecord) -> None:
        self._writer.put(gaps=[record])

    def _on_feed_state(self, state: str, detail: str) -> None:
        # Degraded: one of several sockets is away; moving: a planned change of sockets. The trades flow.
        self._feed_state = ("live" if state in {"degraded", "moving"} else state, detail)
        for refiller in self._refillers.values():
            refiller.feed_is(state)
        level = "info" if state in {"live", "connecting", "moving"} else "warning"
        self._on_event(level, f"feed_{state}", detail)

    async def _watch(self, writing: "asyncio.Task[None]") -> None:
        """An error of the writer ends the collector; its own end does not come before ours."""
        await asyncio.shield(writing)


def partitions_ahead_ms(rate: float) -> int:
    """How far ahead of the exchange's clock partitions are made: two days, and more for a clock that runs so
    fast that they would be used up before the next look."""
    return int(max(2 * DAY_MS, 3 * PARTITIONS_EVERY_S * 1000 * rate))
