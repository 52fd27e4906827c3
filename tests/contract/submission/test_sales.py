"""Sales and stops that the exchange refuses, cancels or forgets: told, and made again until all is sold."""

from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import Engine, text

from core.exchange_orders import OrderKind, SubmissionState
from core.orders import OrderType
from core.trades import Side
from live.brokers.protection import Protection
from live.brokers.submission import Patience
from pipelines.warehouse import exchange_orders
from pipelines.warehouse.bots import find_bot, set_status
from pipelines.warehouse.controls import set_kill_switch
from tests.bot_bench import add_bot
from tests.submitting import (
    BROKER,
    BTC,
    HOUR_MS,
    LaterClock,
    Told,
    finish,
    finish_of,
    position,
    shown,
    step,
    submitter,
)

pytestmark = pytest.mark.servers


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
