"""A bot whose orders wait at an exchange: candles, however many trades they have, fill nothing here."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, text

from core.candles import Candle
from core.timeframes import Timeframe
from core.trades import Side, Trade
from live.bots.bot import Bot
from live.bots.messages import MarketUpdate
from pipelines.clock import SystemClock
from pipelines.warehouse.bots import find_bot
from pipelines.warehouse.controls import set_kill_switch
from pipelines.warehouse.paths import MOST_BARS
from pipelines.warehouse.trades import copy_trades
from tests import bot_bench as bench
from tests.broker_rig import BROKER

pytestmark = pytest.mark.servers
D = Decimal
LIMIT = {"order": "limit", "offset": 0.001, "expires": 3}
EXITS = {"stop_loss": 0.01, "take_profit": 0.5}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The test's database, with a market in it."""
    with bench.market(database_url) as engine:
        yield engine


def busy_minute(last: Candle) -> tuple[Candle, list[Trade]]:
    """A minute with more trades than are read in one go, through every stop."""
    prices = [last.close, *[last.close * D("0.9")] * MOST_BARS]
    trades = [
        Trade(bench.SYMBOL, 1_000 + n, last.close_ms + n * 59_999 // MOST_BARS, price, D(1), Side.SELL)
        for n, price in enumerate(prices)
    ]
    shape = (prices[0], prices[0], prices[-1], prices[-1], D(len(trades)), len(trades))
    return Candle(bench.SYMBOL, Timeframe.M1, last.close_ms + 60_000, *shape), trades


def account_of(engine: Engine) -> tuple[Any, ...]:
    """Cash, coins, what they cost, and round trips of the bot."""
    with engine.connect() as connection:
        columns = text("SELECT cash, quantity, cost, total_trades FROM positions")
        return tuple(connection.execute(columns).one())


def holds(engine: Engine, cash: int, quantity: Decimal, cost: int) -> None:
    """Have the exchange's matches leave the account so, as they do it: beside the bot's process."""
    statement = text("UPDATE positions SET cash = :cash, quantity = :quantity, cost = :cost")
    with engine.begin() as connection:
        connection.execute(statement, {"cash": cash, "quantity": quantity, "cost": cost})


@pytest.mark.parametrize("killed", [False, True], ids=["its coins stay", "its coins were sold meanwhile"])
def test_a_busy_candle_fills_nothing_and_leaves_the_account_to_the_exchange(
    engine: Engine, killed: bool
) -> None:
    """With a limit entry, stops and 20,001 trades below all of them: no paper fill, and the account is what
    the exchange's matches made of it; while the kill switch sells, what it sold does not come back."""
    bench.add_bot(engine, "real", broker=BROKER, execution=LIMIT, risk=EXITS)
    holds(engine, 4_000, D("0.1"), 6_000)
    set_kill_switch(engine, killed)
    bot = Bot(find_bot(engine, "real"), engine, SystemClock(), lambda message: None)
    assert bot.catch_up() and bot.account.portfolio.quantity == D("0.1")
    left = (9_000, D(0), 0) if killed else (4_000, D("0.1"), 6_000)
    holds(engine, *left)
    candle, trades = busy_minute(bench.walk(150)[-1])
    with engine.begin() as connection:
        copy_trades(connection, trades)
    bench.store(engine, [candle])
    bot.on_update(MarketUpdate(candle, None))
    assert bot.account.last_candle_ms == candle.close_ms
    assert account_of(engine) == (*left, 0)
    assert bench.scalar(engine, "SELECT count(*) FROM trades") == 0
    assert bench.scalar(engine, "SELECT count(*) FROM orders WHERE status = 'filled'") == 0
