"""Trades of a day, put into the warehouse: for tests of archives and of the lake."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from sqlalchemy import text

from core.trades import Side, Trade
from pipelines.warehouse.database import engine
from pipelines.warehouse.trade_days import made_days
from pipelines.warehouse.trades import copy_trades

SYMBOL, DAY = "BTC-USDT", date(2026, 11, 19)
MIDNIGHT_MS = int(datetime(2026, 11, 19, tzinfo=UTC).timestamp() * 1000)
DAY_MS = 86_400_000


def trade(number: int, at_ms: int, symbol: str = SYMBOL) -> Trade:
    """A trade with many digits, several of them at the same millisecond."""
    price, size = Decimal("95634.123456789012345678") + number, Decimal("0.000000000000000001") * (number + 1)
    side = Side.BUY if number % 3 else Side.SELL
    return Trade(symbol, 1_000 + number, at_ms, price, size, side)


def day_of_trades(count: int = 500, symbol: str = SYMBOL) -> list[Trade]:
    """Trades from the first to the last millisecond of the day, in pairs of one instant."""
    step = (DAY_MS - 1) // (count // 2)
    return [
        trade(n, min(MIDNIGHT_MS + n // 2 * step, MIDNIGHT_MS + DAY_MS - 1), symbol) for n in range(count)
    ]


def store(database_url: str, trades: Sequence[Trade]) -> None:
    with engine(database_url).begin() as connection:
        copy_trades(connection, trades)


def stored_ids(database_url: str) -> set[int]:
    with engine(database_url).connect() as connection:
        return set(connection.execute(text("SELECT trade_id FROM raw_trades")).scalars())


def partitions(database_url: str) -> list[str]:
    """Days that have one, or a chunk."""
    with engine(database_url).connect() as connection:
        return [day.isoformat() for day in made_days(connection)]
