"""Settings of one bot that are right each by itself and wrong together."""

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from config.files import BotFile


def contradiction(bot: "BotFile") -> str | None:
    """`field|what is wrong and what helps` of the first one; None when all fit."""
    return _profit_below_costs(bot) or _stops_in_the_wrong_order(bot) or _size_above_limits(bot)


def _profit_below_costs(bot: "BotFile") -> str | None:
    """A profit is measured from the average cost, the buy's fee included: the sale's is still to pay."""
    profit, execution = bot.risk.take_profit, bot.execution
    tiers = () if execution is None else execution.fee_tiers
    fee = min((tier.taker for tier in tiers), default=bot.fee)
    least = 1 / ((1 - fee) * (1 - bot.slippage)) - 1
    if profit is None or profit > least:
        return None
    return (
        f"risk.take_profit|{profit} earns nothing after the sale's fee of {fee} and slippage of "
        f"{bot.slippage}: more than {least:.6f} is needed"
    )


def _stops_in_the_wrong_order(bot: "BotFile") -> str | None:
    daily, drawdown = bot.risk.max_daily_loss, bot.risk.max_drawdown
    if daily is None or drawdown is None or daily <= drawdown:
        return None
    return f"risk.max_daily_loss|{daily} is never reached, max_drawdown is {drawdown}: at most {drawdown}"


def _size_above_limits(bot: "BotFile") -> str | None:
    risk = bot.risk
    if risk.size is None or risk.sizing not in ("fixed", "percent"):
        return None
    limits: dict[str, Decimal | None] = {
        "max_order_value": risk.max_order_value,
        "max_position_value": risk.max_position_value,
    }
    if risk.sizing == "percent":
        limits = {"max_position_fraction": risk.max_position_fraction}
    for name, most in limits.items():
        if most is not None and risk.size > most:
            return f"risk.size|{risk.size} is more than {name} allows: at most {most}"
    return None
