"""All symbols of a feed watched over ccxt's connections, from connecting to the first failure."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import ccxt
import msgspec

from core.errors import BadInput, Unavailable
from core.trades import Trade
from pipelines.exchanges.ccxt.client import TRADES_KEPT
from pipelines.exchanges.ccxt.requests import translated
from pipelines.exchanges.ccxt.trades import trades
from pipelines.exchanges.ccxt.traits import Traits
from pipelines.exchanges.okx.watch import Patience

OnTrades = Callable[[list[Trade]], None]
OnState = Callable[[str, str], None]

SETTLE_S = 5.0
"""ccxt tells of no acknowledgement: to be connected without an error for that long is taken for one."""
POLL_S = 1.0
REFUSED_S = 300.0
"""When every symbol was refused they are tried again after that."""


class _End(msgspec.Struct, frozen=True):
    """Why a symbol is not watched any more. refusal: the exchange's words, when it will not serve it."""

    symbol: str
    reason: str
    refusal: str | None = None


class Stretch:
    """Watches `pairs` (ccxt's symbol by ours). `refused` names the symbol that ended it, if one did that the
    exchange does not serve."""

    def __init__(
        self,
        exchange: Any,
        traits: Traits,
        pairs: Mapping[str, str],
        patience: Patience,
        on_trades: OnTrades,
        on_state: OnState,
    ) -> None:
        self.refused: str | None = None
        self._exchange = exchange
        self._traits = traits
        self._pairs = pairs
        self._patience = patience
        self._on_trades = on_trades
        self._on_state = on_state
        self._pushed = bool(exchange.has.get("watchTrades"))
        self._unheard = set(pairs)
        self._all_heard = asyncio.Event()
        self._newest: dict[str, int] = {}
        self._polled: dict[str, set[int]] = {}

    async def run(self) -> str:
        """The reason of its end; an error of `on_trades` is raised."""
        watching = [
            asyncio.create_task(self._watch(symbol), name=f"watch {symbol}") for symbol in self._pairs
        ]
        settling = asyncio.create_task(self._settle(), name="settle")
        try:
            if not watching:
                await asyncio.sleep(REFUSED_S)
                return "the exchange serves none of the symbols"
            done, _ = await asyncio.wait(watching, return_when=asyncio.FIRST_COMPLETED)
            ends = [task.result() for task in done]
            refused = next((end for end in ends if self._is_refused(end)), None)
            self.refused = None if refused is None else refused.symbol
            return (refused or ends[0]).reason
        finally:
            for task in (*watching, settling):
                task.cancel()
            await asyncio.gather(*watching, settling, return_exceptions=True)

    def _is_refused(self, end: _End) -> bool:
        """ccxt tells every symbol of a connection of an error that is of one of them."""
        if end.refusal is None:
            return False
        pair = self._pairs[end.symbol]
        market = self._exchange.market(pair)
        names = {pair, market["id"], market.get("wsId") or pair}
        return len(self._pairs) == 1 or any(name in end.refusal for name in names)

    async def _settle(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self._all_heard.wait()
        while self._pushed and not any(client.isConnected for client in self._exchange.clients.values()):
            await asyncio.sleep(0.1)
        how = "watched" if self._pushed else f"asked for every {POLL_S:g} s"
        self._on_state("live", f"{self._exchange.id} through ccxt, {how}")

    async def _watch(self, symbol: str) -> _End:
        """Hand on the trades of one symbol until something fails."""
        while True:
            try:
                if (found := await self._next(symbol)) is None:
                    fault = await self._silence(symbol)
                    if fault is not None:
                        return _End(symbol, fault)
                    continue
            except ccxt.BaseError as error:
                told = translated(self._exchange.id, symbol, error)
                return _End(symbol, str(told), str(error) if isinstance(told, BadInput) else None)
            except Unavailable as error:
                return _End(symbol, str(error))
            if found:
                self._newest[symbol] = max(self._newest.get(symbol, 0), found[-1].trade_id)
                self._patience.reset(symbol)
                self._on_trades(found)
            self._unheard.discard(symbol)
            if not self._unheard:
                self._all_heard.set()

    async def _next(self, symbol: str) -> list[Trade] | None:
        """New trades; None when there were none for as long as is borne."""
        if not self._pushed:
            return await self._poll(symbol)
        try:
            async with asyncio.timeout(self._patience.seconds(symbol)):
                rows = await self._exchange.watch_trades(self._pairs[symbol])
        except TimeoutError:
            return None
        if len(rows) >= TRADES_KEPT:
            self._on_state(
                "degraded", f"{symbol}: ccxt kept {TRADES_KEPT} trades and may have dropped older ones"
            )
        return trades(rows, symbol, "websocket", self._traits)

    async def _poll(self, symbol: str) -> list[Trade]:
        seen = self._polled.get(symbol)
        if seen is not None:
            await asyncio.sleep(POLL_S)
        page = await self._ask(symbol)
        self._polled[symbol] = {trade.trade_id for trade in page}
        new = [trade for trade in page if seen is None or trade.trade_id not in seen]
        if seen and len(new) == len(page) > 0:
            self._on_state(
                "degraded", f"{symbol}: more trades in {POLL_S:g} s than the exchange gives at once"
            )
        return new

    async def _ask(self, symbol: str) -> list[Trade]:
        rows = await self._exchange.fetch_trades(self._pairs[symbol], None, self._traits.recent_limit)
        return trades(rows, symbol, "rest", self._traits)

    async def _silence(self, symbol: str) -> str | None:
        """What is wrong with a subscription that brings nothing, or None when the market is quiet."""
        waited_s = self._patience.seconds(symbol)
        self._patience.extend(symbol)
        page = await self._ask(symbol)
        newest = page[-1].trade_id if page else 0
        known = self._newest.setdefault(symbol, newest)
        if newest <= known:
            return None
        fault = f"{symbol}: nothing for {waited_s:.0f} s, although the exchange has newer trades"
        self._on_state("silent", fault)
        return fault
