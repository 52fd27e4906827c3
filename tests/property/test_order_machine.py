"""Whatever candles, signals, limits and switches come, in whatever order: orders keep to their diagram and
their limits, and money and coins are conserved."""

from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from core.accounts import Account, Bar, Entry, Outcome, Rules, Sizing
from core.candles import Candle
from core.decisions import judge
from core.fills import Costs, FeeTier, exact
from core.instruments import Instrument
from core.matching import match
from core.orders import WORKING, Execution, Order, OrderStatus, OrderType, advance
from core.portfolio import Portfolio
from core.risk import RiskLimits, RiskState
from core.signals import Signal, SignalType
from core.timeframes import Timeframe
from core.trades import Side

D = Decimal
MINUTE = 60_000

distance = st.sampled_from([None, D("0.004"), D("0.02"), D("0.06")])
seeds = st.integers(0, 10**9)
Step = tuple[list[tuple[Any, ...]], str, bool, bool]


def walk(seed: int) -> list[Step]:
    """Forty candles of a restless market: bars of (four prices, volume), what the strategy says, whether the
    bot looks inside, whether the kill switch is on."""
    random, price, found = Random(seed), 100.0, []
    for _ in range(40):
        bars = []
        for _ in range(random.randint(1, 6)):
            around = [price * (1 + random.gauss(0, 0.01)) for _ in range(4)]
            price = around[-1]
            volume = 0.0 if random.random() < 0.1 else random.expovariate(0.05)
            bars.append((*(D(f"{value:.2f}") for value in around), D(f"{volume:.3f}")))
        said = random.choice(["buy", "buy", "hold", "hold", "sell"])
        found.append((bars, said, random.random() < 0.5, random.random() < 0.05))
    return found


@st.composite
def terms(draw: st.DrawFn) -> Rules:
    """Rules of a bot with any entry, cost, limit and size, on coarse or fine ticks and lots."""
    lot = draw(st.sampled_from([D("0.001"), D("0.1"), D(1), D("1e-18")]))
    limits = RiskLimits(
        max_position_fraction=draw(st.sampled_from([D(1), D("0.5")])),
        stop_loss=draw(distance),
        take_profit=draw(distance),
        trailing_stop=draw(distance),
        max_candles=draw(st.sampled_from([None, 1, 3])),
    )
    tiers = (FeeTier(D(0), D("0.001"), D("0.002")), FeeTier(D(500), D(0), D("0.001")))
    costs = Costs(
        fee=draw(st.sampled_from([D(0), D("0.001"), D("0.03")])),
        slippage=draw(st.sampled_from([D(0), D("0.01")])),
        maker_fee=draw(st.sampled_from([None, D("0.0001")])),
        tiers=draw(st.sampled_from([(), tiers])),
        spread=draw(st.sampled_from([D(0), D("0.5")])),
        impact=draw(st.sampled_from([D(0), D("0.2")])),
        volume_share=draw(st.sampled_from([None, D("0.05"), D(1)])),
    )
    kind = draw(st.sampled_from([OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT]))
    return Rules(
        bot_name="b",
        instrument=Instrument("A-USDT", "A", "USDT", draw(st.sampled_from([D("0.01"), D(1)])), lot, lot * 3),
        costs=costs,
        limits=limits,
        entry=Entry(kind, draw(st.sampled_from([D(0), D("0.02")])), D("0.01"), draw(st.integers(1, 3))),
        sizing=draw(st.sampled_from([Sizing(), Sizing(D(50), D(0)), Sizing(weight=D("0.3"))])),
        ticks=draw(st.booleans()),
    )


class Record:
    """All that was told of an account, checked as it comes."""

    def __init__(self, rules: Rules, cash: Decimal) -> None:
        self.rules = rules
        self.orders: dict[str, Order] = {}
        self.fills: list[Execution] = []
        self.ids: set[str] = set()
        self.budgets: dict[str, Decimal] = {}
        self.cash = cash

    def add(self, outcome: Outcome) -> None:
        """Every version of an order is one step of the diagram from the one before; ids are new."""
        between = {execution.order.id: execution.order for execution in outcome.executions}
        for order in outcome.orders:
            self.budgets.setdefault(order.id, order.budget or D(0))
            before = self.orders.get(order.id)
            if before is not None and before.status is not order.status:
                through = between.get(order.id, before)
                if before.status in WORKING and through.status is not before.status is not order.status:
                    advance(before, through.status)
                if through.status is not order.status:
                    advance(through, order.status)
            elif before is not None:
                assert before.status in WORKING
            self.orders[order.id] = order
        for execution in outcome.executions:
            assert execution.id not in self.ids
            self.ids.add(execution.id)
            self.fills.append(execution)
            self._keeps_its_limits(execution)

    def _keeps_its_limits(self, execution: Execution) -> None:
        order, fill, coin = execution.order, execution.fill, self.rules.instrument
        with exact():
            assert fill.quantity > 0 and fill.quantity % coin.lot_size == 0
        rests_at = order.rests_at
        if order.side is Side.BUY and rests_at is not None:
            assert fill.price <= rests_at
        if order.status is OrderStatus.FILLED and order.side is Side.BUY:
            assert order.filled_quantity >= coin.min_size

    def check(self, account: Account) -> None:
        """Balances are the sum of the fills, none is below zero; of a pair at most one was filled."""
        portfolio = account.portfolio
        with exact():
            assert portfolio.cash >= 0 and portfolio.quantity >= 0 and portfolio.cost >= 0
            assert portfolio.cash == self.cash + sum(e.fill.quote_change for e in self.fills)
            assert portfolio.quantity == sum(e.fill.base_change for e in self.fills)
            assert portfolio.fees == sum(e.fill.fee for e in self.fills)
            assert portfolio.realised_pnl == portfolio.cash + portfolio.cost - self.cash
            assert portfolio.realised_pnl == sum((e.pnl or D(0) for e in self.fills), D(0))
        working = {o.id for o in self.orders.values() if o.status in WORKING}
        held = [account.open_order, *account.protection]
        assert working == {order.id for order in held if order is not None}
        pairs: dict[str, list[Order]] = {}
        for order in self.orders.values():
            assert order.filled_quantity == sum(e.fill.quantity for e in self.fills if e.order.id == order.id)
            if order.oco is not None and order.filled_quantity:
                pairs.setdefault(order.oco, []).append(order)
            if order.side is Side.BUY and order.status is not OrderStatus.REJECTED:
                spent = -sum(e.fill.quote_change for e in self.fills if e.order.id == order.id)
                assert spent <= self.budgets[order.id]
        assert all(len(filled) == 1 for filled in pairs.values())


def candle_of(n: int, inside: list[tuple[Any, ...]]) -> tuple[Candle, list[Bar]]:
    """The n-th candle and the bars that make it."""
    made = []
    for k, (one, two, three, four, volume) in enumerate(inside):
        begins = n * MINUTE + k * 1000
        made.append(
            Bar(
                begins,
                begins + 1000,
                one,
                max(one, two, three, four),
                min(one, two, three, four),
                four,
                volume,
            )
        )
    candle = Candle(
        "A-USDT",
        Timeframe.M1,
        (n + 1) * MINUTE,
        made[0].open,
        max(bar.high for bar in made),
        min(bar.low for bar in made),
        made[-1].close,
        sum((bar.volume for bar in made), D(0)),
    )
    return candle, made


@given(terms(), seeds, st.decimals("10", "5000", places=2))
@settings(max_examples=60, deadline=None)
def test_orders_keep_their_diagram_and_their_limits_and_nothing_is_lost(
    rules: Rules, seed: int, cash: Decimal
) -> None:
    """Candles met at once or in two goes, the kill switch on and off: conservation to the last digit, no
    balance below zero, no state outside the diagram, no buy past its budget or its limit."""
    account = Account(Portfolio(cash), RiskState.begin(cash), last_candle_ms=0)
    record = Record(rules, cash)
    for n, (inside, said, split, kill_switch) in enumerate(walk(seed)):
        candle, made = candle_of(n, inside)
        if split and not kill_switch:
            met = match(rules, account, made[: len(made) // 2], candle.close_ms)
            made = made[len(made) // 2 :]
            record.add(met)
            account = met.account
            record.check(account)
        signal = Signal(SignalType(said), candle.close_ms, float(candle.close), 1.0)
        outcome = judge(rules, account, candle, signal, kill_switch, made)
        record.add(outcome)
        account = outcome.account
        record.check(account)


@given(terms(), seeds, st.decimals("10", "5000", places=2))
@settings(max_examples=60, deadline=None)
def test_a_candle_met_in_two_goes_is_a_candle_met_at_once(rules: Rules, seed: int, cash: Decimal) -> None:
    """A bot that looked inside the running candle and one that was down and replays it have the same account,
    orders and fills."""
    start = Account(Portfolio(cash), RiskState.begin(cash), last_candle_ms=0)
    watching, away = start, start
    seen, replayed = Record(rules, cash), Record(rules, cash)
    for n, (inside, said, _, _) in enumerate(walk(seed)):
        candle, made = candle_of(n, inside)
        signal = Signal(SignalType(said), candle.close_ms, float(candle.close), 1.0)
        half = len(made) // 2
        met = match(rules, watching, made[:half], candle.close_ms)
        later = judge(rules, met.account, candle, signal, False, made[half:])
        once = judge(rules, away, candle, signal, False, made)
        for outcome in (met, later):
            seen.add(outcome)
        replayed.add(once)
        watching, away = later.account, once.account
        assert watching == away
    assert [execution.id for execution in seen.fills] == [execution.id for execution in replayed.fills]
    assert [execution.fill for execution in seen.fills] == [execution.fill for execution in replayed.fills]
    assert {name: plain(order) for name, order in seen.orders.items()} == {
        name: plain(order) for name, order in replayed.orders.items()
    }


def plain(order: Order) -> Order:
    """An order as it matters."""
    return structs.replace(order, signal_id="")
