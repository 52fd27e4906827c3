"""Live order books from OKX, on connections of their own: what goes wrong here touches no trade."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from core.errors import Unavailable
from pipelines.exchanges.okx.backoff import Backoff
from pipelines.exchanges.okx.book import Applied, OrderBook
from pipelines.exchanges.okx.codec import Codec
from pipelines.exchanges.okx.frames import Ack, BookPush, ErrorFrame, Notice
from pipelines.exchanges.okx.hosts import Hosts, WrongUrl, refused_channel
from pipelines.exchanges.okx.limits import (
    CONNECTIONS_PER_SECOND,
    SUBSCRIPTIONS_PER_HOUR,
    Budget,
    connection_budget,
)
from pipelines.exchanges.okx.session import UPGRADE_NOTICE
from pipelines.exchanges.okx.socket import Socket, dial
from pipelines.exchanges.okx.watch import Patience, Watch

BookChannel = Literal["books", "books5", "bbo-tbt"]
OnBook = Callable[[OrderBook], None]
OnState = Callable[[str, str], None]

SYMBOLS_A_CONNECTION = 25
"""OKX recommends fewer than 30 channels of deep books a connection."""
PATIENCE_S = 90.0
"""An unchanged book is confirmed every 60 s."""
STABLE_S = 30.0
TICK_S = 1.0
BUDGET_RETRY_S = 0.25


class OkxBookFeed:
    """Keeps the books of the symbols and tells of every change. `run` never returns by itself.

    channel: `books` (400 levels: a snapshot, then increments proven by sequence), `books5` or `bbo-tbt` (five
    levels or one, whole each time)
    """

    def __init__(self, hosts: Hosts, channel: BookChannel = "books", backoff: Backoff | None = None) -> None:
        self.codec = Codec()
        self.hosts = hosts
        self.channel = channel
        self.pushes = 0
        self.resyncs = 0
        self._backoff = backoff

    async def run(self, symbols: Sequence[str], on_book: OnBook, on_state: OnState) -> None:
        """Connect, subscribe, reconnect with back-off, for ever. `on_book` gets the changed book and must not
        block; `on_state(state, detail)` is told connecting, live, resync, refused, reconnecting."""
        on_state("connecting", self.hosts.current)
        groups = [
            symbols[at : at + SYMBOLS_A_CONNECTION] for at in range(0, len(symbols), SYMBOLS_A_CONNECTION)
        ]
        tasks = [asyncio.create_task(self._keep(group, on_book, on_state)) for group in groups]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, symbols: Sequence[str], on_book: OnBook, on_state: OnState) -> None:
        backoff = self._backoff or Backoff()
        while True:
            url = self.hosts.current
            session = BookSession(self, f"{url}/public", symbols, on_book, on_state)
            wrong = False
            try:
                await self._polite_wait()
                reason = await session.run()
            except Unavailable as error:
                reason, wrong = str(error), isinstance(error, WrongUrl)
            if session.lasted_s > STABLE_S:
                backoff.reset()
                self.hosts.worked(url)
            elif self.hosts.failed(url, wrong):
                reason += f"; trying {self.hosts.current}"
            delay = backoff.next_delay_s()
            on_state("reconnecting", f"{reason}; next attempt in {delay:.1f} s")
            await asyncio.sleep(delay)

    async def _polite_wait(self) -> None:
        """Dial only when nobody else has in the last second: trades come first."""
        budget = connection_budget(self.hosts.all[0])
        while budget.available() < CONNECTIONS_PER_SECOND:
            await asyncio.sleep(BUDGET_RETRY_S)
        await budget.wait()


class BookSession:
    """One connection, from dialling to its end, and the books it keeps."""

    def __init__(
        self, feed: OkxBookFeed, url: str, symbols: Sequence[str], on_book: OnBook, on_state: OnState
    ) -> None:
        self._feed = feed
        self._url = url
        self._books = {symbol: OrderBook(symbol) for symbol in symbols}
        self._on_book = on_book
        self._on_state = on_state
        self._patience = Patience(first_s=PATIENCE_S)
        self._requests = Budget(SUBSCRIPTIONS_PER_HOUR, 3600)
        self._asked = dict(enumerate(symbols))
        self._socket: Socket | None = None
        self._opened_at: float | None = None
        self._is_live = False
        self._watch = Watch((), self._patience, 0.0)

    @property
    def lasted_s(self) -> float:
        """Since the connection was opened."""
        return 0.0 if self._opened_at is None else time.monotonic() - self._opened_at

    async def run(self) -> str:
        """Until the connection is over; returns the reason. Unavailable when it does not come about."""
        self._socket = socket = await dial(self._url, self._on_text)
        self._opened_at = time.monotonic()
        self._watch = Watch(self._books, self._patience, self._opened_at)
        ticking = asyncio.create_task(self._tick(socket))
        try:
            for number, symbol in self._asked.items():
                self._request("subscribe", symbol, str(number))
            return await asyncio.shield(socket.ended)
        finally:
            socket.close("closed")
            for book in self._books.values():
                book.reset()
            ticking.cancel()
            # Not `await ticking` and its cancellation suppressed: that would swallow our own as well.
            await asyncio.gather(ticking, return_exceptions=True)

    def _request(self, operation: str, symbol: str, identity: str) -> None:
        assert self._socket is not None
        self._requests.reserve()
        argument = {"channel": self._feed.channel, "instId": symbol}
        self._socket.send(msgspec.json.encode({"id": identity, "op": operation, "args": [argument]}))

    async def _tick(self, socket: Socket) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            socket.tick(now)
            for symbol in self._watch.silent(now):
                self._patience.extend(symbol)
                self._resync(symbol, f"nothing for {self._patience.seconds(symbol):.0f} s")
            if (fault := self._watch.fault(now)) is not None:
                socket.close(fault)
                return

    def _resync(self, symbol: str, reason: str) -> None:
        """Subscribe again: the answer is a fresh snapshot."""
        assert self._socket is not None
        self._feed.resyncs += 1
        self._on_state("resync", f"{symbol}: {reason}")
        self._books[symbol].reset()
        if self._requests.available() < 2:
            self._socket.close("subscription budget of the connection is used up")
            return
        self._request("unsubscribe", symbol, "off")
        self._request("subscribe", symbol, "again")
        self._watch.probed(symbol, time.monotonic())

    def _on_text(self, raw: bytes) -> None:
        match self._feed.codec.decode(raw):
            case BookPush() as push:
                self._take(push)
            case Ack(event="subscribe", symbol=str(symbol)):
                self._watch.acknowledged(symbol, time.monotonic())
            case ErrorFrame() as error:
                self._refused(error)
            case Notice(code=code) if code == UPGRADE_NOTICE and self._socket is not None:
                # A second without a book harms nobody: no make-before-break as for trades.
                self._socket.close("the exchange announced the end of this connection")

    def _take(self, push: BookPush) -> None:
        book = self._books.get(push.symbol)
        if book is None:
            return
        self._feed.pushes += 1
        for state in push.books:
            outcome = book.snapshot(state) if push.action == "snapshot" else book.update(state)
            if outcome is Applied.BROKEN:
                self._resync(push.symbol, f"a push is missing before {state.seq_id}")
                return
            if outcome is not Applied.WAITING:
                self._watch.heard(push.symbol, time.monotonic())
                self._on_book(book)
        if not self._is_live and self._watch.complete:
            self._is_live = True
            self._on_state("live", self._url)

    def _refused(self, error: ErrorFrame) -> None:
        assert self._socket is not None
        self._on_state("refused", refused_channel(self._url, error.code, error.message))
        if error.id is not None and error.id.isdecimal():
            self._watch.refused(self._asked[int(error.id)])
        if not self._watch.symbols:
            self._socket.close("every subscription was refused")
