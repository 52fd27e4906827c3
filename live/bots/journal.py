"""What a bot did, in its log: a line for each signal to trade, order and fill.

All lines of one decision carry its `correlation_id`, which is the id of the signal in the database and stands
in the rows of its orders and trades as `signal_id`. It begins with the bot and the close of the candle, by
whose trades the chain goes back to the exchange.
"""

import structlog

from core.accounts import Outcome
from core.orders import Execution, Order
from core.signals import Signal, SignalType

_log = structlog.get_logger("bot")


def note(bot: str, outcome: Outcome, signal: Signal | None = None, latency_ms: float | None = None) -> None:
    """After the commit. signal: of the candle that was judged; nothing is said of one that holds."""
    if signal is not None and signal.signal_type is not SignalType.HOLD:
        _log.info(
            "signal",
            bot=bot,
            correlation_id=outcome.signal_id,
            candle_ms=signal.timestamp_ms,
            side=signal.signal_type.value,
            price=signal.price,
            latency_ms=latency_ms,
        )
    for order in outcome.orders:
        _order(bot, order)
    for execution in outcome.executions:
        _fill(bot, execution)


def _order(bot: str, order: Order) -> None:
    _log.info(
        "order",
        bot=bot,
        correlation_id=order.signal_id,
        order_id=order.id,
        side=order.side.value,
        order_type=order.order_type.value,
        status=order.status.value,
        quantity=str(order.quantity),
        reason=order.reason,
    )


def _fill(bot: str, execution: Execution) -> None:
    fill = execution.fill
    _log.info(
        "fill",
        bot=bot,
        correlation_id=execution.order.signal_id,
        order_id=execution.order.id,
        trade_id=execution.id,
        at_ms=fill.timestamp_ms,
        price=str(fill.price),
        quantity=str(fill.quantity),
        recovered=execution.recovered,
    )
