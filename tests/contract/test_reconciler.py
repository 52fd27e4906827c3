"""The exchange's account beside what is stored: keys, orders that should not wait there, balances."""

from decimal import Decimal

import pytest
from sqlalchemy import Engine, text

from core.errors import BadInput
from core.exchange_orders import ExchangeFill, Report, SubmissionState, client_id
from core.ids import decision_id
from core.orders import Order, OrderType
from core.trades import Side
from live.brokers.reconcile import SETTLED_S, Reconciler
from pipelines.warehouse import exchange_orders
from pipelines.warehouse.bots import find_bot
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.exchange_fills import record
from pipelines.warehouse.real_orders import accept_balances, balances
from tests.bot_bench import add_bot, scalar
from tests.exchange_account import FakeAccount

pytestmark = pytest.mark.servers
BROKER, AT_MS = "okx-demo", 1_760_000_040_000
D = Decimal
Told = tuple[str, ...]


@pytest.fixture
def engine(database_url: str) -> Engine:
    """A database with the bot `real`."""
    engine = engine_of(database_url)
    add_bot(engine, "real", broker=BROKER, virtual_balance=1000)
    return engine


@pytest.fixture
def account() -> FakeAccount:
    """An exchange."""
    return FakeAccount()


@pytest.fixture
def told() -> list[Told]:
    """Events, in order."""
    return []


@pytest.fixture
def under_way() -> list[int | None]:
    """What the reconciler is told of what is under way: the first of these, ever again."""
    return [0]


@pytest.fixture
def reconciler(
    engine: Engine, account: FakeAccount, told: list[Told], under_way: list[int | None]
) -> Reconciler:
    """Under test."""
    return Reconciler(engine, BROKER, account, lambda *event: told.append(event), lambda: under_way[0])


def stored_order(engine: Engine, turn: int = 1) -> str:
    """A buy for one coin at 100, taken by the exchange; its id."""
    at_ms = AT_MS + turn * 60_000
    name, bot_id = decision_id("real", at_ms), find_bot(engine, "real").id
    order = Order(
        id=name,
        signal_id=name,
        side=Side.BUY,
        order_type=OrderType.MARKET,
        timestamp_ms=at_ms,
        price=D(100),
        quantity=D(1),
    )
    with engine.begin() as connection:
        for statement in _DECISION:
            connection.execute(statement, {"id": name, "bot": bot_id, "at": at_ms / 1000})
        exchange_orders.submit(connection, bot_id, BROKER, "BTC-USDT", order)
    for state in (SubmissionState.SENDING, SubmissionState.WORKING):
        exchange_orders.step(engine, name, state)
    return name


def fill(engine: Engine, name: str) -> None:
    """The exchange fills it at 100; 0.1 % of the coin is the fee."""
    order = exchange_orders.read_order(engine, name)
    match = ExchangeFill(f"{name}-1", AT_MS, Side.BUY, D(100), D(1), D("0.001"), "BTC")
    record(engine, order, [match], SubmissionState.FILLED, None, None)


@pytest.mark.parametrize(
    ("allowed", "complaint"),
    [
        ({"read_only", "trade"}, None),
        ({"read_only"}, "keys: may not trade: give them the permission Trade at OKX"),
        ({"read_only", "trade", "withdraw"}, "keys: may withdraw: make keys with the permissions Read and"),
    ],
)
async def test_keys_may_trade_and_nothing_more(reconciler, account, allowed, complaint):
    """Too little and too much are refused with the remedy."""
    account.allowed = frozenset(allowed)
    if complaint is None:
        await reconciler.check_keys()
        return
    with pytest.raises(BadInput) as refused:
        await reconciler.check_keys()
    assert str(refused.value).startswith(complaint)


async def test_an_order_that_nobody_here_knows_is_told_once_and_left_alone(reconciler, account, told):
    """With our mark it is told of; one without is somebody else's."""
    ours, theirs = client_id("another installation's"), "somebody1"
    account.others = [Report(name, "7", SubmissionState.WORKING, D(0), None) for name in (ours, theirs)]
    for _ in range(2):
        await reconciler.compare_orders()
    ((level, event, message),) = told
    assert (level, event) == ("error", "unknown_order") and ours in message
    assert account.cancelled == []


async def test_an_order_that_is_over_here_and_waits_there_is_cancelled(reconciler, account, engine, told):
    """Not at once: the list may be older than the news of its end."""
    order = exchange_orders.read_order(engine, stored_order(engine))
    account.orders[order.client_id] = Report(order.client_id, "7", SubmissionState.WORKING, D(0), None)
    exchange_orders.step(engine, order.order_id, SubmissionState.CANCELLED)
    await reconciler.compare_orders()
    assert (account.cancelled, told) == ([], [])
    with engine.begin() as connection:
        older = f"UPDATE exchange_orders SET updated_at = updated_at - interval '{SETTLED_S + 1} s'"
        connection.execute(text(older))
    await reconciler.compare_orders()
    assert (account.cancelled, account.cancelled_ids) == ([order.client_id], ["7"])
    assert [event for _, event, _ in told] == ["stray_order"]
    await reconciler.compare_orders(summary=True)
    assert told[1:] == [
        ("info", "orders_compared", "0 orders are under way; 0 wait at the exchange, 0 unknown")
    ]


async def test_a_trade_by_hand_is_told_once_and_can_be_accepted(reconciler, account, engine, told):
    """What the account held before is others', what our matches changed is ours; a coin less than that is
    told once, shown, and after it was accepted no difference any more."""
    account.held = {"USDT": D(5000), "BTC": D(2)}
    assert await reconciler.note({"BTC-USDT"}) == {"BTC-USDT"}
    fill(engine, stored_order(engine))
    account.held = {"USDT": D(4900), "BTC": D("2.999")}
    await reconciler.compare_balances()
    assert told == []
    account.held = {"USDT": D(4900), "BTC": D("1.999")}
    await reconciler.compare_balances()
    account.held = {"USDT": D(4800), "BTC": D("2.998")}
    fill(engine, stored_order(engine, 2))
    await reconciler.compare_balances()
    ((level, event, message),) = told
    assert (level, event) == ("warning", "balance_differs")
    assert message.startswith("the exchange holds 1.999 BTC, -1 against what our matches explain")
    assert [(one.currency, one.difference) for one in balances(engine)] == [("BTC", D(-1)), ("USDT", D(0))]
    assert [one.currency for one in accept_balances(engine)] == ["BTC"]
    kept = "SELECT message FROM system_events WHERE event = 'balances_accepted'"
    assert scalar(engine, kept) == "accepted as others': -1 BTC (okx-demo)"
    assert accept_balances(engine) == []
    await reconciler.compare_balances()
    assert not any(one.difference for one in balances(engine)) and len(told) == 1


async def test_with_orders_under_way_a_difference_counts_when_it_stays(
    reconciler, account, engine, told, under_way
):
    """A match that is not stored yet is no difference, because it is stored by the next time; a trade by hand
    still is one then. What is uncertain is not kept."""
    account.held = {"USDT": D(5000)}
    await reconciler.note({"BTC-USDT"})
    fill(engine, stored_order(engine))
    name = stored_order(engine, 2)
    account.held, under_way[0] = {"USDT": D(4800), "BTC": D("1.998")}, None
    await reconciler.compare_balances()
    fill(engine, name)
    await reconciler.compare_balances()
    assert told == [] and not any(one.difference for one in balances(engine))
    account.held = {"USDT": D(4700), "BTC": D("1.998")}
    await reconciler.compare_balances()
    assert told == [] and not any(one.difference for one in balances(engine))
    await reconciler.compare_balances()
    assert [event for _, event, _ in told] == ["balance_differs"]
    assert [one.difference for one in balances(engine)] == [D(0), D(-100)]


async def test_an_order_that_began_while_the_balances_were_read_makes_them_uncertain(engine, account, told):
    """Nothing is under way before and after, and yet one order has come and gone."""
    numbers = iter((1, 2, 2, 2))
    reconciler = Reconciler(engine, BROKER, account, lambda *event: told.append(event), lambda: next(numbers))
    account.held = {"USDT": D(5000)}
    await reconciler.note({"BTC-USDT"})
    fill(engine, stored_order(engine))
    await reconciler.compare_balances()
    assert told == []
    await reconciler.compare_balances()
    assert {event for _, event, _ in told} == {"balance_differs"}


async def test_a_difference_that_was_gone_is_told_again(reconciler, account, engine, told, under_way):
    """A coin by hand, back again, and once more: each is told, and none of them twice; while orders are under
    way one that was told stays so."""
    account.held = {"USDT": D(5000)}
    await reconciler.note({"BTC-USDT"})
    fill(engine, stored_order(engine))
    for coins in ("1.999", "1.999", "0.999", "1.999"):
        account.held = {"USDT": D(4900), "BTC": D(coins)}
        await reconciler.compare_balances()
    under_way[0] = None
    for coins in ("2.999", "1.999", "1.999"):
        account.held = {"USDT": D(4900), "BTC": D(coins)}
        await reconciler.compare_balances()
    assert [event for _, event, _ in told] == ["balance_differs"] * 2
    assert all("+1 against" in message for _, _, message in told)


async def test_no_buy_leaves_before_the_balances_are_known(reconciler, account, engine, told):
    """An exchange that does not answer is asked again, and that is told once; pairs that are known stay so,
    for the next process too."""
    assert await reconciler.note({"BTC-USDT"}) == {"BTC-USDT"}
    account.is_away = True
    for _ in range(2):
        assert await reconciler.note({"BTC-USDT", "ETH-USDT"}) == {"BTC-USDT"}
    ((level, event, message),) = told
    assert (level, event) == ("error", "buys_held_back")
    assert message.startswith("nothing is bought in ETH-USDT before it is known") and "away" in message
    another = Reconciler(engine, BROKER, account, lambda *event: told.append(event), lambda: 0)
    assert await another.note({"BTC-USDT"}) == {"BTC-USDT"} and len(told) == 1
    account.is_away = False
    assert await reconciler.note({"ETH-USDT"}) == {"BTC-USDT", "ETH-USDT"}


async def test_a_balance_that_is_no_number_concerns_its_own_currency_alone(reconciler, account, engine, told):
    """Pairs of others are known and compared; nothing is bought with it, it is no difference, and it is
    named."""
    account.held = {"USDT": D(5000), "ETH": None}
    assert await reconciler.note({"BTC-USDT", "ETH-USDT"}) == {"BTC-USDT"}
    assert [event for _, event, _ in told] == ["buys_held_back"]
    fill(engine, stored_order(engine))
    account.held = {"USDT": None, "BTC": D("0.999"), "ETH": None}
    await reconciler.compare_balances()
    assert [message.partition(":")[0] for _, _, message in told[1:]] == [
        "the exchange's balance of ETH is no number",
        "the exchange's balance of USDT is no number",
    ]
    account.held = {"USDT": None, "BTC": D("1.999")}
    await reconciler.compare_balances()
    assert [event for _, event, _ in told[3:]] == ["balance_differs"]


_DECISION = (
    text("""
        INSERT INTO signals (id, bot_id, timestamp, signal_type, price, confidence, indicators)
        VALUES (:id, :bot, to_timestamp(:at), 'buy', 100, 1, '{}')
    """),
    text("""
        INSERT INTO orders (id, bot_id, signal_id, timestamp, side, order_type, price, quantity, status)
        VALUES (:id, :bot, :id, to_timestamp(:at), 'buy', 'market', 100, 1, 'open')
    """),
)
