"""An account at OKX whose answers are odd: what is read from several lists, and what is made of a refusal."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from core.errors import BadInput, Unavailable
from core.exchange_orders import ExchangeOrder, OrderKind, SubmissionState, client_id
from core.trades import Side
from pipelines.exchanges.ccxt.okx_trading import OkxTrading
from pipelines.exchanges.okx.keys import Keys
from pipelines.exchanges.trading import Declined
from tests.okx_answers import Answers, answering

KEYS = Keys("ak-5f7d2c9b11", "very-secret-a81e44", "pass-phrase-77")
ORDER = ExchangeOrder(
    order_id="real-1-0",
    bot_id=1,
    broker="okx-demo",
    client_id=client_id("real-1-0"),
    symbol="BTC-USDT",
    side=Side.BUY,
    kind=OrderKind.LIMIT,
    quantity=Decimal(1),
    limit_price=Decimal(100),
    exchange_id="700",
)
Account = Callable[[Answers], AbstractAsyncContextManager[tuple[OkxTrading, list[str]]]]


@pytest.fixture
def account() -> Account:
    """Opens an account whose endpoints answer so; with it what it asked for."""

    @asynccontextmanager
    async def opened(answers: Answers) -> AsyncIterator[tuple[OkxTrading, list[str]]]:
        async with answering(answers) as (url, asked):
            trading = OkxTrading(KEYS, True, {"rest": url})
            try:
                yield trading, asked
            finally:
                await trading.close()

    return opened


def match(number: int, size: str) -> dict[str, str]:
    """A row of the lists of matches."""
    row = {"billId": str(number), "tradeId": str(number), "ts": str(number), "side": "buy", "fillPx": "100"}
    return row | {"fillSz": size, "fee": "0", "feeCcy": "BTC"}


def row_of(order: ExchangeOrder, state: str, filled: str) -> dict[str, str]:
    """A row of the lists of orders."""
    return {
        "ordId": order.exchange_id or "",
        "clOrdId": order.client_id,
        "state": state,
        "accFillSz": filled,
    }


async def test_matches_from_before_the_quick_list_are_read_where_they_are_missing(account):
    """Filled a little four days ago and for the rest today: the quick list has today's only."""
    answers = {
        "trade/fills": [match(9, "0.75")],
        "trade/fills-history": [match(9, "0.75"), match(4, "0.25")],
    }
    async with account(answers) as (trading, asked):
        whole = await trading.fills("BTC-USDT", "700", Decimal(1))
        assert [(fill.trade_id, fill.quantity) for fill in whole] == [
            ("4", Decimal("0.25")),
            ("9", Decimal("0.75")),
        ]
        del asked[:]
        assert len(await trading.fills("BTC-USDT", "700", Decimal("0.75"))) == 1
        assert asked == ["trade/fills"]


async def test_an_order_is_traced_through_the_lists(account):
    """Not among those that wait, but in the list of the week; one beside it there is not taken for it."""
    other = row_of(ORDER, "live", "0") | {"ordId": "699"}
    answers = {
        "trade/orders-pending": [other],
        "trade/orders-history": lambda query: (
            [row_of(ORDER, "canceled", "0.5")] if query["after"] == "701" else []
        ),
    }
    async with account(answers) as (trading, asked):
        report = await trading.trace(ORDER)
        assert report is not None
        assert (report.state, report.filled) == (SubmissionState.CANCELLED, Decimal("0.5"))
        assert asked == ["trade/orders-pending", "trade/orders-history"]
    async with account({}) as (trading, asked):
        assert await trading.trace(ORDER) is None
        assert asked[-1] == "trade/orders-history-archive"


async def test_an_algo_order_is_traced_through_its_lists(account):
    """By its number and kind; the order that it placed is read too."""
    stop = msgspec.structs.replace(ORDER, kind=OrderKind.OCO, side=Side.SELL)
    row = {"algoId": "700", "algoClOrdId": stop.client_id, "state": "effective", "ordIdList": ["800"]}
    child = row_of(ORDER, "filled", "1") | {"ordId": "800"}
    answers = {
        "trade/orders-algo-history": lambda query: [row] if query["ordType"] == "oco" else [],
        "trade/order": [child],
    }
    async with account(answers) as (trading, _):
        report = await trading.trace(stop)
    assert report is not None and (report.state, report.order_id) == (SubmissionState.FILLED, "800")


@pytest.mark.parametrize(
    ("path", "ask"),
    [
        ("trade/order", lambda trading: trading.find(ORDER)),
        ("trade/fills", lambda trading: trading.fills("BTC-USDT", "700")),
        ("trade/orders-pending", lambda trading: trading.open_orders()),
        ("account/balance", lambda trading: trading.balances()),
        ("account/config", lambda trading: trading.permissions()),
        ("public/time", lambda trading: trading.server_time_ms()),
    ],
)
async def test_a_refusal_that_nobody_expects_is_an_exchange_that_is_unavailable(
    account, path: str, ask: Callable[[OkxTrading], Any]
):
    """One call fails with the exchange's words; of the keys it is bad input."""
    async with account({path: {"code": "59999", "msg": "Something new", "data": []}}) as (trading, _):
        with pytest.raises(Unavailable, match="59999 Something new"):
            await ask(trading)
    async with account({path: {"code": "50111", "msg": "Invalid OK-ACCESS-KEY", "data": []}}) as (trading, _):
        with pytest.raises(BadInput, match="keys: 50111"):
            await ask(trading)


async def test_a_balance_that_is_no_number_is_unknown_and_the_others_are_read(account):
    """An empty text, none at all, and a number that is none."""
    details = [{"ccy": "BTC", "cashBal": "0.5"}, {"ccy": "ETH", "cashBal": ""}]
    details += [{"ccy": "SOL"}, {"ccy": "XRP", "cashBal": "NaN"}, {"ccy": "USDT", "cashBal": "7"}]
    async with account({"account/balance": [{"details": details}]}) as (trading, _):
        held = await trading.balances()
    assert held == {"BTC": Decimal("0.5"), "ETH": None, "SOL": None, "XRP": None, "USDT": Decimal(7)}


async def test_a_fired_stop_whose_order_is_forgotten_is_missing(account):
    """While we have not its number, that is what is said; from then on it is not known, but for the lists, in
    which it is as it ended."""
    stop = msgspec.structs.replace(ORDER, kind=OrderKind.STOP, side=Side.SELL)
    row = {"algoId": "700", "algoClOrdId": stop.client_id, "state": "effective", "ordId": "800"}
    answers: Answers = {"trade/order-algo": [row], "trade/orders-algo-history": [row]}
    async with account(answers) as (trading, _):
        report = await trading.find(stop)
        assert report is not None
        assert (report.state, report.order_id) == (SubmissionState.WORKING, "800")
        stop = msgspec.structs.replace(stop, child_id="800")
        assert await trading.find(stop) is None and await trading.trace(stop) is None
        listed = row_of(ORDER, "canceled", "0.5") | {"ordId": "800"}
        answers["trade/orders-history"] = lambda query: [listed] if query["after"] == "801" else []
        report = await trading.trace(stop)
    assert report is not None
    assert (report.state, report.filled, report.order_id) == (
        SubmissionState.CANCELLED,
        Decimal("0.5"),
        "800",
    )


async def test_a_refusal_that_quotes_the_request_shows_no_key(account):
    """Whatever the exchange says of an order ends in the database and on pages."""
    said = f"Wrong passphrase {KEYS.passphrase} of {KEYS.api_key}"
    row = {"ordId": "", "sCode": "51999", "sMsg": said}
    async with account({"trade/order": {"code": "1", "msg": "", "data": [row]}}) as (trading, _):
        answer = await trading.place(ORDER, 2**53)
    assert answer == Declined("51999 Wrong passphrase (hidden) of (hidden)")


@pytest.mark.parametrize(
    ("path", "rows", "ask"),
    [
        ("account/balance", [], lambda trading: trading.balances()),
        ("account/balance", [{"details": None}], lambda trading: trading.balances()),
        ("trade/orders-pending", [{"ordId": "7", "state": "new"}], lambda trading: trading.open_orders()),
    ],
)
async def test_an_answer_about_the_account_that_makes_no_sense_is_none(
    account, path: str, rows: list[Any], ask: Callable[[OkxTrading], Any]
):
    """Somebody else's order in a state that nobody knows, or an empty number: asked again later."""
    async with account({path: rows}) as (trading, _):
        with pytest.raises(Unavailable):
            await ask(trading)
