"""One reader of the bus and of Postgres for all browsers of this process.

The hub keeps the newest candles, prices, bots and the feed's state; a browser's stream asks what changed
since it last looked. Twenty browsers cost one subscription and one query, and a slow one delays nobody.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from core.clock import Clock
from core.errors import Unavailable
from core.timeframes import Timeframe
from dashboards.feed import Feed
from dashboards.growing import Growing
from dashboards.queries import bots as bot_queries
from dashboards.queries import market as market_queries
from dashboards.queries import system as system_queries
from dashboards.rows import bot_row, day_start, epoch_ms
from pipelines.bus.base import MARKER, Bus
from pipelines.bus.books import KEPT_S as BOOK_KEPT_S
from pipelines.warehouse.backups import backup_age_s
from pipelines.warehouse.controls import kill_switch_is_on
from pipelines.warehouse.wal_archive import archive_state

CHANNELS = ("market:*", "signals:*", "status:*", "book:*", "system:events")
REFRESH_S = 2.0
DEBOUNCE_S = 0.3
LATE_MS = 15_000
"""A hub whose last whole turn is older than this stands still."""
MINUTES = Timeframe.M1.value
"""Pushed of every symbol: longer candles that are not collected are made of them."""
LATEST_MS = 5 * 60_000
"""A minute that closed longer ago is no last price, where none was heard yet."""
KEPT_CANDLES = 64
KEPT_FILLS = 300
KEPT_SESSIONS = 2000
NO_BOOK: dict[str, Any] = {"bids": [], "asks": []}

_log = structlog.get_logger("dashboards")


@dataclass(slots=True)
class Watch:
    """What one browser looks at."""

    bot: str | None = None
    symbol: str | None = None
    timeframe: str | None = None
    book: bool = False


@dataclass(slots=True, eq=False)
class Listener:
    """One browser's stream, woken when something that it shows has changed."""

    session: str
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, timeout_s: float) -> bool:
        """Whether something changed since the last call, at latest after `timeout_s`."""
        try:
            await asyncio.wait_for(self.woken.wait(), timeout_s)
        except TimeoutError:
            return False
        self.woken.clear()
        return True


@dataclass(slots=True)
class Series:
    """The newest changes of one symbol and timeframe: (sequence, candle)."""

    sequence: int = 0
    changes: deque[tuple[int, dict[str, Any]]] = field(default_factory=lambda: deque(maxlen=KEPT_CANDLES))

    def add(self, candle: dict[str, Any]) -> None:
        """Take in a running or final candle."""
        self.sequence += 1
        self.changes.append((self.sequence, candle))

    def since(self, sequence: int) -> list[dict[str, Any]] | None:
        """Newest state of each candle changed after `sequence`, oldest first; None: too far behind."""
        if sequence < self.sequence - len(self.changes):
            return None
        latest: dict[int, dict[str, Any]] = {}
        for number, candle in self.changes:
            if number > sequence:
                latest[candle["t"]] = candle
        return [latest[key] for key in sorted(latest)]


class Hub:
    """The process's view of the platform; `run` keeps it fresh, everything else only reads memory."""

    def __init__(self, engine: Engine, bus: Bus, feed: Feed, clock: Clock) -> None:
        self._engine = engine
        self._bus = bus
        self._clock = clock
        self._stale = asyncio.Event()
        self._listeners: set[Listener] = set()
        self.feed = feed
        self.epoch = 0  # grows when messages may have been missed: charts must be drawn again
        self.read = False  # whether the database has answered once
        self.prices: dict[str, float] = {}
        self._priced_ms: dict[str, int] = {}
        self.references: dict[str, float | None] = {}  # of symbols that are looked at: the price a day ago
        self._referred: tuple[set[str], datetime] | None = None
        self.series: dict[tuple[str, str], Series] = {}
        self._pushed: set[tuple[str, str]] = set()
        self._growing: dict[tuple[str, str], Growing] = {}
        self.bots: list[dict[str, Any]] = []
        self.bots_version = 0
        self.fills: dict[str, list[dict[str, Any]]] = {}
        self.indicators: dict[str, dict[str, Any]] = {}
        self._books: dict[str, tuple[int, dict[str, Any]]] = {}
        self.sessions: OrderedDict[str, Watch] = OrderedDict()
        self._rows: list[dict[str, Any]] = []
        self._said: tuple[str, bool] | None = None
        self._fill_counts: dict[str, int] = {}
        self._turned_ms = clock.now_ms()
        self._failed: set[tuple[str, type[Exception]]] = set()

    async def run(self) -> None:
        """Follow bus and database until cancelled: what nobody expected is logged, and costs no more than the
        message or the turn that it happened in."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._refresh_forever())

    @contextmanager
    def listening(self, session: str) -> Iterator[Listener]:
        """A browser's ear, until the block ends; `session` names what it watches."""
        listener = Listener(session)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def watch(self, session: str, watch: Watch) -> None:
        """Remember what a browser looks at; the oldest of many sessions is forgotten."""
        self.sessions[session] = watch
        self.sessions.move_to_end(session)
        while len(self.sessions) > KEPT_SESSIONS:
            self.sessions.popitem(last=False)
        for listener in self._listeners:
            if listener.session == session:
                listener.woken.set()

    def grow(self, symbol: str, timeframe: str, drawn: dict[str, Any], through_ms: int) -> None:
        """Keep the last candle of a chart live whose timeframe nobody pushes: `drawn` (as `candle_point` has
        it), in which all minutes up to `through_ms` are, goes on with the minutes that came since."""
        key, minutes = (symbol, timeframe), self.series.get((symbol, MINUTES), Series())
        known = self._growing.get(key)
        if key in self._pushed or (known is not None and known.through_ms > through_ms):
            return
        self._growing[key] = Growing(Timeframe(timeframe), drawn, through_ms)
        for minute in minutes.since(minutes.sequence - len(minutes.changes)) or []:
            self._grow(key, minute)

    def refresh_soon(self) -> None:
        """Read the bots again now rather than at the next turn."""
        self._stale.set()

    def now(self) -> datetime:
        """Wall time."""
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)

    def feed_now_ms(self) -> int:
        """Wall time, epoch ms."""
        return self._clock.now_ms()

    def exchange_now(self) -> datetime:
        """The exchange's time: from the daemon's heartbeat, else the wall."""
        return datetime.fromtimestamp(self.feed.exchange_ms(self._clock.now_ms()) / 1000, UTC)

    def late(self) -> bool:
        """Whether bots and heartbeats have not been looked at for a quarter of a minute."""
        return self._clock.now_ms() - self._turned_ms > LATE_MS

    def _wake(self, symbol: str | None = None) -> None:
        """Wake every browser, or those that watch the symbol: one woken for nothing would be resting when
        its own price comes."""
        for listener in self._listeners:
            watch = self.sessions.get(listener.session)
            if symbol is None or (watch is not None and watch.symbol == symbol):
                listener.woken.set()

    async def _listen(self) -> None:
        while True:
            try:
                async for channel, message in self._bus.subscribe(CHANNELS):
                    self._hear(channel, message)
            except Exception as error:
                self._log_once("subscription", error)
            await asyncio.sleep(REFRESH_S)
            self._missed()

    def _hear(self, channel: str, message: dict[str, Any]) -> None:
        """Take a message in; one of another version of the platform is left out."""
        try:
            self.take(channel, message)
        except Exception as error:
            self._log_once(channel.partition(":")[0], error)

    def _log_once(self, where: str, error: Exception) -> None:
        """With its stack, but not again at each message and turn for as long as the cause stays."""
        if (where, type(error)) not in self._failed:
            self._failed.add((where, type(error)))
            _log.error("hub_failed", where=where, exc_info=error)

    def take(self, channel: str, message: dict[str, Any]) -> None:
        """A message of the bus."""
        kind, _, name = channel.partition(":")
        if kind == "book":
            # Told four times a second for each symbol: it goes out with the next update, and wakes nobody.
            self._books[name] = (self._clock.now_ms(), book_point(message))
            return
        if kind == "market":
            self._take_candle(name, message)
            self._wake(name)
            return
        if kind == "signals":
            self.indicators[name] = indicator_point(message)
            self._stale.set()
        elif kind == "status":
            self._stale.set()
        elif channel == MARKER and message["event"] == "reconnected":
            self._missed()

    def _missed(self) -> None:
        """Messages may have been lost: charts are drawn anew, bots read at once."""
        self.epoch += 1
        for key in self._growing:  # without what was lost: begun anew as the charts are drawn
            self.series.pop(key, None)
        self._growing.clear()
        self._stale.set()
        self._wake()

    def book(self, symbol: str) -> dict[str, Any]:
        """The best levels of a symbol as the page wants them; without levels when none was told lately."""
        told_ms, book = self._books.get(symbol, (0, NO_BOOK))
        return book if self._clock.now_ms() - told_ms <= BOOK_KEPT_S * 1000 else NO_BOOK

    def _take_candle(self, symbol: str, message: dict[str, Any]) -> None:
        candle, key = candle_point(message), (symbol, message["timeframe"])
        self._pushed.add(key)
        self._growing.pop(key, None)
        self.series.setdefault(key, Series()).add(candle)
        if message["timeframe"] == MINUTES:
            for made in self._growing:
                if made[0] == symbol:
                    self._grow(made, candle)
        self._take_price(symbol, message["timeframe"], candle)
        self.feed.market_message(self._clock.now_ms(), message.get("published_ms"))

    def _take_price(self, symbol: str, timeframe: str, candle: dict[str, Any]) -> None:
        """A candle that is not over has the last price; a minute that is, only if it is the newest: those of
        the past are told again as they are put right."""
        now_ms = self.feed.exchange_ms(self._clock.now_ms())
        newest_ms = self._priced_ms.get(symbol, now_ms - LATEST_MS)
        minute = timeframe == MINUTES
        if not candle["final"] or (minute and candle["t"] >= newest_ms):
            self.prices[symbol] = candle["c"]
            if minute:
                self._priced_ms[symbol] = candle["t"]

    def _grow(self, key: tuple[str, str], minute: dict[str, Any]) -> None:
        for candle in self._growing[key].add(minute):
            self.series.setdefault(key, Series()).add(candle)

    async def _refresh_forever(self) -> None:
        while True:
            try:
                await self._turn()
                self._turned_ms = self._clock.now_ms()
                self._failed = {failed for failed in self._failed if failed[0] != "turn"}
            except Exception as error:
                self._log_once("turn", error)
            try:
                await asyncio.wait_for(self._stale.wait(), REFRESH_S)
                await asyncio.sleep(DEBOUNCE_S)
            except TimeoutError:
                pass
            self._stale.clear()

    async def _turn(self) -> None:
        """Read everything once; a server that is away is said by the feed."""
        try:
            await asyncio.to_thread(self._read, self._looked_at())
            self.feed.database_error = None
            self.read = True
        except SQLAlchemyError as error:
            self.feed.database_lost(self._clock.now_ms(), error)
        await self._probe_bus()
        self._publish_rows()

    async def _probe_bus(self) -> None:
        """A subscription reconnects in silence: only a question tells whether the bus is there."""
        try:
            await self._bus.get_value("dashboard:probe")
            self.feed.bus_error = None
        except Unavailable as error:
            self.feed.bus_error = str(error)

    def _looked_at(self) -> set[str]:
        """Symbols on the screens of now."""
        watches = (self.sessions.get(listener.session) for listener in self._listeners)
        return {watch.symbol for watch in watches if watch is not None and watch.symbol is not None}

    def _refer(self, symbols: set[str]) -> None:
        """Read what the last day's change is measured by, once a minute of the exchange and as somebody looks
        at another symbol."""
        now = self.exchange_now()
        asked = (symbols, now.replace(second=0, microsecond=0))
        if asked != self._referred:
            before, engine = now - timedelta(days=1), self._engine
            self.references = {name: market_queries.price_at(engine, name, before) for name in symbols}
            self._referred = asked

    def _read(self, looked_at: set[str]) -> None:
        """In a worker thread: heartbeats, safeguards, bots, the fills of those that traded, prices of a day
        ago."""
        self.feed.components(system_queries.components(self._engine))
        self.feed.kill_switch = kill_switch_is_on(self._engine)
        self.feed.archive = archive_state(self._engine)
        self.feed.backup_age_s = backup_age_s(self._engine)
        rows = bot_queries.overview(self._engine, day_start(self.exchange_now()))
        for row in rows:
            if self._fill_counts.get(row["name"]) != row["fills"]:
                newest = bot_queries.fills(self._engine, row["id"], KEPT_FILLS)
                self.fills[row["name"]] = [fill_point(fill) for fill in reversed(newest)]
                self._fill_counts[row["name"]] = row["fills"]
        self._rows = rows
        self._refer(looked_at)

    def _publish_rows(self) -> None:
        now = self.now()
        shown = [bot_row(row, self.prices.get(row["symbol"]), now) for row in self._rows]
        said = (self.feed.state(self._clock.now_ms()), self.feed.kill_switch)
        if shown == self.bots and said == self._said:
            return
        self._said = said
        if shown != self.bots:
            self.bots = shown
            self.bots_version += 1
        self._wake()


def candle_point(message: dict[str, Any]) -> dict[str, Any]:
    """A market message as the chart wants it: t (close, epoch ms), o, h, l, c, v, final."""
    closed = datetime.fromisoformat(message["timestamp"])
    point: dict[str, Any] = {"t": epoch_ms(closed), "final": bool(message.get("final"))}
    for short, name in (("o", "open"), ("h", "high"), ("l", "low"), ("c", "close"), ("v", "volume")):
        point[short] = float(message[name])
    return point


def book_point(message: dict[str, Any]) -> dict[str, Any]:
    """An order book as the page wants it: bids and asks as [price, size], best first."""
    return {side: [[float(price), float(size)] for price, size in message[side]] for side in ("bids", "asks")}


def indicator_point(message: dict[str, Any]) -> dict[str, Any]:
    """What a strategy saw, as the chart wants it: t (close, epoch ms), values by name."""
    values = message.get("indicators") or {}
    return {
        "t": epoch_ms(datetime.fromisoformat(message["timestamp"])),
        "values": {name: None if value is None else float(value) for name, value in values.items()},
    }


def fill_point(fill: dict[str, Any]) -> dict[str, Any]:
    """A trade as the chart's markers want it: id, t (epoch ms), side, price, quantity, fees, pnl."""
    return {
        "id": fill["id"],
        "t": epoch_ms(fill["timestamp"]),
        "side": fill["side"],
        "price": float(fill["price"]),
        "quantity": float(fill["quantity"]),
        "fees": float(fill["fees"]),
        "pnl": None if fill["pnl"] is None else float(fill["pnl"]),
    }
