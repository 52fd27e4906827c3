"""What the exchange's account says, laid beside what is stored: keys, orders, balances."""

import time
from collections.abc import Callable

from sqlalchemy import Engine

from core.errors import BadInput
from core.exchange_orders import CLIENT_ID_LENGTH, CLIENT_ID_PREFIX
from live.bots.threads import uninterrupted
from pipelines.exchanges.trading import TradingAccount
from pipelines.warehouse.exchange_fills import compare_balances, note_balances
from pipelines.warehouse.exchange_orders import live_orders, unknown_ids

BALANCES_S = 60.0

Tell = Callable[[str, str, str], None]


class Reconciler:
    """Compares at the start, and balances every minute in which nothing is under way."""

    def __init__(self, engine: Engine, broker: str, account: TradingAccount, tell: Tell) -> None:
        self._engine = engine
        self._broker = broker
        self._account = account
        self._tell = tell
        self._noted: set[str] = set()
        self._compared_at: float | None = None
        self._told: dict[str, str] = {}

    async def check_keys(self) -> None:
        """BadInput when the keys may not trade, or may do more than is needed."""
        allowed = await self._account.permissions()
        if "trade" not in allowed:
            raise BadInput("keys", "may not trade: give them the permission Trade at OKX")
        if "withdraw" in allowed:
            raise BadInput("keys", "may withdraw: make keys with the permissions Read and Trade only")

    async def compare_orders(self) -> None:
        """Tell of orders at the exchange that carry our mark and are not known here. They are left alone:
        they may be another installation's on the same account."""
        waiting = await self._account.open_orders()
        ours = [report.client_id for report in waiting if _is_marked(report.client_id)]
        unknown = await uninterrupted(unknown_ids, self._engine, self._broker, ours)
        for client_id in unknown:
            self._tell(
                "error",
                "unknown_order",
                f"order {client_id} waits at the exchange and is not known here: cancel it at OKX, unless "
                "another installation trades on this account",
            )
        live = await uninterrupted(live_orders, self._engine, self._broker)
        message = (
            f"{len(live)} orders are under way; {len(waiting)} wait at the exchange, {len(unknown)} unknown"
        )
        self._tell("info", "orders_compared", message)

    async def note(self, symbols: set[str]) -> None:
        """Before the first order in a pair leaves: remember what the account holds besides."""
        new = symbols - self._noted
        if not new:
            return
        held = await self._account.balances()
        await uninterrupted(note_balances, self._engine, self._broker, held, new)
        self._noted |= new

    async def compare_balances(self, at_once: bool = False) -> None:
        """Tell once of each currency whose balance does not follow from our matches."""
        now = time.monotonic()
        if not at_once and self._compared_at is not None and now - self._compared_at < BALANCES_S:
            return
        self._compared_at = now
        held = await self._account.balances()
        found = await uninterrupted(compare_balances, self._engine, self._broker, held)
        for difference in found:
            message = (
                f"the exchange holds {difference.held.normalize():f} {difference.currency}, "
                f"{difference.amount.normalize():+f} against what our matches explain: a transfer "
                "or a trade by hand, or a mistake"
            )
            if self._told.get(difference.currency) != message:
                self._tell("warning", "balance_differs", message)
                self._told[difference.currency] = message


def _is_marked(client_id: str) -> bool:
    return len(client_id) == CLIENT_ID_LENGTH and client_id.startswith(CLIENT_ID_PREFIX)
