"""Order operations with faults between the client and the exchange."""

from collections.abc import Callable, Mapping
from typing import Any

from pipelines.exchanges.sim.exchange import Refused
from pipelines.exchanges.sim.fault_plan import FaultPlan
from pipelines.exchanges.sim.faults import OrderFault, OrderFaults

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

    def carry(self, operation: Callable[[], Answer], args: Any) -> Answer:
        """The answer of an operation, or of what went wrong; Lost when there is none."""
        fault = self._faults.draw()
        if fault is OrderFault.LOST_REQUEST:
            raise Lost
        if fault is OrderFault.TOO_MANY:
            raise Refused("50011", "Too Many Requests", 429)
        if fault is OrderFault.REJECT:
            return _rejected(args)
        answer = operation()
        if fault is OrderFault.LOST_ANSWER:
            raise Lost
        return answer


def _rejected(args: Any) -> Answer:
    rows = [
        {name: str(arg.get(name) or "") for name in ("ordId", "clOrdId", "algoId", "algoClOrdId", "tag")}
        | {"sCode": "50026", "sMsg": "System error, please try again later."}
        for arg in (args if isinstance(args, list) else [args])
        if isinstance(arg, Mapping)
    ]
    return {"code": "1", "msg": "All operations failed", "data": rows}
