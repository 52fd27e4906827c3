"""A bot's orders for a real exchange: decided as on paper, stored, and sent by `live.brokers.process`.

The account is what the exchange's matches made of it. Stops and take-profits are not the bot's business: they
wait at the exchange (live.brokers.protection).
"""

from decimal import Decimal

import msgspec
from sqlalchemy import Connection

from core.accounts import Entry
from core.candles import Candle
from core.decisions import Account, Outcome, Rules
from core.orders import Order, OrderStatus
from core.signals import Signal, SignalType
from live.brokers.base import Decide
from pipelines.warehouse.exchange_fills import read_portfolio
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
        if self._waits(connection, signal):
            signal = msgspec.structs.replace(signal, signal_type=SignalType.HOLD)
        outcome = decide(_rules(rules, candle), account, signal)
        orders = tuple(self._vetoed(order, outcome) for order in outcome.orders)
        account = msgspec.structs.replace(outcome.account, open_order=None)
        return msgspec.structs.replace(outcome, account=account, orders=orders)

    def send(self, connection: Connection, outcome: Outcome) -> bool:
        """Store what is to be sent, beside the orders' own rows."""
        waiting = [order for order in outcome.orders if order.status is OrderStatus.OPEN]
        for order in waiting:
            submit(connection, self._bot_id, self._broker, self._symbol, order)
        return bool(waiting)

    def _waits(self, connection: Connection, signal: Signal) -> bool:
        """Whether an order is under way, so that no other may be; one against the signal is withdrawn."""
        entries = [
            order
            for order in live_orders(connection, self._broker, self._bot_id)
            if order.kind.value in ENTRY_KINDS
        ]
        if entries and signal.signal_type.value not in {"hold", entries[0].side.value}:
            why = f"a {signal.signal_type} signal came before it was filled"
            withdraw(connection, self._bot_id, why, protective=False)
        return bool(entries)

    def _vetoed(self, order: Order, outcome: Outcome) -> Order:
        if order.status is not OrderStatus.OPEN or self.off is None:
            return order
        return msgspec.structs.replace(order, status=OrderStatus.REJECTED, reason=f"not sent: {self.off}")


def _rules(rules: Rules, candle: Candle) -> Rules:
    """Market orders, sized with headroom, on fresh data; stops and take-profits are at the exchange."""
    stale_s = STALE_CANDLES * candle.timeframe.ms // 1000
    limits = msgspec.structs.replace(
        rules.limits,
        stop_loss=None,
        take_profit=None,
        trailing_stop=None,
        max_candles=None,
        max_data_age_s=rules.limits.max_data_age_s or stale_s,
    )
    costs = msgspec.structs.replace(rules.costs, slippage=max(rules.costs.slippage, HEADROOM))
    return msgspec.structs.replace(rules, limits=limits, costs=costs, entry=Entry(), path="candle")
