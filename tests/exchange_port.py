"""Both adapters of the exchange port beside a simulated exchange's own rows."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any, NamedTuple

import aiohttp

from core.trades import Side, Trade
from pipelines.exchanges.base import ExchangeRest, TradeFeed
from pipelines.exchanges.ccxt.feed import CcxtTradeFeed
from pipelines.exchanges.ccxt.rest import CcxtRest
from pipelines.exchanges.okx.backoff import Backoff
from pipelines.exchanges.okx.feed import OkxTradeFeed
from pipelines.exchanges.okx.requests import Requester
from pipelines.exchanges.okx.rest import OkxRest
from pipelines.exchanges.okx.watch import Patience
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import RunningSim, serve

START_MS = 1_789_000_000_000 - 1_789_000_000_000 % 86_400_000 + 45_296_789
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")


async def at_once(seconds: float) -> None:
    """A sleep between attempts that does not wait."""
    await asyncio.sleep(0)


class Adapter(NamedTuple):
    """How to make both halves of the port for an exchange at (rest url, ws url)."""

    rest: Callable[[str], ExchangeRest]
    feed: Callable[[str, str, Patience], TradeFeed]


def _backoff() -> Backoff:
    return Backoff(first_s=0.05, longest_s=0.2)


ADAPTERS = {
    "okx": Adapter(
        rest=lambda url: OkxRest(url, Requester(url, budgets={}, sleep=at_once)),
        feed=lambda url, ws_url, patience: OkxTradeFeed(ws_url, backoff=_backoff(), patience=patience),
    ),
    "ccxt": Adapter(
        rest=lambda url: CcxtRest("okx", {"rest": url}, sleep=at_once, rate_limit=False),
        feed=lambda url, ws_url, patience: CcxtTradeFeed(
            "okx", {"rest": url, "ws": ws_url}, backoff=_backoff(), patience=patience
        ),
    ),
}


@contextlib.asynccontextmanager
async def exchange(**options: Any) -> AsyncIterator[RunningSim]:
    """A simulated exchange whose REST limits are out of the way."""
    sim = await serve(SimOptions(**{"seed": 11, "start_ms": START_MS, "rate_limit": 0, **options}))
    try:
        yield sim
    finally:
        await sim.close()


@contextlib.asynccontextmanager
async def asking(adapter: Adapter, **options: Any) -> AsyncIterator[tuple[RunningSim, ExchangeRest]]:
    async with exchange(**options) as sim:
        rest = adapter.rest(sim.rest_url)
        try:
            yield sim, rest
        finally:
            await rest.close()


async def raw(sim: RunningSim, path: str, **parameters: str | int) -> list[Any]:
    """`data` of the exchange's own answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{sim.rest_url}/api/v5/{path}", params=parameters) as response,
    ):
        answer = await response.json()
    assert answer["code"] == "0", answer
    return answer["data"]


def trade_of(row: dict[str, str]) -> Trade:
    """A raw row as it is to arrive."""
    return Trade(
        row["instId"],
        int(row["tradeId"]),
        int(row["ts"]),
        Decimal(row["px"]),
        Decimal(row["sz"]),
        Side(row["side"]),
        1,
        "rest",
    )


async def raw_trades(sim: RunningSim, symbol: str, first_id: int, last_id: int) -> list[Trade]:
    """The exchange's matches first_id … last_id, page by page."""
    found: dict[int, Trade] = {}
    after = last_id + 1
    while after > first_id:
        rows = await raw(sim, "market/history-trades", instId=symbol, type=1, after=after)
        found.update((int(row["tradeId"]), trade_of(row)) for row in rows)
        after = int(rows[-1]["tradeId"])
    return [found[i] for i in range(first_id, last_id + 1)]


class Listener:
    """A feed that runs, and what it said."""

    def __init__(self, feed: TradeFeed, symbols: tuple[str, ...]) -> None:
        self.trades: list[Trade] = []
        self.states: list[tuple[str, str]] = []
        self.task = asyncio.create_task(
            feed.run(symbols, self.trades.extend, lambda *state: self.states.append(state))
        )

    def count(self, state: str) -> int:
        return sum(1 for name, _ in self.states if name == state)

    def of(self, symbol: str) -> list[Trade]:
        """Trades of a symbol, each once, by id."""
        return sorted(
            {t.trade_id: t for t in self.trades if t.symbol == symbol}.values(), key=lambda t: t.trade_id
        )


@contextlib.asynccontextmanager
async def listening(
    adapter: Adapter, sim: RunningSim, symbols: tuple[str, ...] = SYMBOLS, patience: Patience | None = None
) -> AsyncIterator[Listener]:
    feed = adapter.feed(sim.rest_url, sim.ws_url, patience or Patience())
    listener = Listener(feed, symbols)
    try:
        yield listener
    finally:
        listener.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listener.task


async def until(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        await asyncio.sleep(0.02)
