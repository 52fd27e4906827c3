"""The live push: one persistent websocket callback a browser, fed by the hub."""

import asyncio
from typing import Any

from dash import Dash, ctx, set_props

from dashboards.callbacks import on
from dashboards.hub import Hub, Listener, Watch
from dashboards.services import Services

SPACING_S = 0.1
"""At most ten updates a second a browser; the first after a pause goes out at once."""
IDLE_S = 1.0
"""How often a browser is told a state of the feed that stays the same: a page takes silence for a loss."""
ALIVE_EVERY_S = 15.0


class Cursor:
    """What one browser has been sent, and so what it needs next."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._watch: Watch | None = None
        self._sequence = 0
        self._epoch = hub.epoch
        self._bots_version = -1
        self._fills: tuple[int, str] | None = None
        self._indicators: dict[str, Any] | None = None
        self._reference: float | None = None
        self._book: tuple[str | None, dict[str, Any] | None] = (None, None)
        self._said: tuple[Any, ...] = ()
        self._said_ms = 0

    def feed(self) -> dict[str, Any] | None:
        """The top bar's document, if it says something new or a second has passed; marked as said by the
        stream, which ends a lost connection."""
        now_ms = self._hub.feed_now_ms()
        document = self._hub.feed.document(now_ms)
        said = (document["state"], document["kill_switch"], document["error"])
        if said == self._said and now_ms - self._said_ms < IDLE_S * 1000:
            return None
        self._said, self._said_ms = said, now_ms
        return document | {"pushed": True}

    def bots(self) -> list[dict[str, Any]] | None:
        """All bots, if one of them changed."""
        if self._bots_version == self._hub.bots_version:
            return None
        self._bots_version = self._hub.bots_version
        return self._hub.bots

    def chart(self, watch: Watch | None) -> dict[str, Any] | None:
        """What changed of what the browser watches, if anything: candles, fills, indicator values, and the
        price of a day ago.

        `redraw` asks the browser to fetch the chart anew: it fell too far behind, or messages were missed.
        """
        if watch is None or watch.symbol is None or watch.timeframe is None:
            return None
        series = self._hub.series.get((watch.symbol, watch.timeframe))
        sequence = series.sequence if series else 0
        if watch != self._watch:
            self._start(watch, sequence - len(series.changes) if series else 0)
            return None
        candles = series.since(self._sequence) if series else []
        self._sequence = sequence
        document: dict[str, Any] = {"symbol": watch.symbol, "timeframe": watch.timeframe, "bot": watch.bot}
        if candles is None or self._epoch != self._hub.epoch:
            self._epoch = self._hub.epoch
            return document | {"redraw": True}
        fills, indicators = self._new_fills(watch), self._new_indicators(watch)
        document |= {"candles": candles, "fills": fills, "indicators": indicators}
        reference = self._hub.references.get(watch.symbol)
        if reference != self._reference:
            self._reference = reference
            return document | {"reference": reference}
        return document if candles or fills or indicators else None

    def book(self, watch: Watch | None) -> dict[str, Any] | None:
        """The order book of what the browser watches, if it shows one and it changed."""
        if watch is None or not watch.book or watch.symbol is None:
            self._book = (None, None)
            return None
        found = (watch.symbol, self._hub.book(watch.symbol))
        if found[0] == self._book[0] and found[1] is self._book[1]:
            return None
        self._book = found
        return {"symbol": watch.symbol, **found[1]}

    def _start(self, watch: Watch, sequence: int) -> None:
        """The browser has just drawn a full chart. Candles went on between the reading and now, so what is
        remembered of the series is sent once more: a candle that is there already is only set again."""
        self._watch = Watch(watch.bot, watch.symbol, watch.timeframe, watch.book)
        self._sequence = sequence
        self._epoch = self._hub.epoch
        self._fills = None
        self._indicators = None
        self._reference = None

    def _new_fills(self, watch: Watch) -> list[dict[str, Any]]:
        fills = self._hub.fills.get(watch.bot or "", [])
        state = (len(fills), fills[-1]["id"]) if fills else None
        if state == self._fills:
            return []
        self._fills = state
        return fills[-50:]

    def _new_indicators(self, watch: Watch) -> dict[str, Any] | None:
        message = self._hub.indicators.get(watch.bot or "")
        if message is None or message is self._indicators:
            return None
        self._indicators = message
        return message


def register(dash: Dash, services: Services) -> None:
    """Start the stream for every browser; Dash starts it again after a lost connection."""

    @on(dash, websocket=True, persistent=True)
    async def push() -> None:
        socket = ctx.websocket
        if socket is None:
            return
        hub = services.hub
        session = await socket.get_prop("session", "data")
        with hub.listening(session) as listener:
            await _follow(socket, hub, Cursor(hub), listener)


async def _follow(socket: Any, hub: Hub, cursor: Cursor, listener: Listener) -> None:
    """Tell one browser what changes, until it is gone."""
    time = asyncio.get_running_loop().time
    alive_at = time()
    while not socket.is_shutdown:
        send(cursor, hub.sessions.get(listener.session))
        if time() - alive_at > ALIVE_EVERY_S:
            # A closed tab shares its socket with open ones: only the question tells that it is gone.
            try:
                await socket.get_prop("session", "data", timeout=10)
            except TimeoutError:
                return
            alive_at = time()
        await asyncio.sleep(SPACING_S)
        await listener.wait(IDLE_S)


def send(cursor: Cursor, watch: Watch | None) -> None:
    """Send one browser what changed."""
    chart, bots, book = cursor.chart(watch), cursor.bots(), cursor.book(watch)
    if chart is not None:
        set_props("live-chart", {"data": chart})
    if book is not None:
        set_props("live-book", {"data": book})
    if bots is not None:
        set_props("live-bots", {"data": bots})
    if (feed := cursor.feed()) is not None:
        set_props("live-feed", {"data": feed})
