"""A bot whose orders go to an exchange: what it stores in the transaction of a decision."""

from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, text

from config.files import BotFile
from core.accounts import Entry
from core.candles import Candle
from core.decisions import Account, Outcome, Rules, judge
from core.exchange_orders import ExchangeFill, OrderKind, SubmissionState
from core.fills import Costs
from core.orders import OrderType
from core.risk import RiskLimits
from core.signals import Signal, SignalType
from core.timeframes import Timeframe
from core.trades import Side
from live.brokers.choose import broker_of
from live.brokers.exchange import ExchangeBroker
from live.brokers.paper import PaperBroker
from pipelines.warehouse import exchange_fills, exchange_orders
from pipelines.warehouse.bot_ledger import Ledger
from pipelines.warehouse.bots import find_bot
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.exchange_protection import withdraw_partly_filled
from tests.bot_bench import BTC, add_bot, walk

pytestmark = pytest.mark.servers
BROKER = "okx-demo"
LIMITS = RiskLimits(stop_loss=Decimal("0.0001"), take_profit=Decimal("0.0001"))


class Desk:
    """A bot's decisions, one candle after the other."""

    def __init__(self, engine: Engine, off: str | None = None, **terms: Any) -> None:
        self.terms: dict[str, Any] = {"limits": LIMITS, **terms}
        add_bot(engine, "real", broker=BROKER)
        self.engine = engine
        self.bot_id = find_bot(engine, "real").id
        self.broker = ExchangeBroker(self.bot_id, BROKER, BTC.symbol, off)
        self.ledger = Ledger(engine, self.bot_id, BTC.symbol, Timeframe.M1)
        self.account = self.ledger.restore()
        self.candles = iter(walk(50))

    def signal(self, kind: SignalType, age_ms: int | None = None) -> Outcome:
        """Judge the next candle with that signal, and commit."""
        candle: Candle = next(self.candles)
        said = Signal(kind, candle.close_ms, float(candle.close), 1.0)
        rules = Rules("real", BTC, Costs(Decimal("0.001")), **self.terms)

        def decide(rules: Rules, account: Account, signal: Signal) -> Outcome:
            return judge(rules, account, candle, signal, False, None, age_ms)

        with self.engine.begin() as connection:
            self.ledger.begin_decision(connection, self.account)
            account = self.broker.account(connection, self.account)
            outcome = self.broker.judge(connection, rules, account, candle, said, decide)
            self.ledger.write(connection, outcome, candle.close_ms, said)
            self.broker.send(connection, outcome)
        self.account = outcome.account
        return outcome

    def filled(self, price: int, part: Decimal = Decimal(1), at_ms: int = 1) -> None:
        """The exchange fills the order that waits, or a part of it."""
        (order,) = exchange_orders.live_orders(self.engine, BROKER)
        for state in (SubmissionState.SENDING, SubmissionState.WORKING):
            exchange_orders.step(self.engine, order.order_id, state)
        size = order.quantity * part
        fee, currency = (size / 1000, "BTC") if order.side is Side.BUY else (Decimal(1), "USDT")
        match = ExchangeFill(order.order_id, at_ms, order.side, Decimal(price), size, fee, currency)
        state = SubmissionState.FILLED if part == 1 else SubmissionState.WORKING
        take_in = partial(exchange_fills.record, self.engine, order, [match], state)
        assert (take_in(None, None), take_in(None, None)) == (1, 0)

    def rows(self) -> list[Any]:
        """Side, status and reason of every order, oldest first."""
        with self.engine.connect() as connection:
            return [
                tuple(row)
                for row in connection.execute(
                    text("SELECT side, status, reason FROM orders ORDER BY timestamp, id")
                )
            ]


@pytest.fixture
def engine(database_url: str) -> Engine:
    """The test's database."""
    return engine_of(database_url)


def test_a_buy_is_stored_to_be_sent_and_nothing_is_filled_here(engine):
    """It waits as `submitting` with its client id; the account is as it was until the exchange says more."""
    desk = Desk(engine)
    desk.signal(SignalType.BUY)
    assert desk.rows() == [("buy", "submitting", None)]
    (order,) = exchange_orders.live_orders(engine, BROKER)
    assert order.state is SubmissionState.SUBMITTING and len(order.client_id) == 32
    for kind in (SignalType.HOLD, SignalType.BUY):
        outcome = desk.signal(kind)
        assert not outcome.orders and not outcome.executions
    row = find_bot(engine, "real")
    assert (row.cash, row.quantity, len(desk.rows())) == (10_000, 0, 1)
    with_headroom = order.quantity * Decimal(60_000)
    assert 9_500 < with_headroom < 10_000


def test_the_account_follows_the_exchanges_fills_and_a_sell_sells_them(engine):
    """The next decision is made with what the exchange gave, and stops do not fire here."""
    desk = Desk(engine)
    desk.signal(SignalType.BUY)
    desk.filled(60_000)
    for _ in range(5):
        assert not desk.signal(SignalType.HOLD).orders
    bought = find_bot(engine, "real").quantity
    desk.signal(SignalType.SELL)
    (order,) = exchange_orders.live_orders(engine, BROKER)
    assert (order.side, order.quantity) == (Side.SELL, BTC.floor_size(bought))
    desk.filled(61_000)
    row = find_bot(engine, "real")
    assert row.total_trades == 1 and row.quantity == bought - order.quantity
    assert desk.rows() == [("buy", "filled", None), ("sell", "filled", None)]


def test_a_signal_against_an_order_under_way_withdraws_it(engine):
    """And no other is sent before that is settled."""
    desk = Desk(engine)
    desk.signal(SignalType.BUY)
    desk.signal(SignalType.SELL)
    (order,) = exchange_orders.live_orders(engine, BROKER)
    assert order.cancel_reason == "a sell signal came before it was filled"
    assert len(desk.rows()) == 1


LIMIT = {"entry": Entry(OrderType.LIMIT, Decimal("0.001"), expires=3)}


def test_a_limit_entry_rests_at_its_price_until_its_time_is_over(engine):
    """On the tick, below the close, sized by that price without headroom; by the exchange's clock it is
    withdrawn three candles later, and not before."""
    desk = Desk(engine, **LIMIT)
    (decided,) = desk.signal(SignalType.BUY).orders
    (order,) = exchange_orders.live_orders(engine, BROKER)
    price = BTC.price_below(decided.price * Decimal("0.999"))
    assert (order.kind, order.limit_price) == (OrderKind.LIMIT, price)
    assert 0 <= 10_000 - order.quantity * price < 1
    over_ms = decided.timestamp_ms + 3 * 60_000
    assert exchange_orders.withdraw_expired(engine, BROKER, over_ms - 1) == 0
    assert exchange_orders.withdraw_expired(engine, BROKER, over_ms) == 1
    (order,) = exchange_orders.live_orders(engine, BROKER)
    assert order.cancel_reason == "it waited for as long as it may"


@pytest.mark.parametrize("guarded", [True, False])
def test_the_rest_of_a_limit_is_withdrawn_where_its_part_wants_a_stop(engine, guarded):
    """Coins without a stop beside an order that rests for hours would be a position nobody protects."""
    desk = Desk(engine, **LIMIT)
    edit = "UPDATE bots SET config = jsonb_set(config, '{risk,stop_loss}', '0.1')"
    with engine.begin() as connection:
        connection.execute(text(edit if guarded else "SELECT 1"))
    desk.signal(SignalType.BUY)
    assert withdraw_partly_filled(engine, BROKER) == 0
    desk.filled(60_000, Decimal("0.25"))
    assert withdraw_partly_filled(engine, BROKER) == guarded


def test_a_sell_signal_sells_what_a_withdrawn_limit_had_bought(engine):
    """Both at once: the sale is not sent before the entry is over."""
    desk = Desk(engine, **LIMIT)
    desk.signal(SignalType.BUY)
    desk.filled(60_000, Decimal("0.25"))
    desk.signal(SignalType.SELL)
    entry, sale = exchange_orders.live_orders(engine, BROKER)
    assert entry.cancel_reason == "a sell signal came before it was filled"
    assert (sale.side, sale.cancel_reason) == (Side.SELL, None)
    assert sale.quantity == BTC.floor_size(find_bot(engine, "real").quantity)
    assert exchange_orders.withdraw_before_sale(engine, sale, "the position is sold by a signal")
    exchange_orders.step(engine, entry.order_id, SubmissionState.CANCELLED)
    assert not exchange_orders.withdraw_before_sale(engine, sale, "the position is sold by a signal")


def test_a_second_sell_signal_adds_no_sale_while_the_withdrawn_entry_is_still_there(engine):
    """The first one waits for the entry's end and stays; a buy signal withdraws it, and buys nothing."""
    desk = Desk(engine, **LIMIT)
    desk.signal(SignalType.BUY)
    desk.filled(60_000, Decimal("0.25"))
    desk.signal(SignalType.SELL)
    assert not desk.signal(SignalType.SELL).orders
    entry, sale = exchange_orders.live_orders(engine, BROKER)
    assert (entry.side, sale.side, sale.cancel_reason) == (Side.BUY, Side.SELL, None)
    assert not desk.signal(SignalType.BUY).orders
    assert exchange_orders.live_orders(engine, BROKER)[1].cancel_reason is not None


def test_a_position_is_sold_after_the_longest_time_of_holding_once(engine):
    """Counted from the candle in which the exchange filled the entry, also by a process begun anew."""
    desk = Desk(engine, limits=RiskLimits(max_candles=3))
    at_ms = desk.signal(SignalType.BUY).orders[0].timestamp_ms
    desk.filled(60_000, at_ms=at_ms + 500)
    assert not desk.signal(SignalType.HOLD).orders
    desk.account = desk.ledger.restore()
    assert not desk.signal(SignalType.HOLD).orders
    (sale,) = desk.signal(SignalType.HOLD).orders
    assert (sale.side, sale.reason) == (Side.SELL, "time")
    assert not desk.signal(SignalType.HOLD).orders
    desk.filled(61_000)
    assert not desk.signal(SignalType.HOLD).orders
    assert find_bot(engine, "real").total_trades == 1


def test_where_real_orders_are_off_each_is_rejected_with_the_reason(engine):
    """Nothing falls back to paper fills."""
    desk = Desk(engine, off="TCP_REAL_ORDERS is off: set it to demo")
    desk.signal(SignalType.BUY)
    desk.signal(SignalType.HOLD)
    assert desk.rows() == [("buy", "rejected", "not sent: TCP_REAL_ORDERS is off: set it to demo")]
    assert exchange_orders.live_orders(engine, BROKER) == []
    assert find_bot(engine, "real").cash == 10_000


def test_a_buy_for_a_candle_of_long_ago_is_vetoed(engine):
    """A bot that catches up after an outage does not buy at prices that are gone."""
    desk = Desk(engine)
    desk.signal(SignalType.BUY, age_ms=150_000)
    ((side, status, reason),) = desk.rows()
    assert (side, status) == ("buy", "rejected") and reason.startswith("old data")
    desk.signal(SignalType.BUY, age_ms=500)
    assert desk.rows()[-1][1] == "submitting"


def test_paper_is_the_default_and_a_real_broker_says_why_it_is_off():
    """The tests' settings send nothing anywhere."""
    document = {"bot_id": "b", "strategy": "ema_crossover", "symbol": "BTC-USDT", "timeframe": "1m"}
    bot = BotFile.model_validate({**document, "virtual_balance": 1})
    assert isinstance(broker_of(bot, 1), PaperBroker)
    real = broker_of(BotFile.model_validate({**document, "virtual_balance": 1, "broker": "okx"}), 1)
    assert isinstance(real, ExchangeBroker) and real.off == "TCP_REAL_ORDERS is off: set it to live"
