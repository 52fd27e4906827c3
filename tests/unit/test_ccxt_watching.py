"""What ends the watching of symbols over one ccxt connection, and whom it concerns."""

import asyncio
from typing import Any

import ccxt
import pytest

from core.trades import Trade
from pipelines.exchanges.ccxt.client import TRADES_KEPT
from pipelines.exchanges.ccxt.traits import Traits
from pipelines.exchanges.ccxt.watching import Stretch
from pipelines.exchanges.okx.watch import Patience

PAIRS = {"BTC-USD": "BTC/USD", "ETH-USD": "ETH/USD"}


class Connection:
    """What ccxt does with an error of one subscription: all that wait are told."""

    id = "kraken"

    def __init__(self, error: Exception, rows: int = 0) -> None:
        self.has = {"watchTrades": True}
        self.clients: dict[str, Any] = {}
        self._error = error
        self._rows = rows

    def market(self, pair: str) -> dict[str, Any]:
        return {"id": pair.replace("/", ""), "wsId": None}

    async def watch_trades(self, pair: str) -> list[dict[str, Any]]:
        await asyncio.sleep(0)
        if not self._rows:
            raise self._error
        rows, self._rows = self._rows, 0
        row = {"timestamp": 1, "price": "1", "amount": "1", "side": "buy"}
        return [{**row, "id": str(n)} for n in range(rows)]


async def ended(
    error: Exception, pairs: dict[str, str] = PAIRS, rows: int = 0
) -> tuple[Stretch, str, list[Trade], list[str]]:
    trades: list[Trade] = []
    states: list[str] = []
    stretch = Stretch(
        Connection(error, rows),
        Traits(),
        pairs,
        Patience(),
        trades.extend,
        lambda state, detail: states.append(f"{state} {detail}"),
    )
    async with asyncio.timeout(5):
        reason = await stretch.run()
    return stretch, reason, trades, states


@pytest.mark.parametrize("text", ["no such pair: ETH/USD", '{"instId":"ETHUSD"}'])
async def test_a_refusal_concerns_the_symbol_it_names(text: str):
    """By the exchange's or by ccxt's name of it; the others are watched again."""
    stretch, reason, _, _ = await ended(ccxt.BadRequest(text))
    assert stretch.refused == "ETH-USD"
    assert reason.startswith("request: kraken, ETH-USD: ")


async def test_a_refusal_that_names_nobody_refuses_nobody():
    """Unless there is only one it can mean."""
    assert (await ended(ccxt.BadRequest("no")))[0].refused is None
    assert (await ended(ccxt.BadRequest("no"), {"BTC-USD": "BTC/USD"}))[0].refused == "BTC-USD"


@pytest.mark.parametrize(
    "error", [ccxt.NetworkError("ETH/USD gone"), ccxt.ExchangeError("ETH/USD: internal")]
)
async def test_a_fault_that_may_pass_refuses_nobody(error: Exception):
    """It ends the connection, with a reason."""
    stretch, reason, _, _ = await ended(error)
    assert stretch.refused is None
    assert "ETH/USD" in reason


async def test_trades_pushed_out_of_ccxts_memory_are_told_as_lost():
    """What is there is handed on; a full memory may have held more."""
    _, _, trades, states = await ended(ccxt.NetworkError("x"), {"BTC-USD": "BTC/USD"}, TRADES_KEPT)
    assert len(trades) == TRADES_KEPT
    assert any(state.startswith("degraded BTC-USD: ccxt kept") for state in states)
    _, _, _, states = await ended(ccxt.NetworkError("x"), {"BTC-USD": "BTC/USD"}, TRADES_KEPT - 1)
    assert not any(state.startswith("degraded") for state in states)
