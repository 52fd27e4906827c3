"""What the exchange's account says, laid beside what is stored: keys, orders, balances."""

import asyncio
from collections.abc import Callable, Set
from decimal import Decimal

import msgspec
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from core.errors import BadInput, Unavailable
from core.exchange_orders import CLIENT_ID_LENGTH, CLIENT_ID_PREFIX
from live.bots.faults import said
from live.bots.threads import uninterrupted
from pipelines.exchanges.trading import TradingAccount
from pipelines.warehouse.exchange_fills import compare_balances, note_balances, noted_pairs
from pipelines.warehouse.exchange_orders import ended_orders, live_orders, unknown_ids

COMPARE_S = 60.0
NOTE_S = 1.0
"""Between two tries to learn what the account holds, while a buy waits for it."""
FAILURES_TOLD = 5
"""Comparisons in a row that failed, after which it is told."""
SETTLED_S = 30.0
"""An order that has been over here for so long and waits at the exchange did not end just now, on the list's
way to us."""

Tell = Callable[[str, str, str], None]
Activity = Callable[[], int | None]
"""How many orders were ever under way; None while one is."""

_log = structlog.get_logger("orders")


class Reconciler:
    """Compares at the start and every minute, whatever is under way."""

    def __init__(
        self, engine: Engine, broker: str, account: TradingAccount, tell: Tell, activity: Activity
    ) -> None:
        self._engine = engine
        self._broker = broker
        self._account = account
        self._tell = tell
        self._activity = activity
        self._noted: set[str] = set()
        self._wanted: set[str] = set()
        self._asked = asyncio.Event()
        self._amounts: dict[str, Decimal] = {}
        self._told_amounts: dict[str, Decimal] = {}
        self._told: set[str] = set()

    async def run(self) -> None:
        """Compare, for ever. BadInput when the exchange does not want the keys any more."""
        first, failures = True, 0
        while True:
            try:
                await self.compare_orders(first)
                await self.compare_balances()
                first, failures = False, 0
            except (Unavailable, SQLAlchemyError) as error:
                failures += 1
                reason = said(error) if isinstance(error, SQLAlchemyError) else str(error)
                _log.warning("not compared", reason=reason)
                if failures == FAILURES_TOLD:
                    message = f"orders and balances could not be compared {failures} times: {reason}"
                    self._tell("warning", "not_compared", message)
            await asyncio.sleep(COMPARE_S)

    async def check_keys(self) -> None:
        """BadInput when the keys may not trade, or may do more than is needed."""
        allowed = await self._account.permissions()
        if "trade" not in allowed:
            raise BadInput("keys", "may not trade: give them the permission Trade at OKX")
        if "withdraw" in allowed:
            raise BadInput("keys", "may withdraw: make keys with the permissions Read and Trade only")

    async def compare_orders(self, summary: bool = False) -> None:
        """Look for orders at the exchange that carry our mark and should not wait there.

        One that is over here is cancelled. One that is not known here is left alone: it may be another
        installation's on the same account. Each is told once. summary: tell the numbers too
        """
        waiting = await self._account.open_orders()
        there = {report.client_id: report.exchange_id for report in waiting if _is_marked(report.client_id)}
        ours = list(there)
        unknown = await uninterrupted(unknown_ids, self._engine, self._broker, ours)
        for client_id in unknown:
            self._once(
                client_id,
                "unknown_order",
                f"order {client_id} waits at the exchange and is not known here: cancel it at OKX, unless "
                "another installation trades on this account",
            )
        for order in await uninterrupted(ended_orders, self._engine, self._broker, ours, SETTLED_S):
            self._once(
                order.client_id,
                "stray_order",
                f"order {order.order_id} ({order.client_id}) waits at the exchange and is {order.state.value}"
                " here: it is cancelled there; what it matched meanwhile shows as balance_differs",
            )
            # by the number that it has there: it may be a second one under the same name
            await self._account.cancel(msgspec.structs.replace(order, exchange_id=there[order.client_id]))
        if summary:
            live = await uninterrupted(live_orders, self._engine, self._broker)
            numbers = f"{len(live)} orders are under way; {len(waiting)} wait at the exchange"
            self._tell("info", "orders_compared", f"{numbers}, {len(unknown)} unknown")

    def knows(self, symbol: str) -> bool:
        """Whether it is stored what the account held besides before the first order in a pair; if it is not,
        `take_notes` sees to it."""
        if symbol in self._noted:
            return True
        self._wanted.add(symbol)
        self._asked.set()
        return False

    async def take_notes(self) -> None:
        """See to what `knows` was asked for and is not stored, for ever."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            wanted, self._wanted = self._wanted, set()
            if not wanted <= await self.note(wanted):
                await asyncio.sleep(NOTE_S)

    async def note(self, symbols: Set[str]) -> Set[str]:
        """Before the first buy in a pair leaves: remember what the account holds besides. Returns the pairs
        of which that is known; of the others it is told that nothing is bought, and why."""
        reason = "the exchange's balance of one of its currencies is no number"
        try:
            self._noted |= await uninterrupted(noted_pairs, self._engine, self._broker, symbols - self._noted)
            if new := symbols - self._noted:
                held = await self._account.balances()
                self._noted |= await uninterrupted(note_balances, self._engine, self._broker, held, new)
        except (Unavailable, SQLAlchemyError) as error:
            reason = said(error) if isinstance(error, SQLAlchemyError) else str(error)
        for symbol in sorted(symbols - self._noted):
            message = f"nothing is bought in {symbol} before it is known what the account holds: {reason}"
            self._once(f"{symbol} unknown", "buys_held_back", message)
        return self._noted

    async def compare_balances(self) -> None:
        """Tell of each difference between a currency's balance and what follows from our matches, once until
        it is another one or has been none.

        While orders are under way a match may have changed the balance that is not stored yet. It will be by
        the next time, so that of two comparisons with the same difference, to the last digit, the second one
        counts; with nothing under way each does.
        """
        before = self._activity()
        held = await self._account.balances()
        is_quiet = before is not None and before == self._activity()
        for currency in sorted(name for name, amount in held.items() if amount is None):
            message = f"the exchange's balance of {currency} is no number: it is not compared"
            self._once(f"{currency} unreadable", "not_compared", message, "warning")
        amounts = None if is_quiet else self._amounts
        found = await uninterrupted(compare_balances, self._engine, self._broker, held, amounts)
        self._amounts = {difference.currency: difference.amount for difference in found}
        told, self._told_amounts = self._told_amounts, {}
        for difference in found:
            currency, amount = difference.currency, difference.amount
            if difference.is_certain and told.get(currency) != amount:
                message = (
                    f"the exchange holds {difference.held.normalize():f} {currency}, "
                    f"{amount.normalize():+f} against what our matches explain: a transfer "
                    "or a trade by hand, or a mistake; `tcp bots balances` shows it"
                )
                self._tell("warning", "balance_differs", message)
                self._told_amounts[currency] = amount
            elif currency in told:
                self._told_amounts[currency] = told[currency]

    def _once(self, about: str, event: str, message: str, level: str = "error") -> None:
        if about not in self._told:
            self._told.add(about)
            self._tell(level, event, message)


def _is_marked(client_id: str) -> bool:
    return len(client_id) == CLIENT_ID_LENGTH and client_id.startswith(CLIENT_ID_PREFIX)
