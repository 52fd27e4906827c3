"""The steps of one order: what is committed when, and what is found after a kill between two of them."""

from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import text

from core.errors import Unavailable
from core.exchange_orders import OrderKind, SubmissionState
from core.orders import OrderType
from core.trades import Side
from live.brokers.protection import Protection
from live.brokers.submission import Patience
from pipelines.warehouse import exchange_orders
from pipelines.warehouse.bots import cancel_open_orders, find_bot, set_status
from pipelines.warehouse.controls import set_kill_switch
from tests.submitting import (
    BROKER,
    BTC,
    Told,
    finish,
    position,
    shown,
    step,
    submitter,
)

pytestmark = pytest.mark.servers


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
