"""What the third kernel carries, and what a fill is: fees by side and tier, spread, slippage, impact, and
no more than a part of the volume. See `orders`."""

from typing import NamedTuple

import numpy as np

from pipelines.backtest import account
from pipelines.backtest.account import Bools, Floats, Ints
from pipelines.backtest.compiled import njit_inlined
from pipelines.backtest.exits import Rules
from pipelines.backtest.gate import TOUCH

bought = njit_inlined(account.bought)

MARKET, LIMIT, STOP_ENTRY = range(3)
ENTRY_ORDERS = ("market", "limit", "stop")
TIER_DAYS = 30
"""UTC days before today whose traded value decides the fees of today."""

# Carried from bar to bar, quote currency or coins. Of the round trip: SPENT, PAID (fees), GROSS (coins before
# fees), COST (their price), RECEIVED (coins), SOLD (coins), GOT (their price), GAINED (after fees). TURNOVER:
# what was traded today. BEFORE: the close of the candle before.
CASH, COINS, SPENT, PAID, BUDGET, TRIGGER, STOP, TARGET, HIGHEST, DAY_VALUE, LAST_VALUE, PEAK = range(12)
GROSS, COST, GOT, SOLD, GAINED, MAKER, TAKER, RECEIVED, TURNOVER, BEFORE = range(12, 22)
CARRIED = 22
# In whole numbers. ORDER: 1 buy, −1 sell, 0 none; KIND of it; FRESH: no bar has met it yet; EXPIRES: close at
# which it is withdrawn, ms; ENTERED: close of the candle of the entry, ms.
COUNT, ORDER, WHY, DECIDED, SILENT, EXPIRES, ENTERED, DAY, KIND, FRESH = range(10)
WHOLE = 10


class Bars(NamedTuple):
    """The finest bars. ends: number of the candle that ends with this bar, −1 inside one; day: UTC day of its
    open; closed: of each candle its close time, ms."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    traded: Bools
    ends: Ints
    day: Ints
    closed: Ints


class Terms(NamedTuple):
    """How orders are filled. expires_ms: from the decision to the close that withdraws an entry; share: the
    largest part of a bar's volume, 0 for no such limit; spread: quote currency; impact: fraction of the price
    for an order as large as the bar's volume, with the square of its part of that; tiers: rows of (traded
    value, maker fee, taker fee), rising."""

    kind: int
    offset: float
    expires_ms: int
    share: float
    spread: float
    impact: float
    tiers: Floats


class Book(NamedTuple):
    """What is written: equity at each candle's close; trips and values as `account.walk` and `exits` have
    them; moments: for each round trip the bars of its first buy and its last sale, doubled, and one more for
    a fill inside the bar rather than at its open; left: one number, the coins held after the last bar."""

    equity: Floats
    trips: Ints
    values: Floats
    moments: Ints
    left: Floats


@njit_inlined
def worse(price: float, side: float, coins: float, volume: float, rules: Rules, terms: Terms) -> float:
    """What a market order gets: half the spread, the slippage and its own impact against it. One that is
    larger than the volume has the impact of all of it."""
    part = min(coins / volume, 1.0) if volume > 0.0 else 0.0
    against = rules.slippage + terms.impact * part * part
    return (price + side * 0.5 * terms.spread) * (1.0 + side * against)


@njit_inlined
def buy(
    price: float, volume: float, maker: bool, carried: Floats, whole: Ints, rules: Rules, terms: Terms
) -> None:
    """Spend what the bar's volume allows of the budget; stops and target follow from the average cost."""
    budget = min(carried[BUDGET], carried[CASH])
    most = terms.share * volume if terms.share > 0.0 else np.inf
    fee = carried[MAKER] if maker else carried[TAKER]
    paid_price = price
    if not maker:
        paid_price = worse(price, 1.0, min(budget / price, most), volume, rules, terms)
        if whole[KIND] == LIMIT:
            paid_price = min(paid_price, carried[TRIGGER])
    dearest = most * paid_price * (1.0 + fee if rules.pays_in_quote else 1.0)
    spend = dearest if dearest < budget * (1.0 - TOUCH) else budget  # no order waits for a rounding
    coins, paid = bought(spend, paid_price, fee, rules.pays_in_quote)
    gross = coins if rules.pays_in_quote else spend / paid_price
    carried[CASH] -= spend
    carried[BUDGET] -= spend
    carried[COINS] += coins
    carried[RECEIVED] += coins
    carried[SPENT] += spend
    carried[PAID] += paid
    carried[GROSS] += gross
    carried[COST] += gross * paid_price
    carried[TURNOVER] += gross * paid_price
    average = carried[SPENT] / carried[RECEIVED]
    carried[STOP] = average * (1.0 - rules.stop_loss) if rules.stop_loss > 0.0 else -np.inf
    carried[TARGET] = average * (1.0 + rules.take_profit) if rules.take_profit > 0.0 else np.inf
    carried[HIGHEST] = max(carried[HIGHEST], price)
    if spend == budget:
        whole[ORDER] = 0


@njit_inlined
def sell(price: float, volume: float, carried: Floats, rules: Rules, terms: Terms) -> bool:
    """Sell what the bar's volume allows of everything; whether that was all."""
    most = terms.share * volume if terms.share > 0.0 else np.inf
    coins = most if most < carried[COINS] * (1.0 - TOUCH) else carried[COINS]
    got = worse(price, -1.0, coins, volume, rules, terms)
    proceeds = coins * got
    charged = proceeds * carried[TAKER]
    carried[CASH] += proceeds - charged
    carried[PAID] += charged
    carried[GOT] += proceeds
    carried[TURNOVER] += proceeds
    carried[SOLD] += coins
    carried[GAINED] += proceeds - charged
    everything = coins == carried[COINS]
    carried[COINS] = 0.0 if everything else carried[COINS] - coins
    return bool(everything)
