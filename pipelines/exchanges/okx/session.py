"""One connection and its subscriptions, from dialling to its end."""

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec

from core.trades import Trade
from pipelines.exchanges.okx.codec import Codec, is_trades
from pipelines.exchanges.okx.frames import Ack, ErrorFrame, Notice, TradesPush
from pipelines.exchanges.okx.hosts import refused_channel
from pipelines.exchanges.okx.limits import SUBSCRIPTIONS_PER_HOUR, Budget
from pipelines.exchanges.okx.socket import Socket, dial
from pipelines.exchanges.okx.watch import Patience, Watch

TICK_S = 1.0
UPGRADE_NOTICE = "64008"
# One request a symbol lets an error name its symbol; more symbols share requests, to leave budget for probes.
REQUESTS_AT_START = 60

OnTrades = Callable[[list[Trade]], None]
OnState = Callable[[str, str], None]


class Session:
    """Subscribes `trades` of the symbols on `url` and hands on what comes.

    `live` is set once every subscription is acknowledged, `moving` when the exchange announced that it will
    close the connection. `ended()` returns the reason when it is over.
    """

    def __init__(
        self,
        url: str,
        symbols: Sequence[str],
        codec: Codec,
        patience: Patience,
        on_trades: OnTrades,
        on_state: OnState,
    ) -> None:
        self.live = asyncio.Event()
        self.moving = asyncio.Event()
        self.opened_at = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._url = url
        self._symbols = symbols
        self._codec = codec
        self._patience = patience
        self._on_trades = on_trades
        self._on_state = on_state
        self._watch = Watch(symbols, patience, self.opened_at)
        self._requests = Budget(SUBSCRIPTIONS_PER_HOUR, 3600)
        self._batches: dict[str, tuple[str, ...]] = {}
        self._socket: Socket | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._pushes: list[bytes] = []
        self._silent: set[str] = set()

    async def open(self) -> None:
        """Connect and subscribe; Unavailable when the exchange does not answer."""
        self._socket = await dial(self._url, self._on_text)
        self.opened_at = time.monotonic()
        self._watch = Watch(self._symbols, self._patience, self.opened_at)
        size = -(-len(self._symbols) // REQUESTS_AT_START) or 1
        for number, symbols in enumerate(_batches(self._symbols, size)):
            self._batches[str(number)] = symbols
            self._request("subscribe", symbols, str(number))
        self._ticker = asyncio.create_task(self._tick())

    async def ended(self) -> str:
        """Wait for the end and return its reason; an error of the receiver of trades is raised here."""
        assert self._socket is not None
        return await asyncio.shield(self._socket.ended)

    async def close(self, reason: str = "closed") -> None:
        """End it now. A second call does nothing."""
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        if self._socket is not None:
            self._hand_on()
            self._socket.close(reason)

    def _request(self, operation: str, symbols: Sequence[str], identity: str) -> None:
        assert self._socket is not None
        self._requests.reserve()
        arguments = [{"channel": "trades", "instId": symbol} for symbol in symbols]
        self._socket.send(msgspec.json.encode({"id": identity, "op": operation, "args": arguments}))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            assert self._socket is not None
            now = time.monotonic()
            self._socket.tick(now)
            for symbol in self._watch.silent(now):
                self._probe(symbol, now)
            if (fault := self._watch.fault(now)) is not None:
                self._on_state("silent", fault)
                self._socket.close(fault)
                return

    def _probe(self, symbol: str, now: float) -> None:
        """Subscribe again; the exchange answers a new subscription with the last trade."""
        assert self._socket is not None
        self._on_state("silent", f"{symbol}: nothing for {self._patience.seconds(symbol):.0f} s")
        self._patience.extend(symbol)
        if self._requests.available() < 2:
            self._socket.close("subscription budget of the connection is used up")
            return
        self._request("unsubscribe", (symbol,), "off")
        self._request("subscribe", (symbol,), "again")
        self._watch.probed(symbol, now)
        self._silent.add(symbol)

    def _on_text(self, raw: bytes) -> None:
        if is_trades(raw):
            self._keep(raw)
            return
        match self._codec.decode(raw):
            case TradesPush():
                self._keep(raw)
            case Ack(event="subscribe", symbol=str(symbol)):
                self._watch.acknowledged(symbol, time.monotonic())
                self._settle()
            case ErrorFrame() as frame:
                for symbol in self._batches.get(frame.id or "", ()):
                    self._watch.refused(symbol)
                self._on_state("refused", refused_channel(self._url, frame.code, frame.message))
                if self._socket is not None and not self._watch.symbols:
                    self._socket.close("every subscription was refused")
                self._settle()
            case Notice(code=code) if code == UPGRADE_NOTICE:
                self.moving.set()

    def _keep(self, push: bytes) -> None:
        if not self._pushes:
            self._loop.call_soon(self._hand_on)
        self._pushes.append(push)

    def _hand_on(self) -> None:
        """The trades of all frames that one read of the socket brought, a symbol at a time: OKX puts one
        trade into a frame, and what is done once for each call would cost as much as the trade itself."""
        assert self._socket is not None
        pushes, self._pushes = self._pushes, []
        now = time.monotonic()
        try:
            for symbol, trades in self._codec.decode_trades(pushes).items():
                self._watch.heard(symbol, now)
                self._on_trades(trades)
                if self._silent:
                    self._heard_again(symbol)
        except Exception as error:
            self._socket.fail(error)

    def _heard_again(self, symbol: str) -> None:
        """Told once none of the probed symbols is silent any more."""
        if symbol in self._silent:
            self._silent.remove(symbol)
            if not self._silent:
                self._on_state("live", self._url)

    def _settle(self) -> None:
        if self._watch.symbols and self._watch.complete and not self.live.is_set():
            self.live.set()
            self._on_state("live", self._url)


def _batches(symbols: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(symbols[start : start + size]) for start in range(0, len(symbols), size)]
