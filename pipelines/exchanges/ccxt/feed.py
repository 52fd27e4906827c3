"""Live trades from any exchange that ccxt knows: watched where ccxt can, else asked for every second."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from core.errors import BadInput, Unavailable
from pipelines.exchanges.ccxt import markets
from pipelines.exchanges.ccxt.client import exchange_class, open_exchange
from pipelines.exchanges.ccxt.requests import Caller
from pipelines.exchanges.ccxt.traits import Traits, traits_of
from pipelines.exchanges.ccxt.watching import OnState, OnTrades, Stretch
from pipelines.exchanges.okx.backoff import Backoff
from pipelines.exchanges.okx.watch import Patience

STABLE_S = 30.0
"""A stretch that lasted this long counts as a success: the next delay is the first again."""
CLOSE_S = 5.0


class CcxtTradeFeed:
    """`pipelines.exchanges.base.TradeFeed` over ccxt's WebSocket classes.

    ccxt keeps the last trades of each symbol until they are looked at; what was pushed out unseen is told as
    `degraded`, naming the symbol. A subscription that is silent is compared with the exchange's newest trades
    by REST: if there are some that it did not bring, the connection is replaced. BadInput for an id that ccxt
    does not know.
    """

    def __init__(
        self,
        exchange_id: str,
        urls: Mapping[str, str] | None = None,
        backoff: Backoff | None = None,
        patience: Patience | None = None,
        traits: Traits | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        exchange_class(exchange_id)  # a wrong name is told here, not when the feed runs
        self.exchange_id = exchange_id
        self._urls = urls or {}
        self._backoff = backoff or Backoff()
        self._patience = patience or Patience()
        self._traits = traits or traits_of(exchange_id)
        self._sleep = sleep
        self._caller = Caller(exchange_id, sleep, attempts=1)

    async def run(self, symbols: Sequence[str], on_trades: OnTrades, on_state: OnState) -> None:
        """Connect, watch, reconnect with back-off, for ever. An error raised by `on_trades` ends it."""
        exchange = open_exchange(self.exchange_id, self._traits, self._urls)
        refused: set[str] = set()
        on_state("connecting", f"{self.exchange_id} through ccxt")
        try:
            while True:
                began = time.monotonic()
                reason = await self._stretch(exchange, symbols, refused, on_trades, on_state)
                if time.monotonic() - began > STABLE_S:
                    self._backoff.reset()
                    refused.clear()
                delay = self._backoff.next_delay_s()
                on_state("reconnecting", f"{reason}; next attempt in {delay:.1f} s")
                await self._sleep(delay)
        finally:
            await exchange.close()

    async def _stretch(
        self, exchange: Any, symbols: Sequence[str], refused: set[str], on_trades: OnTrades, on_state: OnState
    ) -> str:
        """Watch all symbols that are not refused until one of them fails; the reason is returned."""
        try:
            listed = markets.pairs((await self._caller.call("markets", exchange.load_markets)).values())
        except (Unavailable, BadInput) as error:
            return str(error)
        pairs: dict[str, str] = {}
        for symbol in symbols:
            if symbol in refused:
                continue
            try:
                pairs[symbol] = markets.listed(symbol, listed, self.exchange_id)
            except BadInput as error:
                refused.add(symbol)
                on_state("refused", str(error))
        stretch = Stretch(exchange, self._traits, pairs, self._patience, on_trades, on_state)
        try:
            reason = await stretch.run()
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await exchange.close_ws_clients()
        if stretch.refused is not None:
            refused.add(stretch.refused)
            on_state("refused", reason)
        return reason
