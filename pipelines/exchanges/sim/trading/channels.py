"""The private side of the WebSocket: login, order operations, and pushes of orders and balances."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from pipelines.exchanges.sim.connection import Connection
from pipelines.exchanges.sim.exchange import Refused
from pipelines.exchanges.sim.trading import rows
from pipelines.exchanges.sim.trading.account import Change
from pipelines.exchanges.sim.trading.algos import Algo
from pipelines.exchanges.sim.trading.desk import Desk
from pipelines.exchanges.sim.trading.endpoints import Endpoints
from pipelines.exchanges.sim.trading.faulty import FaultyLine, Lost
from pipelines.exchanges.sim.trading.operations import Operations
from pipelines.exchanges.sim.trading.signing import Gate
from pipelines.exchanges.sim.trading.trader import Trader

# channel → the URL that serves it
PRIVATE_CHANNELS = {
    "orders": "private",
    "account": "private",
    "balance_and_position": "private",
    "orders-algo": "business",
}
Operation = Callable[[Trader, Any], dict[str, Any]]

_SPOT = ("SPOT", "ANY")


class PrivateChannels:
    """Knows who is logged in and subscribed to what; clocks: virtual and wall time, ms."""

    def __init__(
        self,
        desk: Desk,
        gate: Gate,
        operations: Operations,
        endpoints: Endpoints,
        line: FaultyLine,
        clocks: Callable[[], tuple[int, int]],
    ) -> None:
        self._desk = desk
        self._gate = gate
        self._endpoints = endpoints
        self._line = line
        self._clocks = clocks
        self._subscribed: dict[Connection, list[dict[str, Any]]] = {}
        single, batch = operations.single, operations.batch
        self.operations: dict[str, Operation] = {
            "order": lambda t, args: single("order", t, args[0], True),
            "cancel-order": lambda t, args: single("cancel-order", t, args[0], True),
            "amend-order": lambda t, args: single("amend-order", t, args[0], True),
            "batch-orders": lambda t, args: batch("order", t, args, True),
            "batch-cancel-orders": lambda t, args: batch("cancel-order", t, args, True),
            "batch-amend-orders": lambda t, args: batch("amend-order", t, args, True),
        }

    def login(self, connection: Connection, arg: dict[str, Any]) -> None:
        """Check credentials; public connections have nobody to log in."""
        try:
            if connection.access == "public":
                raise Refused("60009", "Login failed.")
            connection.api_key = self._gate.login(arg, self._clocks())
        except Refused as refused:
            event = {"event": "error", "code": refused.code, "msg": refused.message}
        else:
            event = {"event": "login", "code": "0", "msg": ""}
        connection.reply(msgspec.json.encode(event | {"connId": connection.ident}))

    def operate(self, connection: Connection, op: str, args: list[Any], ident: str | None) -> None:
        """Place, cancel or amend, and answer."""
        try:
            if connection.access != "private" or not connection.api_key:
                raise Refused("60011", "Please log in.")
            trader, operation = self._desk.traders[connection.api_key], self.operations[op]
            answer = self._line.carry(lambda: self._kept(operation, trader, args), args, trader.account)
        except Lost:
            return
        except Refused as refused:
            answer = {"code": refused.code, "msg": refused.message, "data": []}
        connection.reply(msgspec.json.encode({"id": ident or "", "op": op} | answer))

    def _kept(self, operation: Operation, trader: Trader, args: list[Any]) -> dict[str, Any]:
        answer = operation(trader, args)
        self._desk.keep()
        return answer

    def change(self, connection: Connection, op: str, arg: dict[str, Any]) -> None:
        """Add or drop a subscription; balances begin with a snapshot."""
        args = self._subscribed.setdefault(connection, [])
        if op == "unsubscribe":
            args[:] = [other for other in args if other != arg]
        elif arg not in args:
            args.append(arg)
            trader, now = self._desk.traders[connection.api_key], self._desk.advance()
            held = [name for name, amount in trader.account.cash.items() if amount]
            if arg["channel"] == "account":
                self._push_account(connection, arg, trader, held, now, "snapshot")
            elif arg["channel"] == "balance_and_position":
                self._push_balances(connection, arg, trader, held, [], now)

    def leave(self, connection: Connection) -> None:
        """Forget a connection that ended."""
        self._subscribed.pop(connection, None)

    def flush(self) -> None:
        """Push what happened to every trader since the last time."""
        now = self._desk.advance()
        self._desk.keep()
        for key, trader in self._desk.traders.items():
            account = trader.account
            changes, account.changes = account.changes, []
            algos, trader.algo_changes = trader.algo_changes, []
            if not changes and not algos:
                continue
            if (delay_s := self._line.push_delay_s()) > 0:
                late = (key, trader, changes, algos, now)
                asyncio.get_running_loop().call_later(delay_s, self._deliver, *late)
            else:
                self._deliver(key, trader, changes, algos, now)

    def _deliver(self, key: str, trader: Trader, changes: list[Change], algos: list[Algo], now: int) -> None:
        for connection, args in self._subscribed.items():
            if connection.api_key == key:
                for arg in args:
                    self._push(connection, arg, trader, changes, now)
                    if arg["channel"] == "orders-algo":
                        found = [a for a in algos if _wants(arg, a.market.spec.symbol)]
                        for algo in found:
                            _send(connection, arg, trader, [rows.algo_row(algo)])

    def _push(
        self, connection: Connection, arg: dict[str, Any], trader: Trader, changes: list[Change], now: int
    ) -> None:
        if arg["channel"] == "orders":
            for change in changes:
                spec = change.order.ticket.spec
                if _wants(arg, spec.symbol):
                    last = self._desk.market.last(spec.symbol, change.order.updated_ms)
                    _send(connection, arg, trader, [rows.order_push(change.order, change.fill, last)])
        specs = [change.order.ticket.spec for change in changes]
        touched = sorted({spec.base for spec in specs} | {spec.quote for spec in specs})
        if arg["channel"] == "account" and changes:
            self._push_account(connection, arg, trader, touched, now, "event_update")
        fills = [change for change in changes if change.fill]
        if arg["channel"] == "balance_and_position" and fills:
            self._push_balances(connection, arg, trader, touched, fills, now)

    def _push_account(
        self,
        connection: Connection,
        arg: dict[str, Any],
        trader: Trader,
        currencies: list[str],
        now: int,
        event: str,
    ) -> None:
        wanted = [name for name in currencies if arg.get("ccy") in (None, "", name)]
        row = self._endpoints.balance_row(trader, wanted, now)
        more = {"eventType": event, "curPage": 1, "lastPage": True}
        _send(connection, arg, trader, [row], more)

    def _push_balances(
        self,
        connection: Connection,
        arg: dict[str, Any],
        trader: Trader,
        currencies: list[str],
        fills: list[Change],
        now: int,
    ) -> None:
        cash = trader.account.cash
        balances = [
            {"ccy": name, "cashBal": rows.text(cash[name]), "uTime": str(now)}
            for name in currencies
            if name in cash
        ]
        trades = [
            {"instId": change.order.ticket.spec.symbol, "tradeId": change.fill.trade_id}
            for change in fills
            if change.fill
        ]
        row = {
            "balData": balances,
            "eventType": "filled" if fills else "snapshot",
            "posData": [],
            "pTime": str(now),
            "trades": trades,
        }
        _send(connection, arg, trader, [row])


def _wants(arg: dict[str, Any], symbol: str) -> bool:
    return arg.get("instType", "ANY") in _SPOT and arg.get("instId") in (None, "", symbol)


def _send(
    connection: Connection,
    arg: dict[str, Any],
    trader: Trader,
    data: list[Any],
    more: dict[str, Any] | None = None,
) -> None:
    whole = {"arg": arg | {"uid": trader.account.uid}} | (more or {}) | {"data": data}
    connection.push(msgspec.json.encode(whole))
