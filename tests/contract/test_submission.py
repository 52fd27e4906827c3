"""The steps of one order: what is committed when, and what is found after a kill between two of them."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, text

from core.errors import Unavailable
from core.exchange_orders import ExchangeOrder, OrderKind, SubmissionState
from core.ids import decision_id
from core.instruments import Instrument
from core.orders import Order, OrderType
from core.trades import Side
from live.brokers.protection import Protection
from live.brokers.submission import Patience, Submitter
from pipelines.clock import SystemClock
from pipelines.exchanges.trading import TradingAccount
from pipelines.warehouse import exchange_orders
from pipelines.warehouse.bots import cancel_open_orders, find_bot, set_status
from pipelines.warehouse.controls import set_kill_switch
from pipelines.warehouse.database import engine as engine_of
from tests.bot_bench import add_bot
from tests.exchange_account import FakeAccount

pytestmark = pytest.mark.servers
BROKER, AT_MS = "okx-demo", 1_760_000_040_000
BTC = Instrument("BTC-USDT", "BTC", "USDT", Decimal("0.1"), Decimal("0.00000001"), Decimal("0.00001"))
Decide = Callable[..., str]


@pytest.fixture
def engine(database_url: str) -> Engine:
    """A database with the bot `real`, which has 1,000 USDT and a stop."""
    engine = engine_of(database_url)
    add_bot(engine, "real", broker=BROKER, virtual_balance=1000, risk={"stop_loss": 0.1, "take_profit": 0.2})
    return engine


@pytest.fixture
def account() -> FakeAccount:
    """An exchange that takes everything until told otherwise."""
    return FakeAccount()


@pytest.fixture
def decide(engine: Engine) -> Decide:
    """Stores a decision as a bot does; returns the order's id."""
    turns = iter(range(1, 100))

    def decide(side: Side, quantity: str = "1", kind: OrderType = OrderType.MARKET) -> str:
        at_ms = AT_MS + next(turns) * 60_000
        name, bot_id = decision_id("real", at_ms), find_bot(engine, "real").id
        order = Order(
            id=name,
            signal_id=name,
            side=side,
            order_type=kind,
            timestamp_ms=at_ms,
            price=Decimal(100),
            quantity=Decimal(quantity),
        )
        values: dict[str, Any] = {"id": name, "bot": bot_id, "side": side.value, "at": at_ms / 1000}
        values |= {"kind": kind.value, "quantity": order.quantity}
        with engine.begin() as connection:
            for statement in _DECISION:
                connection.execute(statement, values)
            exchange_orders.submit(connection, bot_id, BROKER, "BTC-USDT", order)
        return name

    return decide


def submitter(engine: Engine, account: TradingAccount, patience: Patience | None = None) -> Submitter:
    """As a process has it right after its start."""
    return Submitter(engine, account, SystemClock(), patience or Patience(), lambda _: BTC, lambda *_: None)


async def step(
    engine: Engine, account: FakeAccount, name: str, patience: Patience | None = None
) -> ExchangeOrder:
    """One step by a process that was just started; the order after it."""
    order = exchange_orders.read_order(engine, name)
    if not order.state.is_final:
        await submitter(engine, account, patience).advance(order, 0)
    return exchange_orders.read_order(engine, name)


async def finish(engine: Engine, account: FakeAccount, name: str) -> ExchangeOrder:
    """Every step by another process."""
    for _ in range(20):
        order = await step(engine, account, name)
        if order.state.is_final:
            return order
        account.now_ms += 3_000
    raise AssertionError(f"{name} is still {order.state}")


def position(engine: Engine) -> tuple[Decimal, Decimal, int]:
    """Cash, coins and closed trades of the bot."""
    row = find_bot(engine, "real")
    return row.cash, row.quantity, row.total_trades


def shown(engine: Engine, name: str) -> tuple[str, str | None, Decimal]:
    """Status, reason and filled quantity in `orders`."""
    with engine.connect() as connection:
        query = text("SELECT status, reason, filled_quantity FROM orders WHERE id = :name")
        return tuple(connection.execute(query, {"name": name}).one())


async def test_each_step_is_committed_and_another_process_goes_on(engine, account, decide):
    """Submitting, working, filled; then the account has what the exchange gave."""
    name = decide(Side.BUY)
    assert shown(engine, name)[0] == "submitting"
    assert (await step(engine, account, name)).state is SubmissionState.WORKING
    assert shown(engine, name)[0] == "submitted"
    assert (await step(engine, account, name)).state is SubmissionState.FILLED
    assert shown(engine, name) == ("filled", None, 1)
    assert position(engine) == (Decimal(900), Decimal("0.999"), 0)
    sold = await finish(engine, account, decide(Side.SELL, "0.999"))
    assert sold.state is SubmissionState.FILLED
    assert position(engine) == (Decimal("999.8001"), Decimal(0), 1)


@pytest.mark.parametrize("fate", ["lost answer", "lost request", "busy"])
async def test_whatever_is_lost_there_is_one_order_at_the_exchange(engine, account, decide, fate):
    """A lost answer is found by the client id, a lost request is sent again."""
    account.answers = [fate]
    order = await finish(engine, account, decide(Side.BUY))
    assert order.state is SubmissionState.FILLED and len(account.orders) == 1
    assert len(account.sent) == (1 if fate == "lost answer" else 2)
    assert position(engine)[1] == Decimal("0.999")


async def test_nothing_is_sent_again_while_the_first_request_may_arrive(engine, account, decide):
    """It is under way: found when it arrives in time."""
    account.answers = ["late"]
    name = decide(Side.BUY)
    await step(engine, account, name)
    for _ in range(3):
        assert (await step(engine, account, name)).state is SubmissionState.SENDING
    account.now_ms += 4_000
    account.deliver()
    assert (await finish(engine, account, name)).state is SubmissionState.FILLED
    assert len(account.sent) == 1


async def test_a_request_that_arrives_too_late_is_refused_there_and_sent_again_here(engine, account, decide):
    """Once the exchange's clock is past the deadline, not finding it is a proof."""
    account.answers = ["late"]
    name = decide(Side.BUY)
    deadline_ms = (await step(engine, account, name)).deadline_ms
    assert deadline_ms is not None
    account.now_ms = deadline_ms + 1_001
    assert (await step(engine, account, name)).state is SubmissionState.SUBMITTING
    account.deliver()
    await finish(engine, account, name)
    assert len(account.orders) == 1 and position(engine)[1] == Decimal("0.999")


async def test_an_exchange_that_does_not_answer_is_asked_again_and_nothing_is_sent(engine, account, decide):
    """The step fails, and the order stays where it was."""
    account.answers = ["lost answer"]
    name = decide(Side.BUY)
    await step(engine, account, name)
    account.is_away = True
    with pytest.raises(Unavailable):
        await step(engine, account, name)
    account.is_away = False
    assert (await finish(engine, account, name)).state is SubmissionState.FILLED
    assert len(account.sent) == 1


async def test_a_refusal_is_kept_with_its_reason(engine, account, decide):
    """The exchange's own words, and the account is as it was."""
    account.answers = ["declined"]
    name = decide(Side.BUY)
    await finish(engine, account, name)
    assert shown(engine, name)[:2] == ("rejected", "51008 Insufficient USDT balance in account.")
    assert position(engine) == (Decimal(1000), Decimal(0), 0)


async def test_partial_fills_are_taken_in_as_they_come_and_once(engine, account, decide):
    """A limit order that is filled in parts and then withdrawn keeps what it got."""
    name = decide(Side.BUY, kind=OrderType.LIMIT)
    order = await step(engine, account, name)
    account.fill(order.client_id, Decimal("0.25"), Decimal(1))
    for _ in range(3):
        order = await step(engine, account, name)
        assert (order.state, order.filled_quantity) == (SubmissionState.WORKING, Decimal("0.25"))
    account.fill(order.client_id, Decimal("0.5"), Decimal(1))
    cancel_open_orders(engine, "the kill switch was turned on")
    assert (await finish(engine, account, name)).filled_quantity == Decimal("0.75")
    assert shown(engine, name) == ("cancelled", "the kill switch was turned on", Decimal("0.75"))
    assert position(engine) == (Decimal(925), Decimal("0.74925"), 0)
    assert account.cancelled == [order.client_id]


async def test_a_fill_that_came_before_the_withdrawal_counts(engine, account, decide):
    """Cancelling what is filled is no error, and it is filled."""
    name = decide(Side.BUY)
    await step(engine, account, name)
    cancel_open_orders(engine, "the kill switch was turned on")
    assert (await finish(engine, account, name)).state is SubmissionState.FILLED


async def test_what_was_withdrawn_before_it_left_never_leaves(engine, account, decide):
    """A pause between the decision and the request."""
    name = decide(Side.BUY)
    set_status(engine, "real", "paused")
    await finish(engine, account, name)
    assert shown(engine, name)[:2] == ("cancelled", "the bot was set to paused") and account.sent == []


async def test_an_old_buy_is_not_sent_and_an_old_sell_is(engine, account, decide):
    """A buy is worth sending for a while; a sell takes risk away at any time."""
    never = Patience(entry_s=-1)
    assert (await step(engine, account, decide(Side.BUY), never)).state is SubmissionState.CANCELLED
    await finish(engine, account, decide(Side.BUY))
    assert (await step(engine, account, decide(Side.SELL), never)).state is SubmissionState.WORKING
    assert len(account.sent) == 2


async def test_no_more_is_sold_than_is_held(engine, account, decide):
    """A sell is cut to whole lots of the account; of nothing, nothing is sent."""
    await finish(engine, account, decide(Side.BUY))
    assert (await finish(engine, account, decide(Side.SELL, "5"))).quantity == Decimal("0.999")
    name = decide(Side.SELL, "5")
    await finish(engine, account, name)
    assert shown(engine, name)[:2] == ("cancelled", "nothing is left to sell")


async def test_what_is_held_gets_its_stop_and_a_sell_waits_until_it_is_gone(engine, account, decide):
    """One oco order at the distances of the risk block; it is withdrawn before the position is sold."""
    await finish(engine, account, decide(Side.BUY))
    protection = Protection(engine, BROKER, lambda _: BTC, lambda *_: None)
    assert (await protection.renew(), await protection.renew()) == (1, 0)
    (stop,) = exchange_orders.live_orders(engine, BROKER)
    assert stop.kind is OrderKind.OCO and stop.quantity == Decimal("0.999")
    average = Decimal(100) / Decimal("0.999")
    assert stop.stop_price == BTC.round_price(average * Decimal("0.9"))
    assert stop.profit_price == BTC.round_price(average * Decimal("1.2"))
    await step(engine, account, stop.order_id)
    sell = decide(Side.SELL)
    assert (await step(engine, account, sell)).state is SubmissionState.SUBMITTING
    assert (await finish(engine, account, stop.order_id)).state is SubmissionState.CANCELLED
    assert (await finish(engine, account, sell)).state is SubmissionState.FILLED
    assert position(engine)[1] == 0 and await protection.renew() == 0


async def test_a_trailing_stop_waits_at_the_exchange_with_its_distance(engine, account, decide):
    """One order of its own kind, for all that is held."""
    edit = text("UPDATE bots SET config = jsonb_set(config, '{risk}', '{\"trailing_stop\": 0.02}')")
    with engine.begin() as connection:
        connection.execute(edit)
    await finish(engine, account, decide(Side.BUY))
    protection = Protection(engine, BROKER, lambda _: BTC, lambda *_: None)
    assert (await protection.renew(), await protection.renew()) == (1, 0)
    (stop,) = exchange_orders.live_orders(engine, BROKER)
    assert (stop.kind, stop.trail, stop.quantity) == (
        OrderKind.TRAILING_STOP,
        Decimal("0.02"),
        Decimal("0.999"),
    )
    assert (stop.stop_price, stop.profit_price) == (None, None)


async def test_a_stop_that_fires_closes_the_position_and_the_sell_finds_nothing(engine, account, decide):
    """The matches of the order that the stop placed are the bot's."""
    await finish(engine, account, decide(Side.BUY))
    await Protection(engine, BROKER, lambda _: BTC, lambda *_: None).renew()
    (stop,) = exchange_orders.live_orders(engine, BROKER)
    await step(engine, account, stop.order_id)
    sell = decide(Side.SELL)
    account.fill(stop.client_id, stop.quantity, stop.quantity)
    assert (await finish(engine, account, stop.order_id)).state is SubmissionState.FILLED
    assert (await finish(engine, account, sell)).state is SubmissionState.CANCELLED
    assert position(engine) == (Decimal("999.8001"), Decimal(0), 1)


async def test_a_stop_outlives_a_pause_and_not_the_kill_switch(engine, account, decide):
    """What is held stays protected while nobody judges it; the kill switch withdraws everything, and when it
    is off again the stop comes back."""
    await finish(engine, account, decide(Side.BUY))
    protection = Protection(engine, BROKER, lambda _: BTC, lambda *_: None)
    await protection.renew()
    (stop,) = exchange_orders.live_orders(engine, BROKER)
    await step(engine, account, stop.order_id)
    set_status(engine, "real", "paused")
    assert exchange_orders.read_order(engine, stop.order_id).cancel_reason is None
    set_kill_switch(engine, True)
    assert exchange_orders.withdraw_killed(engine, BROKER) == 1
    await finish(engine, account, stop.order_id)
    assert await protection.renew() == 0
    set_kill_switch(engine, False)
    assert await protection.renew() == 1


async def test_a_kill_switch_that_flattens_sells_at_the_exchange(engine, account, decide):
    """The stop is withdrawn, then all is sold, and nothing of it comes back while the switch is on."""
    await finish(engine, account, decide(Side.BUY))
    protection = Protection(engine, BROKER, lambda _: BTC, lambda *_: None)
    await protection.renew()
    (stop,) = exchange_orders.live_orders(engine, BROKER)
    await step(engine, account, stop.order_id)
    set_kill_switch(engine, True, flatten=True)
    exchange_orders.withdraw_killed(engine, BROKER)
    await finish(engine, account, stop.order_id)
    assert await protection.renew() == 1
    assert exchange_orders.withdraw_killed(engine, BROKER) == 0
    (sale,) = exchange_orders.live_orders(engine, BROKER)
    assert (await finish(engine, account, sale.order_id)).state is SubmissionState.FILLED
    assert shown(engine, sale.order_id)[1] == "the kill switch sold the position"
    assert position(engine)[1] == 0 and await protection.renew() == 0


async def test_a_price_beyond_the_stop_already_sells_at_once(engine, account, decide):
    """The exchange refuses such a stop; waiting for it to be possible would leave the position open."""
    await finish(engine, account, decide(Side.BUY))
    protection = Protection(engine, BROKER, lambda _: BTC, lambda *_: None)
    await protection.renew()
    (stop,) = exchange_orders.live_orders(engine, BROKER)
    reason = "51280 The SL trigger price cannot be higher than the last price."
    exchange_orders.step(engine, stop.order_id, SubmissionState.SENDING)
    exchange_orders.step(engine, stop.order_id, SubmissionState.REJECTED, reason)
    assert await protection.renew() == 1
    (sale,) = exchange_orders.live_orders(engine, BROKER)
    assert (sale.kind, sale.side) == (OrderKind.MARKET, Side.SELL)
    await finish(engine, account, sale.order_id)
    assert position(engine)[1] == 0


async def test_another_refusal_of_a_stop_is_not_repeated_at_once(engine, account, decide):
    """An exchange that wants no stop is asked again after a minute, not every half second."""
    await finish(engine, account, decide(Side.BUY))
    protection = Protection(engine, BROKER, lambda _: BTC, lambda *_: None)
    await protection.renew()
    account.answers = ["declined"]
    (stop,) = exchange_orders.live_orders(engine, BROKER)
    await finish(engine, account, stop.order_id)
    assert await protection.renew() == 0


async def test_states_only_move_along_the_diagram(engine, account, decide):
    """A step that was made before, or that the diagram does not have, changes nothing."""
    name = decide(Side.BUY)
    await finish(engine, account, name)
    for state in SubmissionState:
        assert not exchange_orders.step(engine, name, state)
    order = msgspec.structs.replace(exchange_orders.read_order(engine, name), state=SubmissionState.WORKING)
    await submitter(engine, account).advance(order, 0)
    assert position(engine) == (Decimal(900), Decimal("0.999"), 0)


_DECISION = (
    text("""
        INSERT INTO signals (id, bot_id, timestamp, signal_type, price, confidence, indicators)
        VALUES (:id, :bot, to_timestamp(:at), :side, 100, 1, '{}')
    """),
    text("""
        INSERT INTO orders (id, bot_id, signal_id, timestamp, side, order_type, price, quantity, status)
        VALUES (:id, :bot, :id, to_timestamp(:at), :side, :kind, 100, :quantity, 'open')
    """),
)
