"""Accounts of the simulated exchange that are kept in a file, and requests that expire."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.exchange_orders import ExchangeOrder, OrderKind, SubmissionState, client_id
from core.trades import Side
from pipelines.exchanges.ccxt.okx_trading import OkxTrading
from pipelines.exchanges.okx.keys import Keys
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import RunningSim, serve
from pipelines.exchanges.trading import Busy, Taken, Unclear

START_MS = 1_790_000_000_000
KEYS = Keys("sim-key", "sim-secret", "sim-passphrase")
Connect = Callable[[RunningSim], OkxTrading]
Start = Callable[..., Awaitable[RunningSim]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Opens accounts, and closes them."""
    opened: list[OkxTrading] = []

    def connect(running: RunningSim) -> OkxTrading:
        opened.append(OkxTrading(KEYS, True, {"rest": running.rest_url, "ws": running.ws_url}))
        return opened[-1]

    yield connect
    for account in opened:
        await account.close()


@pytest.fixture
async def exchange() -> AsyncIterator[Start]:
    """Starts exchanges with accounts of 100,000 USDT and 2 BTC, and ends them."""
    started: list[RunningSim] = []

    async def start(file: Path | None = None, faults: dict[str, Any] | None = None) -> RunningSim:
        options = SimOptions(
            start_ms=START_MS,
            balances={"USDT": "100000", "BTC": "2"},
            accounts_file=file,
            connection_limits=False,
            faults=faults or {},
        )
        started.append(await serve(options))
        return started[-1]

    yield start
    for running in started:
        await running.close()


def an_order(
    name: str, side: Side = Side.BUY, kind: OrderKind = OrderKind.MARKET, **more: Any
) -> ExchangeOrder:
    size = more.pop("quantity", Decimal("0.01"))
    return ExchangeOrder(name, 1, "okx-demo", client_id(name), "BTC-USDT", side, kind, size, **more)


async def everything(account: OkxTrading) -> list[Any]:
    """Balances, waiting orders, and the fills of the orders a and b."""
    found: list[Any] = [dict(await account.balances()), await account.open_orders()]
    for name in "ab":
        report = await account.find(an_order(name))
        assert report is not None and report.order_id is not None
        found += [report, await account.fills("BTC-USDT", report.order_id)]
    return found


async def test_accounts_survive_the_end_of_the_exchange(tmp_path, exchange, connect):
    """Balances, waiting orders, algo orders, fills and client ids are the same after a restart, twice."""
    file = tmp_path / "accounts.jsonl"
    running = await exchange(file)
    account = connect(running)
    deadline_ms = START_MS + 600_000
    for order in (
        an_order("a"),
        an_order("b", Side.SELL),
        an_order("c", kind=OrderKind.LIMIT, limit_price=Decimal(10)),
        an_order("d", Side.SELL, OrderKind.STOP, stop_price=Decimal(10)),
    ):
        assert isinstance(await account.place(order, deadline_ms), Taken)
    before = await everything(account)
    assert len(before[1]) == 2 and before[3] and before[5]
    for _ in range(2):
        # the first one goes on: what a killed process has written is all that the next one gets
        running = await exchange(file)
        assert await everything(connect(running)) == before


async def test_a_torn_line_was_never_told(tmp_path, exchange, connect):
    """A kill in the middle of a line loses that line and nothing else."""
    file = tmp_path / "accounts.jsonl"
    account = connect(await exchange(file))
    await account.place(an_order("a"), START_MS + 600_000)
    await account.place(an_order("b"), START_MS + 600_000)
    before = await everything(account)
    with file.open("ab") as torn:
        torn.write(b'{"shown_ms":1,"issu')
    assert await everything(connect(await exchange(file))) == before


async def test_an_order_that_arrives_after_its_time_is_refused(exchange, connect):
    """OKX's code 50036, and nothing is traded."""
    running = await exchange()
    account = connect(running)
    answer = await account.place(an_order("a"), START_MS - 1)
    assert isinstance(answer, Busy) and answer.reason.startswith("50036")
    assert await account.find(an_order("a")) is None
    assert (await account.balances())["BTC"] == 2


@pytest.mark.parametrize(("valid_ms", "arrives"), [(60_000, True), (100, False)])
async def test_a_request_may_arrive_after_its_client_has_gone(exchange, connect, valid_ms, arrives):
    """It is carried out if it is still in time, and its client has to ask."""
    running = await exchange(faults={"order_late": {"share": 1.0, "by_s": 1.5}})
    account = connect(running)
    assert isinstance(await account.place(an_order("a"), running.now_ms() + valid_ms), Unclear)
    assert await account.find(an_order("a")) is None
    sent_ms = running.now_ms()
    async with asyncio.timeout(10):
        while running.now_ms() < sent_ms + 2_000:
            await asyncio.sleep(0.05)
    found = await account.find(an_order("a"))
    assert (found is not None) is arrives


async def test_a_market_order_may_be_filled_in_part(exchange, connect):
    """The rest is cancelled at once, and balances show what was filled."""
    running = await exchange(faults={"order_partial": 1.0})
    account = connect(running)
    await account.place(an_order("a"), START_MS + 600_000)
    report = await account.find(an_order("a"))
    assert report is not None and report.state is SubmissionState.CANCELLED
    assert 0 < report.filled < Decimal("0.01")
    bought = report.filled * (1 - Decimal("0.001"))
    assert (await account.balances())["BTC"] == 2 + bought


async def test_pushes_may_come_late(exchange, connect):
    """An order is over long before its account is told."""
    running = await exchange(faults={"late_push": {"share": 1.0, "by_s": 2}})
    account = connect(running)
    told: list[str] = []
    watching = asyncio.create_task(account.watch(told.append))
    async with asyncio.timeout(20):
        number = 0
        while not told:  # until both channels are subscribed, nothing is told of any order
            number += 1
            await account.place(an_order(f"n{number}"), running.now_ms() + 60_000)
            report = await account.find(an_order(f"n{number}"))
            assert report is not None and report.state is SubmissionState.FILLED
            assert client_id(f"n{number}") not in told
            await asyncio.sleep(0.1)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
