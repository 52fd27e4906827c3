"""An account with its algo orders, walked through the market's trades one after the other."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.exchanges.sim.days import DayTrades
from pipelines.exchanges.sim.specs import SymbolSpec
from pipelines.exchanges.sim.trading.account import Account
from pipelines.exchanges.sim.trading.algos import Algo, Leg, parse_algo
from pipelines.exchanges.sim.trading.orders import Rejected

_FAR = 1 << 62
_KEPT = 5_000  # finished algo orders


class Trader:
    """What one API key has going on. The outcome depends on the trades only, not on how they are cut."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.algos: dict[str, Algo] = {}
        self.done_algos: deque[Algo] = deque(maxlen=_KEPT)
        self.algo_changes: list[Algo] = []
        self.unsaved_algos: dict[str, Algo] | None = None  # set by whoever keeps accounts in a file

    def place_algo(
        self, spec: SymbolSpec, args: Mapping[str, Any], last: int, algo_id: str, now_ms: int
    ) -> Algo:
        """Accept an algo order; Rejected when OKX would not."""
        algo = parse_algo(spec, args, last, algo_id, now_ms)
        name = algo.algo_cl_ord_id
        if name and any(name == other.algo_cl_ord_id for other in self.algos.values()):
            raise Rejected("51065", "algoClOrdId already exists.")
        self.algos[algo_id] = algo
        self._changed(algo)
        return algo

    def find_algo(self, algo_id: str, algo_cl_ord_id: str) -> Algo | None:
        """An open algo order by the exchange's id, or by the client's."""
        if algo_id:
            return self.algos.get(algo_id)
        found = (algo for algo in self.algos.values() if algo.algo_cl_ord_id == algo_cl_ord_id)
        return next(found, None)

    def end_algo(self, algo: Algo, state: str) -> None:
        """An algo order is over."""
        algo.state = state
        del self.algos[algo.algo_id]
        self.done_algos.append(algo)
        self._changed(algo)

    def _changed(self, algo: Algo) -> None:
        self.algo_changes.append(algo.snapshot())
        if self.unsaved_algos is not None:
            self.unsaved_algos[algo.algo_id] = algo

    def waits(self) -> set[str]:
        """The pairs in which anything may happen."""
        orders = {order.ticket.spec.symbol for order in self.account.open.values()}
        return orders | {algo.market.spec.symbol for algo in self.algos.values()}

    def walk(self, symbol: str, trades: DayTrades) -> None:
        """Let orders and algo orders of a pair meet trades, oldest first."""
        start = 0
        while start < len(trades):
            low, high = self._bounds(symbol)
            prices = trades.price[start:]
            hits = np.flatnonzero((prices <= low) | (prices >= high))
            if not len(hits):
                return
            at = start + int(hits[0])
            price, ts = int(trades.price[at]), int(trades.ts[at])
            self.account.meet_trade(symbol, price, int(trades.size[at]), ts)
            for algo in [a for a in self.algos.values() if a.market.spec.symbol == symbol]:
                leg = algo.fires(price)
                if leg is not None:
                    self._fire(algo, leg, ts)
            start = at + 1

    def _bounds(self, symbol: str) -> tuple[int, int]:
        """Trades at or below the first, or at or above the second, may change something."""
        low, high = -1, _FAR
        for order in self.account.resting(symbol):
            if order.ticket.side == "buy":
                low = max(low, order.price - 1)
            else:
                high = min(high, order.price + 1)
        for algo in self.algos.values():
            if algo.market.spec.symbol != symbol:
                continue
            if algo.kind == "move_order_stop":
                return _FAR, -1  # every trade moves it
            for leg in algo.legs:
                if leg.above:
                    high = min(high, leg.price)
                else:
                    low = max(low, leg.price)
        return low, high

    def _fire(self, algo: Algo, leg: Leg, ts: int) -> None:
        algo.triggered_ms, algo.fired_side = ts, leg.name
        try:
            algo.ord_id = self.account.place(algo.ticket(leg), ts).ord_id
        except Rejected as rejected:
            algo.fail_code = rejected.code
            self.end_algo(algo, "order_failed")
        else:
            self.end_algo(algo, "effective")
