"""The risk gate in the database: limits over all bots under a lock, the kill switch, halts and resets."""

import threading
import time
from collections.abc import Iterator
from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import Engine, text

from config.files import ConfigError, parse_model
from config.limits import PortfolioLimits as LimitsFile
from core.decisions import Account, Outcome
from core.errors import BadInput
from core.exposure import PortfolioLimits
from core.orders import Order, OrderType
from core.risk import RiskState
from core.signals import Signal, SignalType
from core.timeframes import Timeframe
from core.trades import Side
from pipelines.warehouse.bot_ledger import Conflict, Ledger
from pipelines.warehouse.bot_removal import remove_bot
from pipelines.warehouse.bots import cancel_open_orders, find_bot
from pipelines.warehouse.controls import kill_switch_is_on
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.exposure import admit, look, portfolios, reset_portfolios, store_limits
from pipelines.warehouse.health import beat
from pipelines.warehouse.kill_switch import switch
from pipelines.warehouse.risk import apply_limits, bot_risk, order_rows, overview, reset_bot
from tests import bot_bench as bench

pytestmark = pytest.mark.servers
D = Decimal
CANDLE = bench.walk(1)[0]
AT_MS = CANDLE.close_ms
HOLD = Signal(SignalType.HOLD, AT_MS, float(CANDLE.close), 0.0)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The test's database, with one candle of the market."""
    engine = engine_of(database_url)
    bench.store(engine, [CANDLE])
    yield engine
    engine.dispose()


def ledger_of(engine: Engine, name: str) -> Ledger:
    """The rows of a bot."""
    return Ledger(engine, find_bot(engine, name).id, bench.SYMBOL, Timeframe.M1)


def wanted(name: str, value: Decimal) -> Order:
    """A buy worth so much at the close."""
    quantity = (value / CANDLE.close).quantize(D("0.00000001"))
    ident = f"{name}-{AT_MS}-0"
    return Order(
        id=ident,
        signal_id=ident,
        side=Side.BUY,
        order_type=OrderType.MARKET,
        timestamp_ms=AT_MS,
        price=CANDLE.close,
        quantity=quantity,
        budget=value,
    )


def try_to_buy(engine: Engine, name: str, value: Decimal) -> str | None:
    """One decision to buy, committed; why it was not admitted."""
    ledger, bot_id = ledger_of(engine, name), find_bot(engine, name).id
    account = ledger.restore()
    with engine.begin() as connection:
        ledger.begin_decision(connection, account)
        order = wanted(name, value)
        reason = admit(connection, bot_id, order, account.portfolio)
        orders = () if reason else (order,)
        after = msgspec.structs.replace(account, last_candle_ms=AT_MS, open_order=order if orders else None)
        outcome = Outcome(after, orders, (), CANDLE.close, f"{name}-{AT_MS}-0")
        ledger.write(connection, outcome, AT_MS, HOLD)
    return reason


def hold(engine: Engine, name: str, coins: str, cash: str) -> None:
    """Give a bot coins, as if it had bought them."""
    account = ledger_of(engine, name).restore()
    portfolio = msgspec.structs.replace(account.portfolio, quantity=D(coins), cash=D(cash), cost=D(100))
    judged = Account(portfolio, RiskState.begin(D(10_000)), last_candle_ms=AT_MS)
    with engine.begin() as connection:
        outcome = Outcome(judged, (), (), CANDLE.close, f"{name}-{AT_MS}-0")
        ledger_of(engine, name).write(connection, outcome, AT_MS, HOLD)


def test_bots_that_decide_at_once_never_take_more_than_the_room(engine):
    """Twelve bots of one symbol want 3,000 each in the same instant, 10,000 are allowed: three get it, and
    each of the others is told what the exposure would be."""
    names = [f"bot{n}" for n in range(12)]
    for name in names:
        bench.add_bot(engine, name)
    store_limits(engine, PortfolioLimits(max_exposure=D(10_000)))
    start = threading.Barrier(len(names))
    answers: dict[str, str | None] = {}

    def decide(name: str) -> None:
        start.wait()
        answers[name] = try_to_buy(engine, name, D(3_000))

    threads = [threading.Thread(target=decide, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [reason for reason in answers.values() if reason is not None]
    assert len(answers) - len(refused) == 3
    assert all(reason.startswith("over all bots: exposure would be 12000.0") for reason in refused)
    assert portfolios(engine)[0].holdings[0].capital == 10_000


@pytest.mark.parametrize(
    ("limits", "value", "reason"),
    [
        ({"max_exposure": 6_000}, 4_000, "over all bots: exposure would be"),
        ({"max_exposure": 10_500}, 4_000, None),
        ({"max_exposure_fraction": "0.3"}, 4_000, "over all bots: exposure would be 0.49"),
        ({"max_symbol_exposure": 9_000}, 4_000, "over all bots: exposure in BTC-USDT"),
        ({"max_symbol_exposure_fraction": "0.2"}, 4_000, "over all bots: exposure in BTC-USDT"),
        ({"max_open_positions": 1}, 10, "over all bots: 2 open positions would be more than 1"),
        ({"max_open_positions": 2}, 10, None),
        ({"max_drawdown": "0.01"}, 10, None),
    ],
)
def test_each_limit_counts_what_other_bots_hold(engine, limits, value, reason):
    """Another bot holds 0.1 coins, about 6,000; each limit objects where its room is used up."""
    bench.add_bot(engine, "alpha")
    bench.add_bot(engine, "beta")
    hold(engine, "beta", "0.1", "4000")
    store_limits(engine, msgspec.convert(limits, PortfolioLimits, strict=False))
    said = try_to_buy(engine, "alpha", D(value))
    assert said is None if reason is None else (said or "").startswith(reason)


def test_a_loss_of_all_bots_stops_buys_until_it_is_reset(engine):
    """Of 20,000 together one bot loses 1,500: the watch tells it once, nobody buys, a reset ends it."""
    for name in ("alpha", "beta"):
        bench.add_bot(engine, name)
    store_limits(engine, PortfolioLimits(max_drawdown=D("0.05"), halt_until_reset=True))
    assert [news for _, news in look(engine, AT_MS)] == [None]
    hold(engine, "beta", "0", "8500")
    assert [news for _, news in look(engine, AT_MS)] == ["drawdown 0.0750 has reached the limit of 0.05"]
    assert [news for _, news in look(engine, AT_MS)] == [None]
    hold(engine, "beta", "0", "10000")
    said = try_to_buy(engine, "alpha", D(100))
    assert said is not None and "until it is reset: drawdown 0.0750" in said
    assert reset_portfolios(engine) == ["USDT"]
    assert try_to_buy(engine, "alpha", D(100)) is None


def test_a_new_bot_brings_no_gain_and_a_deleted_one_no_loss(engine):
    """The combined profit is what counts: capital that comes and goes leaves drawdown and day as they are."""
    bench.add_bot(engine, "alpha")
    store_limits(engine, PortfolioLimits(max_drawdown=D("0.05")))
    look(engine, AT_MS)
    bench.add_bot(engine, "beta")
    hold(engine, "beta", "0", "11000")
    look(engine, AT_MS)
    with engine.begin() as connection:
        connection.execute(text("UPDATE bots SET deleted_at = now() WHERE name = 'beta'"))
    ((now, news),) = look(engine, AT_MS)
    assert news is None and now.state.pnl == now.state.peak_pnl == 0


def test_coins_of_a_deleted_bot_count_while_they_are_at_an_exchange(engine):
    """0.1 coins, about 6,000, of a bot with a real broker take their room after it was deleted until they are
    sold; a paper bot's are gone with it. Neither is a gain or a loss."""
    bench.add_bot(engine, "alpha")
    for name, changes in (("real", {"broker": "okx-demo"}), ("paper", {})):
        bench.add_bot(engine, name, **changes)
        hold(engine, name, "0.1", "4000")
    store_limits(engine, PortfolioLimits(max_exposure=D(9_000)))
    look(engine, AT_MS)
    for name in ("real", "paper"):
        remove_bot(engine, name)
    ((now, _),) = look(engine, AT_MS)
    assert [holding.bot_id for holding in now.holdings] == [
        find_bot(engine, name).id for name in ("alpha", "real")
    ]
    assert now.state.pnl == now.state.peak_pnl
    assert (try_to_buy(engine, "alpha", D(4_000)) or "").startswith("over all bots: exposure would be")
    with engine.begin() as connection:
        sold = "UPDATE positions SET quantity = 0.000001 WHERE bot_id = :bot"
        connection.execute(text(sold), {"bot": find_bot(engine, "real").id})
    look(engine, AT_MS)
    assert [holding.symbol for holding in portfolios(engine)[0].holdings] == [bench.SYMBOL]


def test_flattening_says_whether_anybody_sells_at_the_exchange(engine):
    """Coins of a bot with a real broker are not sold here; without a sender they are sold nowhere."""
    bench.add_bot(engine, "real", broker="okx-demo")
    hold(engine, "real", "0.1", "4000")
    nobody = switch(engine, True, "test", flatten=True).unsold["real"]
    assert nobody.startswith("it trades at okx-demo, where nobody withdraws or sells for it now: ")
    assert "never ran" in nobody
    beat(engine, "orders", time.time_ns() // 1_000_000, None, {"broker": "okx-demo"})
    assert switch(engine, True, "again", flatten=True).unsold == {
        "real": "it trades at okx-demo: the process that sends its orders withdraws and sells there"
    }


def test_flattening_sells_what_is_held_and_is_kept_as_trade_and_event(engine):
    """The position of a stopped bot is sold at the newest price less its costs, once; a bot that remembers
    the old account meets a conflict; the switch stays on until it is turned off."""
    for name in ("alpha", "idle"):
        bench.add_bot(engine, name, slippage=0.01)
    hold(engine, "alpha", "0.1", "4000")
    before = ledger_of(engine, "alpha").restore()
    done = switch(engine, True, "test", flatten=True)
    assert (done.sold, done.unsold) == (("alpha",), {})
    row = find_bot(engine, "alpha")
    got = CANDLE.close * D("0.99") * D("0.1")
    assert row.quantity == 0
    assert row.cash == D(4_000) + got - got * D("0.001") == row.current_balance
    with engine.begin() as connection, pytest.raises(Conflict):
        ledger_of(engine, "alpha").begin_decision(connection, before)
    trades = bench.history(engine, "alpha")["trades"]
    assert [(trade[1], trade[3]) for trade in trades] == [("sell", D("0.1"))]
    assert order_rows(engine, row.id, 1)[0]["reason"] == "the kill switch sold the position"
    assert switch(engine, True, "again", flatten=True).sold == ()
    assert kill_switch_is_on(engine)
    switch(engine, False, "test")
    assert not kill_switch_is_on(engine)
    events = "SELECT array_agg(event ORDER BY id) FROM system_events WHERE component = 'risk'"
    assert bench.scalar(engine, events) == ["kill_switch_on", "kill_switch_on", "kill_switch_off"]


def test_the_switch_of_one_bot_leaves_the_others_alone(engine):
    """Its waiting order is withdrawn and its next decision sees the switch; the other bot's does not."""
    for name in ("alpha", "beta"):
        bench.add_bot(engine, name)
        assert try_to_buy(engine, name, D(100)) is None
    assert switch(engine, True, "test", bot="alpha").cancelled == 1
    standing = {}
    for name in ("alpha", "beta"):
        ledger = ledger_of(engine, name)
        account = ledger.restore()
        assert (account.open_order is None) == (name == "alpha")
        with engine.begin() as connection:
            standing[name] = ledger.begin_decision(connection, account).kill_switch
    assert standing == {"alpha": True, "beta": False}
    assert overview(engine)["switched_off"] == ["alpha"]
    with pytest.raises(BadInput, match="known: alpha, beta"):
        switch(engine, True, "test", bot="gamma")


def test_a_halted_bot_is_seen_and_reset(engine):
    """The reason is told; after the reset the process reads the account anew and measures from there."""
    bench.add_bot(engine, "alpha")
    ledger = ledger_of(engine, "alpha")
    halted = msgspec.structs.replace(
        RiskState.begin(D(10_000)), last_value=D(9_000), halted="drawdown 0.1", order_times=(1, 2)
    )
    account = msgspec.structs.replace(ledger.restore(), risk=halted, last_candle_ms=AT_MS)
    with engine.begin() as connection:
        ledger.write(connection, Outcome(account, (), (), CANDLE.close, f"alpha-{AT_MS}-0"), AT_MS, HOLD)
    assert ledger.restore().risk == halted
    assert overview(engine)["halted"] == {"alpha": "drawdown 0.1"}
    assert bot_risk(engine, "alpha").halted == "drawdown 0.1"
    assert reset_bot(engine, "alpha") == "drawdown 0.1"
    state = ledger.restore().risk
    assert (state.halted, state.peak_value, state.order_times) == (None, D(9_000), (1, 2))
    with engine.begin() as connection, pytest.raises(Conflict):
        ledger.begin_decision(connection, account)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"max_exposure": 100, "max_symbol_exposure": 200}, "max_symbol_exposure"),
        ({"max_daily_loss": 0.2, "max_drawdown": 0.1}, "max_daily_loss"),
        ({"halt_until_reset": True}, "halt_until_reset"),
        ({"max_exposure": -1}, "max_exposure"),
        ({"max_exposure_fraction": 2}, "max_exposure_fraction"),
        ({"max_exposur": 1}, "max_exposur"),
        ({"max_exposure": 0.1}, "max_exposure"),
    ],
)
def test_wrong_limits_change_nothing_and_name_the_field(engine, document, field):
    """What contradicts itself, or leaves no room for the smallest order (0.00001 coins), is refused."""
    bench.add_bot(engine, "alpha")
    apply_limits(engine, {"max_exposure": 5_000}, "risk.json")
    with pytest.raises((BadInput, ConfigError)) as caught:
        apply_limits(engine, document, "risk.json")
    assert str(caught.value).removeprefix("risk.json: ").startswith(f"{field}: ")
    assert overview(engine)["limits"] == {"max_exposure": 5_000}
    assert parse_model(LimitsFile, {}, "risk.json") == LimitsFile()


def test_a_bot_whose_limits_leave_no_room_for_the_smallest_order_is_refused(engine):
    """0.00001 coins cost about 0.6: an order of at most 0.5 can never be sent."""
    bench.add_bot(engine, "alpha")
    with pytest.raises(BadInput, match=r"risk\.max_order_value: 0\.5 is under the smallest order"):
        bench.add_bot(engine, "beta", risk={"max_order_value": 0.5})


def test_changed_sizes_are_refused_like_those_of_a_new_bot(engine):
    """A bot that runs well keeps its last good configuration; another field of it may change."""
    bench.add_bot(engine, "alpha", risk={"max_order_value": 100})
    with pytest.raises(BadInput, match=r"risk\.max_order_value: 0\.5 is under the smallest order"):
        bench.add_bot(engine, "alpha", risk={"max_order_value": 0.5})
    with pytest.raises(BadInput, match=r"risk\.size: 0\.1 is under the smallest order"):
        bench.add_bot(engine, "alpha", risk={"sizing": "fixed", "size": 0.1})
    assert find_bot(engine, "alpha").config["risk"]["max_order_value"] == 100
    bench.add_bot(engine, "alpha", risk={"max_order_value": 100}, slippage=0.001)
    assert find_bot(engine, "alpha").config_version == 2


def test_what_is_wrong_with_one_bot_keeps_no_other_from_being_sold(engine):
    """Of three that hold coins the first has a configuration that nobody understands, and the second was
    never judged: the third is sold, and the two are named with the reason."""
    for name in ("alpha", "beta", "gamma"):
        bench.add_bot(engine, name)
        hold(engine, name, "0.1", "4000")
    with engine.begin() as connection:
        connection.execute(text("UPDATE bots SET config = config - 'bot_id' WHERE name = 'alpha'"))
        connection.execute(text("DELETE FROM signals USING bots b WHERE b.id = bot_id AND b.name = 'beta'"))
    done = switch(engine, True, "test", flatten=True)
    assert done.sold == ("gamma",)
    assert set(done.unsold) == {"alpha", "beta"} and "bot_id" in done.unsold["alpha"]
    assert find_bot(engine, "gamma").quantity == 0
    told = bench.scalar(engine, "SELECT message FROM system_events WHERE event = 'kill_switch_on'")
    assert "alpha was not sold: " in told and "beta was not sold: " in told


def test_withdrawing_all_orders_and_a_step_of_a_bot_never_wait_for_each_other(engine):
    """The bot has locked its account and one of its orders, and wants the other one; whoever withdraws all of
    them waits at the account and holds neither."""
    bench.add_bot(engine, "alpha")
    bot_id = find_bot(engine, "alpha").id
    order = (
        "INSERT INTO orders (id, bot_id, timestamp, side, order_type, quantity, status) VALUES (:id, :bot,"
    )
    with engine.begin() as connection:
        for name in ("one", "two"):
            connection.execute(
                text(f"{order} now(), 'sell', 'stop', 1, 'open')"), {"id": name, "bot": bot_id}
            )
    touch = text("UPDATE orders SET updated_at = now() WHERE id = :id")
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    done: list[int] = []
    with engine.begin() as connection:
        lock = text("SELECT FROM positions WHERE bot_id = :bot FOR UPDATE")
        connection.execute(lock, {"bot": bot_id})
        connection.execute(touch, {"id": "two"})
        switching = threading.Thread(target=lambda: done.append(cancel_open_orders(engine, "test")))
        switching.start()
        deadline = time.monotonic() + 30
        while not bench.scalar(engine, waits):
            assert time.monotonic() < deadline, "it never waited"
        connection.execute(touch, {"id": "one"})
    switching.join()
    assert done == [2]
