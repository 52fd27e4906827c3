"""Order books for people: the top of each collected symbol's book, in Redis, a few times a second."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import structlog

from config.settings import Settings
from core.errors import Unavailable
from live.messages import iso
from pipelines.bus.base import Bus
from pipelines.bus.books import DEPTH, KEPT_S, document, publish_book
from pipelines.exchanges.connect import make_book_feed
from pipelines.exchanges.okx.backoff import Backoff
from pipelines.exchanges.okx.book import OrderBook
from pipelines.exchanges.okx.books import OkxBookFeed

PUBLISH_S = 0.25
CONFIRM_S = KEPT_S / 3
"""An unchanged book is published again after so long, as long as its connection lives."""

_log = structlog.get_logger("books")


def make_book_keeper(settings: Settings, bus: Bus) -> "BookKeeper":
    """For the collected symbols, or for none where order books are switched off."""
    return BookKeeper(make_book_feed(settings), settings.symbol_list, bus)


class BookKeeper:
    """Runs a book feed and publishes what changed. Nothing that happens here ends it or anything else: an
    error is logged, and the feed started anew."""

    def __init__(self, feed: OkxBookFeed | None, symbols: Sequence[str], bus: Bus) -> None:
        self._feed = feed
        self._symbols = tuple(symbols)
        self._bus = bus
        self._books: dict[str, OrderBook] = {}
        self._heard_at: dict[str, float] = {}
        self._published_at: dict[str, float] = {}
        self._changed: set[str] = set()
        self._state = ("connecting", "")
        self._bus_away = False
        self.published = 0

    async def run(self) -> None:
        """Keep and publish, for ever; nothing where there is no feed."""
        if self._feed is None:
            await asyncio.Event().wait()
            return
        publishing = asyncio.create_task(self._publish_on(), name="book publisher")
        backoff = Backoff()
        try:
            while True:
                try:
                    await self._feed.run(self._symbols, self._on_book, self._on_state)
                except Exception:
                    # A bug here must not cost a trade: the books start anew, everything else goes on.
                    _log.exception("the order books failed and start anew")
                self._books.clear()
                await asyncio.sleep(backoff.next_delay_s())
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)

    def health(self) -> dict[str, Any]:
        """For the heartbeat; plain JSON."""
        if self._feed is None:
            return {"channel": "off"}
        now = time.monotonic()
        ages = {
            symbol: round(now - self._heard_at[symbol], 1) if symbol in self._heard_at else None
            for symbol in self._symbols
        }
        return {
            "channel": self._feed.channel,
            "state": self._state[0],
            "detail": self._state[1],
            "url": self._feed.hosts.current,
            "pushes": self._feed.pushes,
            "resyncs": self._feed.resyncs,
            "unknown_frames": dict(self._feed.codec.unknown),
            "published": self.published,
            "age_s": ages,
        }

    def _on_book(self, book: OrderBook) -> None:
        self._books[book.symbol] = book
        self._heard_at[book.symbol] = time.monotonic()
        self._changed.add(book.symbol)

    def _on_state(self, state: str, detail: str) -> None:
        self._state = (state, detail)
        (_log.info if state in {"connecting", "live"} else _log.warning)(f"books {state}", detail=detail)

    async def _publish_on(self) -> None:
        while True:
            await asyncio.sleep(PUBLISH_S)
            due, self._changed = self._due(), set()
            try:
                for symbol in due:
                    await self._publish(symbol)
            except Unavailable as error:
                if not self._bus_away:
                    _log.warning("order books cannot be published", reason=str(error))
                self._bus_away = True
            except Exception:
                _log.exception("order books cannot be published")
                await asyncio.sleep(CONFIRM_S)
            else:
                self._bus_away = False

    def _due(self) -> list[str]:
        now = time.monotonic()
        unchanged = {symbol for symbol, at in self._published_at.items() if now - at >= CONFIRM_S}
        ready = self._changed | unchanged
        return sorted(symbol for symbol in ready if symbol in self._books and self._books[symbol].is_ready)

    async def _publish(self, symbol: str) -> None:
        top = self._books[symbol].top(DEPTH)
        message = document(symbol, iso(top.timestamp_ms), top.bids, top.asks, top.sequence)
        self._published_at[symbol] = time.monotonic()
        await publish_book(self._bus, message)
        self.published += 1
