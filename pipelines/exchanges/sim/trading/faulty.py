"""Order operations with faults between the client and the exchange."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from pipelines.exchanges.sim.exchange import Refused
from pipelines.exchanges.sim.fault_plan import FaultPlan
from pipelines.exchanges.sim.faults import OrderFault, OrderFaults
from pipelines.exchanges.sim.trading.account import Account

Answer = dict[str, Any]


class Lost(Exception):
    """No answer reaches the client; whether the operation was carried out it cannot know."""


class FaultyLine:
    """Lets an operation through, or not, as the plan says."""

    def __init__(self, plan: FaultPlan) -> None:
        self._faults = OrderFaults(plan)

    @property
    def timeout_s(self) -> float:
        """Seconds to wait before a connection is cut."""
        return self._faults.timeout_s

    def set_plan(self, plan: FaultPlan) -> None:
        """From now on other faults."""
        self._faults = OrderFaults(plan)

    def push_delay_s(self) -> float:
        """How late the next push of an account comes."""
        return self._faults.push_delay_s()

    def carry(self, operation: Callable[[], Answer], args: Any, account: Account) -> Answer:
        """The answer of an operation, or of what went wrong; Lost when there is none."""
        fault = self._faults.draw()
        if fault is OrderFault.LOST_REQUEST:
            raise Lost
        if fault is OrderFault.TOO_MANY:
            raise Refused("50011", "Too Many Requests", 429)
        if fault is OrderFault.REJECT:
            return rejected(args, "50026", "System error, please try again later.")
        if fault is OrderFault.LATE:
            asyncio.get_running_loop().call_later(self._faults.late_by_s, _unheard, operation)
            raise Lost
        account.book_is_thin = fault is OrderFault.PARTIAL
        try:
            answer = operation()
        finally:
            account.book_is_thin = False
        if fault is OrderFault.LOST_ANSWER:
            raise Lost
        return answer


def rejected(args: Any, code: str, message: str) -> Answer:
    """The answer to an operation, or several, of which none was carried out."""
    rows = [
        {name: str(arg.get(name) or "") for name in ("ordId", "clOrdId", "algoId", "algoClOrdId", "tag")}
        | {"sCode": code, "sMsg": message}
        for arg in (args if isinstance(args, list) else [args])
        if isinstance(arg, Mapping)
    ]
    return {"code": "1", "msg": "All operations failed", "data": rows}


def _unheard(operation: Callable[[], Answer]) -> None:
    """Carry an operation out whose client has gone."""
    with contextlib.suppress(Refused):
        operation()
