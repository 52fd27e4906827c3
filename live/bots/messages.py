"""What a bot reads from the bus and what it says there."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from core.book_fills import BookTop, Level
from core.candles import Candle
from core.decisions import Outcome
from core.orders import Execution
from core.portfolio import Portfolio
from core.signals import Signal
from core.timeframes import Timeframe
from live.messages import iso
from pipelines.warehouse.sql import to_ms

Message = tuple[str, dict[str, Any]]
"""Channel and document."""


class MarketUpdate(msgspec.Struct, frozen=True):
    """A candle as the collector published it; published_ms is wall time."""

    candle: Candle
    published_ms: float | None


def market_update(message: Mapping[str, Any], symbol: str, timeframe: Timeframe) -> MarketUpdate | None:
    """A message of market:{symbol}, if it is about that timeframe. KeyError or ValueError if it is broken."""
    if message["timeframe"] != timeframe.value:
        return None
    prices = {name: Decimal(str(message[name])) for name in ("open", "high", "low", "close", "volume")}
    candle = Candle(
        symbol=symbol,
        timeframe=timeframe,
        close_ms=to_ms(datetime.fromisoformat(message["timestamp"])),
        trades_count=int(message.get("trades_count", 0)),
        source=message.get("source", "trades"),
        final=bool(message["final"]),
        revision=int(message.get("revision", 0)),
        provisional=bool(message.get("provisional", False)),
        **prices,
    )
    published = message.get("published_ms")
    return MarketUpdate(candle, None if published is None else float(published))


def book_update(message: Mapping[str, Any]) -> BookTop:
    """A message of book:{symbol}. KeyError or ValueError if it is broken."""
    sequence = message["sequence"]
    return BookTop(
        timestamp_ms=to_ms(datetime.fromisoformat(message["timestamp"])),
        sequence=None if sequence is None else int(sequence),
        bids=_levels(message["bids"]),
        asks=_levels(message["asks"]),
    )


def _levels(side: Iterable[Sequence[Any]]) -> tuple[Level, ...]:
    return tuple((Decimal(str(price)), Decimal(str(size))) for price, size in side)


def signal_message(bot_name: str, signal: Signal, outcome: Outcome, latency_ms: float | None) -> Message:
    """For signals:{bot}: the judgement of one candle, and the order it led to."""
    orders = [order for order in outcome.orders if order.signal_id == outcome.signal_id]
    return f"signals:{bot_name}", {
        "bot_id": bot_name,
        "signal_id": outcome.signal_id,
        "timestamp": iso(signal.timestamp_ms),
        "signal_type": signal.signal_type.value,
        "price": outcome.close,
        "confidence": signal.confidence,
        "indicators": dict(signal.indicators),
        "latency_ms": latency_ms,
        "orders": [
            {
                "id": order.id,
                "side": order.side.value,
                "order_type": order.order_type.value,
                "quantity": order.quantity,
                "status": order.status.value,
                "reason": order.reason,
            }
            for order in orders
        ],
    }


def status_message(
    bot_name: str, status: str, state: str, outcome: Outcome | None, price: Decimal | None, event: str
) -> Message:
    """For status:{bot}: what the bot is doing and what it is worth.

    event: state, candle or trade, whichever gave rise to the message
    """
    document: dict[str, Any] = {"bot_id": bot_name, "event": event, "status": status, "state": state}
    if outcome is not None and price is not None:
        document |= account_document(outcome.account.portfolio, outcome.account.last_candle_ms, price)
        document["trades"] = [_trade(execution) for execution in outcome.executions]
    return f"status:{bot_name}", document


def account_document(portfolio: Portfolio, judged_ms: int | None, price: Decimal) -> dict[str, Any]:
    """What a bot is worth at a price; judged_ms: close of the last candle it judged."""
    return {
        "last_candle": None if judged_ms is None else iso(judged_ms),
        "price": price,
        "total_value": portfolio.value(price),
        "cash": portfolio.cash,
        "quantity": portfolio.quantity,
        "realised_pnl": portfolio.realised_pnl,
        "fees": portfolio.fees,
        "total_trades": portfolio.total_trades,
        "winning_trades": portfolio.winning_trades,
    }


def _trade(execution: Execution) -> dict[str, Any]:
    fill = execution.fill
    return {
        "id": execution.order.id,
        "timestamp": iso(fill.timestamp_ms),
        "side": fill.side.value,
        "price": fill.price,
        "quantity": fill.quantity,
        "fees": fill.fee,
        "pnl": execution.pnl,
        "balance_after": execution.cash_after,
    }
