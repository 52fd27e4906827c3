"""The steps of one order: what is committed when, and what is found after a kill between two of them."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, text

from core.clock import Clock
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
Told = tuple[str, ...]
HOUR_MS = 3_600_000


class LaterClock(SystemClock):
    """Wall time, moved on by a test."""

    later_ms = 0

    def now_ms(self) -> int:
        """So much later than it is."""
        return super().now_ms() + self.later_ms


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


def submitter(
    engine: Engine,
    account: TradingAccount,
    patience: Patience | None = None,
    wall: Clock | None = None,
    told: list[Told] | None = None,
    may_buy: bool = True,
) -> Submitter:
    """As a process has it right after its start. told: where events go"""

    def tell(*event: str) -> None:
        if told is not None:
            told.append(event)

    nobody: Callable[..., None] = lambda *_: None  # noqa: E731
    return Submitter(
        engine,
        account,
        wall or SystemClock(),
        patience or Patience(),
        lambda _: BTC,
        nobody,
        tell,
        lambda _: may_buy,
    )


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
    return await finish_of(engine, account, name, 20)


async def finish_of(engine: Engine, account: FakeAccount, name: str, steps: int) -> ExchangeOrder:
    """In so many steps at most."""
    for _ in range(steps):
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


async def test_a_buy_that_may_not_leave_yet_is_asked_for_again_until_it_is_too_old(engine, account, decide):
    """It is not sent, and is over when it is old or somebody withdraws it."""
    name = decide(Side.BUY)
    for _ in range(2):
        sends = submitter(engine, account, may_buy=False)
        assert await sends.advance(exchange_orders.read_order(engine, name), 0) == Patience().look_s
    old = submitter(engine, account, Patience(entry_s=-1), may_buy=False)
    await old.advance(exchange_orders.read_order(engine, name), 0)
    assert shown(engine, name)[0] == "cancelled" and account.sent == []


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


async def test_a_sale_that_is_refused_is_wanted_until_it_is_made_and_told_once(engine, account, decide):
    """The exchange refuses a sell again and again: it waits longer each time, is told once and shown with its
    bot; when the exchange takes it, nothing of that is left."""
    await finish(engine, account, decide(Side.BUY))
    told: list[Told] = []
    sends = submitter(engine, account, told=told)
    account.answers = ["declined"] * 12
    name, waits = decide(Side.SELL, "0.999"), []
    for _ in range(12):
        waits.append(await sends.advance(exchange_orders.read_order(engine, name), 0))
        assert shown(engine, name)[0] == "submitting"
    assert waits == sorted(waits) and waits[0] < 1 and waits[-1] == Patience().refused_s
    ((level, event, message),) = told
    assert (level, event) == ("error", "sale_not_placed")
    assert f"order {name}" in message and message.endswith("51008 Insufficient USDT balance in account.")
    assert find_bot(engine, "real").last_error == f"real orders: {message}"
    assert (await finish(engine, account, name)).state is SubmissionState.FILLED
    assert position(engine)[1] == 0 and find_bot(engine, "real").last_error is None


async def test_a_stop_that_is_refused_is_tried_again(engine, account, decide):
    """The same order, until the exchange takes it; a sell signal may take its place."""
    await finish(engine, account, decide(Side.BUY))
    protection = Protection(engine, BROKER, lambda _: BTC, lambda *_: None)
    await protection.renew()
    account.answers = ["declined", "declined"]
    (stop,) = exchange_orders.live_orders(engine, BROKER)
    for _ in range(2):
        assert (await step(engine, account, stop.order_id)).state is SubmissionState.SUBMITTING
    assert "over 0.999 BTC-USDT" in (find_bot(engine, "real").last_error or "")
    assert await protection.renew() == 0
    assert (await step(engine, account, stop.order_id)).state is SubmissionState.WORKING
    assert find_bot(engine, "real").last_error is None


async def test_a_stop_that_fails_at_the_exchange_is_told_and_replaced_a_little_later(engine, account, decide):
    """It fired, and the exchange could not place its order: the position has no stop until the next one."""
    await finish(engine, account, decide(Side.BUY))
    protection = Protection(engine, BROKER, lambda _: BTC, lambda *_: None)
    await protection.renew()
    (stop,) = exchange_orders.live_orders(engine, BROKER)
    await step(engine, account, stop.order_id)
    failed = msgspec.structs.replace(
        account.orders[stop.client_id], state=SubmissionState.REJECTED, reason="51008 no balance"
    )
    account.orders[stop.client_id] = failed
    told: list[Told] = []
    working = exchange_orders.read_order(engine, stop.order_id)
    await submitter(engine, account, told=told).advance(working, 0)
    assert [event for _, event, _ in told] == ["sale_not_placed"]
    assert await protection.renew() == 0
    with engine.begin() as connection:
        older = "UPDATE exchange_orders SET updated_at = updated_at - interval '6 s' WHERE order_id = :name"
        connection.execute(text(older), {"name": stop.order_id})
    assert await protection.renew() == 1


def later(engine: Engine, seconds: int) -> None:
    """Everything that is over has been for so much longer."""
    with engine.begin() as connection:
        older = f"UPDATE exchange_orders SET updated_at = updated_at - interval '{seconds} s'"
        connection.execute(text(older))


@pytest.mark.parametrize("risk", ["{}", '{"stop_loss": 0.1}'])
async def test_a_sale_that_the_exchange_cancels_is_told_and_made_again_later_each_time(
    engine, account, decide, risk
):
    """Half of it is sold, the rest is cancelled there: each time somebody is told, the rest is for sale again
    after 5 s, then after 10, with a stop or without; once it is sold nothing is left of that."""
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE bots SET config = jsonb_set(config, '{{risk}}', '{risk}')"))
    await finish(engine, account, decide(Side.BUY))
    protection = Protection(engine, BROKER, lambda _: BTC, lambda *_: None)
    told: list[Told] = []
    sends = submitter(engine, account, told=told)
    account.answers = ["half", "half"]
    name = decide(Side.SELL, "0.999")
    for wait_s in (5, 10):
        for _ in range(2):
            await sends.advance(exchange_orders.read_order(engine, name), 0)
        assert shown(engine, name)[:2] == ("cancelled", "the exchange cancelled the rest")
        level, event, message = told[-1]
        assert (level, event) == ("error", "sale_not_placed") and f"order {name}" in message
        assert find_bot(engine, "real").last_error == f"real orders: {message}"
        later(engine, wait_s - 2)
        assert await protection.renew() == 0
        later(engine, 2)
        assert (await protection.renew(), await protection.renew()) == (1, 0)
        (sale,) = exchange_orders.live_orders(engine, BROKER)
        assert (sale.kind, sale.side) == (OrderKind.MARKET, Side.SELL)
        name = sale.order_id
    assert shown(engine, name)[1] == "the exchange cancelled the sale before this one"
    assert (await finish(engine, account, name)).state is SubmissionState.FILLED
    assert len(told) == 2 and find_bot(engine, "real").last_error is None
    later(engine, 1000)
    assert position(engine)[1:] == (Decimal("0.00000000"), 3) and await protection.renew() == 0


async def test_a_bot_that_is_paused_makes_no_sale_again(engine, account, decide):
    """The exchange cancelled it, then the bot was paused: what is held gets its stop."""
    await finish(engine, account, decide(Side.BUY))
    protection = Protection(engine, BROKER, lambda _: BTC, lambda *_: None)
    account.answers = ["half"]
    await finish(engine, account, decide(Side.SELL, "0.999"))
    set_status(engine, "real", "paused")
    later(engine, 6)
    assert await protection.renew() == 1
    (stop,) = exchange_orders.live_orders(engine, BROKER)
    assert stop.kind is OrderKind.OCO


async def test_a_stop_that_the_exchange_cancels_is_told_and_replaced_a_little_later(engine, account, decide):
    """By whoever it was there; one that we withdraw for a sale is no failure."""
    await finish(engine, account, decide(Side.BUY))
    protection = Protection(engine, BROKER, lambda _: BTC, lambda *_: None)
    await protection.renew()
    (stop,) = exchange_orders.live_orders(engine, BROKER)
    await step(engine, account, stop.order_id)
    account.end(stop.client_id)
    told: list[Told] = []
    await submitter(engine, account, told=told).advance(exchange_orders.read_order(engine, stop.order_id), 0)
    ((_, event, message),) = told
    assert event == "sale_not_placed" and message.endswith("the exchange cancelled it")
    assert await protection.renew() == 0
    later(engine, 6)
    assert await protection.renew() == 1


async def test_the_kill_switch_sells_at_once_whatever_failed_before_and_not_again_and_again(
    engine, account, decide
):
    """Stops failed for long: its sale waits for none of them. When the exchange cancels that sale, the next
    one is later; turning the switch on again is another beginning."""
    await finish(engine, account, decide(Side.BUY))
    protection = Protection(engine, BROKER, lambda _: BTC, lambda *_: None)
    for _ in range(4):
        later(engine, 300)
        assert await protection.renew() == 1
        (stop,) = exchange_orders.live_orders(engine, BROKER)
        exchange_orders.step(engine, stop.order_id, SubmissionState.SENDING)
        exchange_orders.step(engine, stop.order_id, SubmissionState.REJECTED, "51000 no")
    assert await protection.renew() == 0
    for turn in range(2):
        set_kill_switch(engine, True, flatten=True)
        assert await protection.renew() == 1
        (sale,) = exchange_orders.live_orders(engine, BROKER)
        assert shown(engine, sale.order_id)[1] == exchange_orders.FLATTENED
        assert exchange_orders.withdraw_killed(engine, BROKER) == 0
        account.answers = ["half"]
        await finish(engine, account, sale.order_id)
        assert await protection.renew() == 0, turn
    later(engine, 6)
    assert await protection.renew() == 1
    (sale,) = exchange_orders.live_orders(engine, BROKER)
    await finish(engine, account, sale.order_id)
    assert position(engine)[1] == 0


async def test_of_two_sales_the_later_one_waits_for_the_earlier(engine, account, decide):
    """They are for the same coins: what the account holds beside them is others'."""
    await finish(engine, account, decide(Side.BUY))
    first, second = decide(Side.SELL, "0.999"), decide(Side.SELL, "0.999")
    for _ in range(2):
        assert (await step(engine, account, second)).state is SubmissionState.SUBMITTING
    assert (await finish(engine, account, first)).state is SubmissionState.FILLED
    assert (await finish(engine, account, second)).state is SubmissionState.CANCELLED
    assert shown(engine, second)[1] == "nothing is left to sell" and len(account.sent) == 2


async def test_a_busy_exchange_ends_a_buy_and_never_a_sell(engine, account, decide):
    """After twenty requests: the buy is rejected, the sell is told of and sent again."""
    account.answers = ["busy"] * 20
    assert (await finish_of(engine, account, decide(Side.BUY), 21)).state is SubmissionState.REJECTED
    await finish(engine, account, decide(Side.BUY))
    account.answers, told = ["busy"] * 25, list[Told]()
    sends, name = submitter(engine, account, told=told), decide(Side.SELL, "0.999")
    for _ in range(26):
        await sends.advance(exchange_orders.read_order(engine, name), 0)
    assert [event for _, event, _ in told] == ["sale_not_placed"]
    assert (await finish(engine, account, name)).state is SubmissionState.FILLED


async def test_nothing_is_sent_while_a_kill_switch_is_on_though_nobody_has_withdrawn_it(
    engine, account, decide
):
    """The switch is read in the transaction that lets the request leave."""
    name = decide(Side.BUY)
    set_kill_switch(engine, True)
    assert (await step(engine, account, name)).state is SubmissionState.SUBMITTING
    set_kill_switch(engine, False)
    set_kill_switch(engine, True, bot_id=find_bot(engine, "real").id)
    assert (await step(engine, account, name)).state is SubmissionState.SUBMITTING
    assert account.sent == []
    set_kill_switch(engine, False, bot_id=find_bot(engine, "real").id)
    assert (await step(engine, account, name)).state is SubmissionState.WORKING


async def test_an_old_order_that_is_not_found_once_goes_on(engine, account, decide):
    """Three hours after it was taken the exchange does not find it, but has it in a list: it is as the list
    says, and is found again later."""
    name = decide(Side.BUY, kind=OrderType.LIMIT)
    order, wall = await step(engine, account, name), LaterClock()
    wall.later_ms = 3 * HOUR_MS
    account.forgotten = {order.client_id}
    account.fill(order.client_id, Decimal("0.25"), Decimal(1))
    sends = submitter(engine, account, Patience(missing_s=0), wall)
    for _ in range(2):
        await sends.advance(exchange_orders.read_order(engine, name), 0)
    order = exchange_orders.read_order(engine, name)
    assert (order.state, order.filled_quantity) == (SubmissionState.WORKING, Decimal("0.25"))
    account.forgotten = set()
    account.fill(order.client_id, Decimal("0.75"), Decimal(1))
    assert (await finish(engine, account, name)).state is SubmissionState.FILLED


@pytest.mark.parametrize("part", ["0", "0.25", "1"])
async def test_an_order_that_is_in_no_list_is_over_after_a_while_with_what_it_matched(
    engine, account, decide, part
):
    """Not found and in no list: it is told at once, its matches are taken in, and it counts as over a minute
    after it was missed first, however old it is."""
    name = decide(Side.BUY, kind=OrderType.LIMIT)
    order, wall, told = await step(engine, account, name), LaterClock(), list[Told]()
    if Decimal(part):
        account.fill(order.client_id, Decimal(part), Decimal(1))
    account.forgotten = account.unlisted = {order.client_id}
    sends = submitter(engine, account, wall=wall, told=told)
    for later_ms, state in ((3 * HOUR_MS, "submitted"), (3 * HOUR_MS + 59_000, "submitted")):
        wall.later_ms = later_ms
        await sends.advance(exchange_orders.read_order(engine, name), 0)
        assert (shown(engine, name)[0], shown(engine, name)[2]) == (state, Decimal(part))
    wall.later_ms = 3 * HOUR_MS + 61_000
    await sends.advance(exchange_orders.read_order(engine, name), 0)
    assert shown(engine, name)[0] == ("filled" if part == "1" else "cancelled")
    assert [event for _, event, _ in told] == ["order_missing", "order_missing"]


async def test_a_fired_stop_whose_order_is_gone_is_told_and_replaced(engine, account, decide):
    """The exchange has forgotten the order that it placed: after a while it counts as cancelled, and what is
    held gets another stop."""
    await finish(engine, account, decide(Side.BUY))
    protection = Protection(engine, BROKER, lambda _: BTC, lambda *_: None)
    await protection.renew()
    (stop,) = exchange_orders.live_orders(engine, BROKER)
    await step(engine, account, stop.order_id)
    with engine.begin() as connection:
        connection.execute(text("UPDATE exchange_orders SET child_id = '800' WHERE kind = 'oco'"))
    account.forgotten = account.unlisted = {stop.client_id}
    wall, told = LaterClock(), list[Told]()
    wall.later_ms = 3 * HOUR_MS
    sends = submitter(engine, account, Patience(missing_s=0), wall, told)
    await sends.advance(exchange_orders.read_order(engine, stop.order_id), 0)
    assert shown(engine, stop.order_id)[0] == "cancelled"
    assert [event for _, event, _ in told] == ["order_missing", "sale_not_placed"]
    later(engine, 6)
    assert await protection.renew() == 1


async def test_a_young_order_that_is_in_no_list_is_looked_for(engine, account, decide):
    """The exchange forgets nothing before two hours: its silence proves nothing."""
    name = decide(Side.BUY, kind=OrderType.LIMIT)
    order = await step(engine, account, name)
    account.forgotten = account.unlisted = {order.client_id}
    for _ in range(3):
        assert (await step(engine, account, name, Patience(missing_s=0))).state is SubmissionState.WORKING


async def test_what_is_wrong_with_one_bot_keeps_no_other_from_its_stop(engine, account, decide):
    """A configuration that no version understands is told once; the other bot's stop is stored."""
    await finish(engine, account, decide(Side.BUY))
    add_bot(engine, "broken", broker=BROKER, virtual_balance=1000, risk={"stop_loss": 0.1})
    with engine.begin() as connection:
        change = (
            "UPDATE bots SET config = jsonb_set(config, '{risk,stop_loss}', '\"far\"') WHERE name = 'broken'"
        )
        connection.execute(text(change))
        held = "UPDATE positions SET quantity = 1, cost = 100 FROM bots WHERE id = bot_id AND name = 'broken'"
        connection.execute(text(held))
    told: list[Told] = []
    protection = Protection(engine, BROKER, lambda _: BTC, lambda *event: told.append(event))
    assert (await protection.renew(), await protection.renew()) == (1, 0)
    ((level, event, message),) = told
    assert (level, event) == ("error", "unprotected") and message.startswith("bot broken holds coins without")
    assert [order.bot_id for order in exchange_orders.live_orders(engine, BROKER)] == [
        find_bot(engine, "real").id
    ]


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
