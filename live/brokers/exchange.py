"""A bot's orders for a real exchange: decided as on paper, stored, and sent by `live.brokers.process`.

The account is what the exchange's matches made of it. Stops, take-profits and trailing stops are not the
bot's business: they wait at the exchange (live.brokers.protection). A limit entry waits there too, and is
withdrawn when its time is over (live.brokers.executor); the longest time of holding is looked at here.
"""

from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import Connection

from core.candles import Candle
from core.decisions import Account, Outcome, Rules
from core.fills import sellable
from core.orders import Order, OrderStatus, OrderType
from core.signals import Signal, SignalType
from core.trades import Side
from live.brokers.base import Decide
from pipelines.warehouse.exchange_fills import entry_filled_ms, read_portfolio
from pipelines.warehouse.exchange_orders import ENTRY_KINDS, live_orders, submit, withdraw

HEADROOM = Decimal("0.005")
"""Part of the cash that a market buy leaves, because the price moves before it is filled."""
STALE_CANDLES = 2
"""A buy for a candle that closed more than so many candles ago is vetoed, unless the bot has a limit."""


class ExchangeBroker:
    """Routes the orders of one bot.

    Parameters
    ----------
    broker: okx-demo or okx
    off: why nothing is sent, kept as an attribute; None: orders are
    """

    def __init__(self, bot_id: int, broker: str, symbol: str, off: str | None) -> None:
        self._bot_id = bot_id
        self._broker = broker
        self._symbol = symbol
        self.off = off

    def account(self, connection: Connection, account: Account) -> Account:
        """With what the exchange's matches have made of it."""
        portfolio = read_portfolio(connection, self._bot_id)
        return msgspec.structs.replace(account, portfolio=portfolio, open_order=None, protection=())

    def judge(
        self,
        connection: Connection,
        rules: Rules,
        account: Account,
        candle: Candle,
        signal: Signal,
        decide: Decide,
    ) -> Outcome:
        """The decision on the account at the exchange, in which nothing is filled here."""
        waits = self._waits(connection, signal)
        if waits:
            signal = msgspec.structs.replace(signal, signal_type=SignalType.HOLD)
        terms = _rules(rules, candle, in_time=not waits)
        entered_ms = None
        if terms.limits.max_candles is not None and sellable(rules.instrument, account.portfolio.quantity):
            filled_ms = entry_filled_ms(connection, self._bot_id)
            entered_ms = None if filled_ms is None else candle.timeframe.close_ms(filled_ms)
        outcome = decide(terms, _with_matching(account, entered_ms=entered_ms), signal)
        orders = tuple(self._vetoed(order, outcome) for order in outcome.orders)
        account = msgspec.structs.replace(outcome.account, open_order=None)
        account = _with_matching(account, entered_ms=None, highest=Decimal(0))
        return msgspec.structs.replace(outcome, account=account, orders=orders)

    def send(self, connection: Connection, outcome: Outcome) -> bool:
        """Store what is to be sent, beside the orders' own rows."""
        waiting = [order for order in outcome.orders if order.status is OrderStatus.OPEN]
        for order in waiting:
            submit(connection, self._bot_id, self._broker, self._symbol, order)
        return bool(waiting)

    def _waits(self, connection: Connection, signal: Signal) -> bool:
        """Whether an order is under way, so that no other may be; one against the signal is withdrawn. What a
        withdrawn buy had bought by then is sold all the same, by one sale, which waits for its end."""
        entries = [
            order
            for order in live_orders(connection, self._broker, self._bot_id)
            if order.kind.value in ENTRY_KINDS
        ]
        sells = any(order.side is Side.SELL for order in entries)
        wanted = Side.SELL if sells else Side.BUY
        if entries and signal.signal_type.value not in {"hold", wanted.value}:
            why = f"a {signal.signal_type} signal came before it was filled"
            withdraw(connection, self._bot_id, why, protective=False)
            return sells
        return bool(entries)

    def _vetoed(self, order: Order, outcome: Outcome) -> Order:
        if order.status is not OrderStatus.OPEN or self.off is None:
            return order
        return msgspec.structs.replace(order, status=OrderStatus.REJECTED, reason=f"not sent: {self.off}")


def _with_matching(account: Account, **changes: Any) -> Account:
    return msgspec.structs.replace(account, matching=msgspec.structs.replace(account.matching, **changes))


def _rules(rules: Rules, candle: Candle, in_time: bool) -> Rules:
    """Orders at the market sized with headroom, limits by their price, on fresh data; stops and take-profits
    are at the exchange. in_time: a position may be held for too long, since no order is under way."""
    stale_s = STALE_CANDLES * candle.timeframe.ms // 1000
    limits = msgspec.structs.replace(
        rules.limits,
        stop_loss=None,
        take_profit=None,
        trailing_stop=None,
        max_candles=rules.limits.max_candles if in_time else None,
        max_data_age_s=rules.limits.max_data_age_s or stale_s,
    )
    moves = rules.entry.kind is OrderType.MARKET
    costs = msgspec.structs.replace(
        rules.costs, slippage=max(rules.costs.slippage, HEADROOM) if moves else Decimal(0)
    )
    return msgspec.structs.replace(rules, limits=limits, costs=costs, ticks=True, path="candle")
