"""Whether a bot fits its market: the symbol is listed, and its money buys at least the smallest order."""

from decimal import Decimal

from sqlalchemy import Connection, select

from config.files import BotFile
from core.errors import BadInput
from core.fills import exact
from pipelines.warehouse.sql import EXCHANGE
from pipelines.warehouse.tables import instruments, market_data

_SHOWN = 8


def check_market(connection: Connection, bot: BotFile) -> None:
    """BadInput names symbol or virtual_balance and the remedy. What is not known yet (no instruments, no
    candle) is not judged: the exchange's rules are applied to each order anyway."""
    listed = connection.execute(select(instruments).where(instruments.c.exchange == EXCHANGE)).all()
    rules = next((row for row in listed if row.symbol == bot.symbol), None)
    if not listed:
        return
    if rules is None:
        known = ", ".join(sorted(row.symbol for row in listed)[:_SHOWN])
        raise BadInput("symbol", f"{bot.symbol!r} is not listed by the exchange; choose one such as {known}")
    price: Decimal | None = connection.execute(
        select(market_data.c.close)
        .where(
            market_data.c.exchange == EXCHANGE,
            market_data.c.symbol == bot.symbol,
            market_data.c.timeframe == bot.timeframe,
        )
        .order_by(market_data.c.timestamp.desc())
        .limit(1)
    ).scalar_one_or_none()
    if price is None:
        return
    with exact():
        least = rules.min_size * price / bot.risk.max_position_fraction
    if bot.virtual_balance < least:
        needed = least.quantize(Decimal("0.01")) + Decimal("0.01")
        raise BadInput(
            "virtual_balance",
            f"{bot.virtual_balance.normalize():f} {rules.quote} buys less than the smallest order of"
            f" {rules.min_size.normalize():f} {rules.base}: give at least {needed:f}",
        )
