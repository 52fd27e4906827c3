"""One order of a real bot taken on step by step, each by a process that was just started."""

from collections.abc import Callable
from decimal import Decimal

from sqlalchemy import Engine, text

from core.clock import Clock
from core.exchange_orders import ExchangeOrder
from core.instruments import Instrument
from live.brokers.submission import Patience, Submitter
from pipelines.clock import SystemClock
from pipelines.exchanges.trading import TradingAccount
from pipelines.warehouse import exchange_orders
from pipelines.warehouse.bots import find_bot
from tests.exchange_account import FakeAccount

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
