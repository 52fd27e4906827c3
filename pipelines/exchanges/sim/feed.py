"""The feed: moves through virtual time and pushes what happened to those who subscribed."""

import asyncio
import time
from collections import defaultdict

import msgspec
import numpy as np

from pipelines.exchanges.sim import book, encode
from pipelines.exchanges.sim.bars import BARS
from pipelines.exchanges.sim.candle_view import CandleView
from pipelines.exchanges.sim.connection import Connection, Subscription
from pipelines.exchanges.sim.days import DAY_MS
from pipelines.exchanges.sim.exchange import Exchange
from pipelines.exchanges.sim.pushes import Pushes
from pipelines.exchanges.sim.rest import RestApi

TICK_S = 0.01
SLOW_TICK_S = 0.1  # of tickers and books
CANDLE_S = 1.0
ROWS_A_FRAME = 100
SINGLE_FRAMES = 4  # up to this many rows go out one a frame, as OKX sends them at its usual pace
ROWS_A_STEP = 4_000  # wanted at speed max
ROOM_BYTES = 1 << 20  # at speed max the feed waits for a reader that is further behind
SNAPSHOT_DEPTHS = {"books5": 5, "bbo-tbt": 1}
BOOK_DEPTH = 50
FIRST_BOOK_NUMBER = 1
"""After a reset; the numbers of a book begin with the id of its last trade."""


class Feed:
    """Subscribers by channel, and the loop that serves them.

    book_heartbeat_s: an unchanged book is confirmed after so many wall seconds
    """

    def __init__(self, exchange: Exchange, api: RestApi, book_heartbeat_s: float = 60.0) -> None:
        self.specs = exchange.history.specs
        self._history = exchange.history
        self._clock = exchange.clock
        self._api = api
        self._pushes = Pushes(exchange.history, exchange.delays)
        self._view = CandleView(exchange.history, exchange.delays)
        self._shown_ms = exchange.clock.now_ms()
        self._listeners: defaultdict[Subscription, set[Connection]] = defaultdict(set)
        self._subscribed = asyncio.Event()
        self._slow_at = 0.0
        self._candle_at: dict[Subscription, float] = {}
        self._candle_open: dict[Subscription, int] = {}
        self._last_rows: dict[Subscription, bytes] = {}
        self._books: dict[Subscription, book.Book] = {}
        self._book_heartbeat_s = book_heartbeat_s
        self._book_at: dict[Subscription, float] = {}
        self._book_resets: set[Subscription] = set()
        self._step_ms = 1_000.0

    def add(self, connection: Connection, subscription: Subscription) -> None:
        """Start to serve a connection: first the latest state, then whatever follows it without a hole."""
        self._listeners[subscription].add(connection)
        self._subscribed.set()
        for frame in self._first_frames(subscription):
            connection.push(frame)

    def remove(self, connection: Connection, subscription: Subscription) -> None:
        """Stop to serve a connection."""
        listeners = self._listeners.get(subscription)
        if listeners is not None:
            listeners.discard(connection)
            if not listeners:
                del self._listeners[subscription]
                self._candle_open.pop(subscription, None)
                self._candle_at.pop(subscription, None)
                self._last_rows.pop(subscription, None)
                self._books.pop(subscription, None)
                self._book_at.pop(subscription, None)
                self._book_resets.discard(subscription)
        if not self._listeners:
            self._subscribed.clear()

    def reset_book_numbers(self) -> None:
        """As after maintenance: the next push of each book is numbered below the one before it."""
        self._book_resets.update(self._books)

    async def run(self) -> None:
        """Push for ever."""
        while True:
            if self._clock.speed == "max":
                await self._subscribed.wait()
                await self._room()
                self._step()
                ended = self._shown_ms >= self._history.source.end_ms()
                await asyncio.sleep(TICK_S if ended else 0)
            else:
                await asyncio.sleep(TICK_S)
                self._push_trades(self._clock.now_ms())
            self._push_periodic(time.monotonic())

    def _step(self) -> None:
        """At speed max: go forward by a stretch that holds about ROWS_A_STEP rows."""
        end_ms = max(self._shown_ms, self._history.source.end_ms())
        pushed = self._push_trades(min(self._shown_ms + max(1, int(self._step_ms)), end_ms))
        self._clock.advance_to(self._shown_ms)
        wanted = self._step_ms * ROWS_A_STEP / max(pushed, ROWS_A_STEP / 4)
        self._step_ms = min(max(wanted, 10.0), DAY_MS / 4)

    async def _room(self) -> None:
        readers = {reader for listeners in self._listeners.values() for reader in listeners}
        while any(reader.pending_bytes > ROOM_BYTES and reader.subscriptions for reader in readers):
            await asyncio.sleep(0.001)

    def _push_trades(self, now_ms: int) -> int:
        """Push the trades after the time shown up to now; returns the number of rows."""
        before, self._shown_ms = self._shown_ms, max(now_ms, self._shown_ms)
        rows_pushed = 0
        for subscription in list(self._listeners):
            if subscription.channel not in ("trades", "trades-all"):
                continue
            rows = self._trade_rows(subscription, before, self._shown_ms)
            rows_pushed += len(rows)
            self._push_rows(subscription, rows)
        return rows_pushed

    def _trade_rows(self, subscription: Subscription, before_ms: int, now_ms: int) -> list[bytes]:
        """What is pushed after `before_ms` up to and including `now_ms`."""
        symbol = subscription.inst_id
        if subscription.channel == "trades-all":
            return [
                row
                for trades, which in self._pushes.matches(symbol, before_ms, now_ms)
                for row in encode.single_trades(self.specs[symbol], trades.only(which))
            ]
        return [
            row
            for trades, which in self._pushes.aggregates(symbol, before_ms, now_ms)
            for row in encode.aggregated_trades(self.specs[symbol], trades, which)
        ]

    def _push_rows(self, subscription: Subscription, rows: list[bytes]) -> None:
        size = 1 if len(rows) <= SINGLE_FRAMES or subscription.channel == "trades-all" else ROWS_A_FRAME
        for start in range(0, len(rows), size):
            chunk = rows[start : start + size]
            self._send(subscription, encode.frame(subscription.channel, subscription.inst_id, chunk))

    def _send(self, subscription: Subscription, frame: bytes) -> None:
        for connection in self._listeners.get(subscription, ()):
            connection.push(frame)

    def _push_periodic(self, now: float) -> None:
        slow = now >= self._slow_at
        if slow:
            self._slow_at = now + SLOW_TICK_S
        for subscription in list(self._listeners):
            channel = subscription.channel
            if channel.startswith("candle"):
                self._push_candles(subscription, now)
            elif channel == "books" and slow:
                self._push_changes(subscription, now)
            elif channel == "bbo-tbt" or (slow and channel in ("tickers", "books5")):
                self._push_state(subscription)

    def _push_state(self, subscription: Subscription) -> None:
        row = self._state_row(subscription)
        if self._last_rows.get(subscription) != _without_time(row):
            self._last_rows[subscription] = _without_time(row)
            self._send(subscription, encode.frame(subscription.channel, subscription.inst_id, [row]))

    def _state_row(self, subscription: Subscription) -> bytes:
        spec = self.specs[subscription.inst_id]
        if subscription.channel == "tickers":
            row = self._api.ticker_row(spec)
            row["ts"] = row.pop("ts")
            return msgspec.json.encode(row)
        depth = SNAPSHOT_DEPTHS[subscription.channel]
        state = book.snapshot(self._history, spec, self._shown_ms, depth)
        fields = state.rest_row(spec)
        ts = fields.pop("ts")
        if subscription.channel == "books5":
            fields["instId"] = spec.symbol
        return msgspec.json.encode({**fields, "ts": ts})

    def _push_changes(self, subscription: Subscription, now: float) -> None:
        spec, old = self.specs[subscription.inst_id], self._books.get(subscription)
        if old is None:
            return
        new = book.snapshot(self._history, spec, self._shown_ms, BOOK_DEPTH)
        asks, bids = book.changes(old.asks, new.asks), book.changes(old.bids, new.bids)
        if asks or bids:
            # several states of the book may follow one trade, so its sequence runs by itself
            number = FIRST_BOOK_NUMBER if subscription in self._book_resets else old.seq_id + 1
            self._book_resets.discard(subscription)
        elif now - self._book_at.setdefault(subscription, now) >= self._book_heartbeat_s:
            number = old.seq_id
        else:
            return
        new = book.Book(new.bids, new.asks, new.ts, number)
        self._books[subscription], self._book_at[subscription] = new, now
        row = _book_row(book.levels(spec, asks), book.levels(spec, bids), new, old.seq_id)
        self._send(subscription, encode.frame("books", spec.symbol, [row], "update"))

    def _push_candles(self, subscription: Subscription, now: float) -> None:
        if now < self._candle_at[subscription]:
            return
        self._candle_at[subscription] = now + CANDLE_S
        bar = BARS[subscription.channel.removeprefix("candle")]
        running = bar.index(self._shown_ms)
        opens = bar.opens(bar.index(self._candle_open[subscription]), running)
        rows = self._view.rows(subscription.inst_id, bar, opens, self._shown_ms)
        if not len(rows):
            return
        spec = self.specs[subscription.inst_id]
        complete = self._view.confirmed(spec.symbol, bar, rows, self._shown_ms)
        # those that are not confirmed yet come again
        self._candle_open[subscription] = int(rows.open_ms[complete.argmin()])
        encoded = encode.candles(spec, rows, complete)
        state = b"".join(encoded)
        if state == self._last_rows.get(subscription):
            return
        self._last_rows[subscription] = state
        for start in range(0, len(encoded), ROWS_A_FRAME):
            chunk = encoded[start : start + ROWS_A_FRAME]
            self._send(subscription, encode.frame(subscription.channel, spec.symbol, chunk))

    def _first_frames(self, subscription: Subscription) -> list[bytes]:
        channel, inst_id = subscription.channel, subscription.inst_id
        if channel == "status":
            return []
        if channel == "instruments":
            rows = [msgspec.json.encode(row) for row in self._api.instrument_rows()]
            head = b'{"arg":{"channel":"instruments","instType":"SPOT"},"data":['
            return [head + b",".join(rows) + b"]}"]
        if channel in ("trades", "trades-all"):
            return self._last_trade(subscription)
        if channel == "books":
            return [self._snapshot(subscription)]
        if channel.startswith("candle"):
            bar = BARS[channel.removeprefix("candle")]
            index = bar.index(self._shown_ms)
            self._candle_open.setdefault(subscription, bar.open_ms(index))
            self._candle_at.setdefault(subscription, time.monotonic() + CANDLE_S)
            rows_ = self._view.rows(inst_id, bar, bar.opens(index, index), self._shown_ms)
            first = encode.candles(self.specs[inst_id], rows_, np.zeros(len(rows_), np.bool_))
            return [encode.frame(channel, inst_id, first)] if first else []
        row = self._state_row(subscription)
        self._last_rows.setdefault(subscription, _without_time(row))
        return [encode.frame(channel, inst_id, [row])]

    def _last_trade(self, subscription: Subscription) -> list[bytes]:
        last = self._history.newest_trades(subscription.inst_id, self._shown_ms, 1)
        if not len(last):
            return []
        at = int(last.ts[0])
        rows = self._trade_rows(subscription, at - 1, at)
        return [encode.frame(subscription.channel, subscription.inst_id, rows[-1:])] if rows else []

    def _snapshot(self, subscription: Subscription) -> bytes:
        spec, state = self.specs[subscription.inst_id], self._books.get(subscription)
        if state is None:
            state = book.snapshot(self._history, spec, self._shown_ms, BOOK_DEPTH)
            self._books[subscription] = state
        row = _book_row(book.levels(spec, state.asks), book.levels(spec, state.bids), state, -1)
        return encode.frame("books", spec.symbol, [row], "snapshot")


def _without_time(row: bytes) -> bytes:
    """A state row up to its last field, the time: what tells whether anything changed."""
    return row[: row.rindex(b'"ts"')]


def _book_row(asks: list[list[str]], bids: list[list[str]], state: book.Book, previous: int) -> bytes:
    return msgspec.json.encode(
        {
            "asks": asks,
            "bids": bids,
            "ts": str(state.ts),
            "checksum": 0,
            "prevSeqId": previous,
            "seqId": state.seq_id,
        }
    )
