"""The smallest order of a symbol in quote currency, and settings that could never reach it."""

from decimal import Decimal

from sqlalchemy import Connection, text

from config.files import BotFile
from config.limits import PortfolioLimits
from core.errors import BadInput
from pipelines.warehouse.sql import EXCHANGE

_SMALLEST = text("""
    SELECT i.symbol, i.min_size * m.close AS value
    FROM instruments i
    JOIN LATERAL (
        SELECT close FROM market_data
        WHERE exchange = :exchange AND symbol = i.symbol AND timeframe = '1m'
        ORDER BY timestamp DESC LIMIT 1) m ON true
    WHERE i.exchange = :exchange AND i.symbol = ANY(:symbols)
""").bindparams(exchange=EXCHANGE)


def smallest_orders(connection: Connection, symbols: list[str]) -> dict[str, Decimal]:
    """Symbol → what its smallest order costs at the newest stored price, where both are known."""
    rows = connection.execute(_SMALLEST, {"symbols": symbols})
    return {row.symbol: row.value for row in rows}


def refuse_small_sizes(connection: Connection, bot: BotFile) -> None:
    """BadInput when limits of a bot leave no room for the smallest order. Its money: `bot_market`."""
    least = smallest_orders(connection, [bot.symbol]).get(bot.symbol)
    if least is None:
        return
    sizes = {
        "risk.max_order_value": bot.risk.max_order_value,
        "risk.max_position_value": bot.risk.max_position_value,
        "risk.size": bot.risk.size if bot.risk.sizing == "fixed" else None,
    }
    for field, size in sizes.items():
        if size is not None and size < least:
            raise _too_small(field, size, bot.symbol, least)


def refuse_small_limits(connection: Connection, limits: PortfolioLimits, symbols: list[str]) -> None:
    """BadInput when limits over all bots leave no room for the smallest order of a symbol they trade."""
    for symbol, least in smallest_orders(connection, symbols).items():
        for field in ("max_exposure", "max_symbol_exposure"):
            size: Decimal | None = getattr(limits, field)
            if size is not None and size < least:
                raise _too_small(field, size, symbol, least)


def _too_small(field: str, size: Decimal, symbol: str, least: Decimal) -> BadInput:
    return BadInput(
        field,
        f"{size.normalize():f} is under the smallest order of {symbol}, {least:.2f} now: give more",
    )
