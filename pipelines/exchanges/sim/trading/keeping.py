"""Accounts of the simulated exchange in a file, so that they survive its end, a kill included.

A line of JSON for each change: what each account's cash is now, and the orders, fills and algo orders that
are new or changed. The newest of each id counts. A line is written before anybody hears of what it tells, so
one that a kill has torn was never told. Reading the file writes it anew, one line long.
"""

import dataclasses
import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from pipelines.exchanges.sim.trading.account import Account, Unsaved
from pipelines.exchanges.sim.trading.algos import Algo, Leg
from pipelines.exchanges.sim.trading.desk import Desk
from pipelines.exchanges.sim.trading.orders import Fill, Order, State, Ticket
from pipelines.exchanges.sim.trading.trader import Trader

Document = dict[str, Any]


class AccountsFile:
    """Fills a desk from the file, and keeps the file level with it."""

    def __init__(self, path: Path, desk: Desk) -> None:
        self._path = path
        self._desk = desk
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = read_lines(path)
        self._orders: dict[str, dict[str, Order]] = {}
        for line in lines:
            self._apply(line)
        self._orders.clear()
        if lines:
            desk.resume(lines[-1]["shown_ms"], lines[-1]["issued"])
        new = path.with_name(path.name + ".new")
        new.write_bytes(_encoded(self._whole()))
        new.replace(path)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        for trader in desk.traders.values():
            trader.account.unsaved, trader.unsaved_algos = Unsaved(), {}

    def save(self) -> None:
        """Append what happened since the last time."""
        changed: Document = {}
        for key, trader in self._desk.traders.items():
            unsaved, algos = trader.account.unsaved, trader.unsaved_algos
            if unsaved is None or algos is None or not (unsaved.orders or unsaved.fills or algos):
                continue
            # a trailing stop remembers the best price so far, which is no event
            trailing = {name: algo for name, algo in trader.algos.items() if algo.kind == "move_order_stop"}
            orders, fills = list(unsaved.orders.values()), unsaved.fills
            changed[key] = _document(trader.account, orders, fills, {**trailing, **algos})
            trader.account.unsaved, trader.unsaved_algos = Unsaved(), {}
        if changed:
            os.write(self._descriptor, _encoded(self._line(changed)))

    def _line(self, traders: Document) -> Document:
        return {"shown_ms": self._desk.shown_ms, "issued": self._desk.issued, "traders": traders}

    def _whole(self) -> Document:
        found: Document = {}
        for key, trader in self._desk.traders.items():
            account = trader.account
            orders = [*account.done, *account.open.values()]
            algos = {algo.algo_id: algo for algo in (*trader.done_algos, *trader.algos.values())}
            found[key] = _document(account, orders, list(account.fills), algos)
        return self._line(found)

    def _apply(self, line: Document) -> None:
        for key, document in line["traders"].items():
            if (trader := self._desk.traders.get(key)) is not None:
                self._take_in(trader, document)

    def _take_in(self, trader: Trader, document: Document) -> None:
        account, specs = trader.account, self._desk.specs
        orders = self._orders.setdefault(account.uid, {})
        account.cash = {name: Decimal(amount) for name, amount in document["cash"].items()}
        for row in document["orders"]:
            ticket = Ticket(**{**row["ticket"], "spec": specs[row["ticket"]["spec"]]})
            order = Order(
                **{**row, "ticket": ticket, "fee": Decimal(row["fee"]), "state": State(row["state"])}
            )
            account.open.pop(order.ord_id, None)
            if order.open:
                account.open[order.ord_id] = order
            else:
                account.done.append(order)
            orders[order.ord_id] = order
        fills = {}
        for row in document["fills"]:
            fill = Fill(**{**row, "order": orders[row["order"]], "fee": Decimal(row["fee"])})
            account.fills.append(fill)
            fills[fill.trade_id] = fill
        for row in document["orders"]:
            order = orders[row["ord_id"]]
            order.last_fill = fills.get(row["last_fill"])
        for row in document["algos"]:
            self._take_in_algo(trader, row)

    def _take_in_algo(self, trader: Trader, row: Document) -> None:
        market = Ticket(**{**row["market"], "spec": self._desk.specs[row["market"]["spec"]]})
        legs = tuple(Leg(**leg) for leg in row["legs"])
        ratio = Decimal(row["callback_ratio"])
        algo = Algo(**{**row, "market": market, "legs": legs, "callback_ratio": ratio})
        trader.algos.pop(algo.algo_id, None)
        if algo.state == "live":
            trader.algos[algo.algo_id] = algo
        else:
            trader.done_algos.append(algo)


def read_lines(path: Path) -> list[Document]:
    """Every whole line of the file; none when there is no file."""
    if not path.exists():
        return []
    # what follows the last line end was torn by a kill
    return [msgspec.json.decode(line) for line in path.read_bytes().split(b"\n")[:-1]]


def shown_ms(path: Path) -> int | None:
    """The virtual time up to which the file's accounts have met the market; None when there is no file."""
    lines = read_lines(path)
    return lines[-1]["shown_ms"] if lines else None


def _encoded(document: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(document) + b"\n"


def _document(
    account: Account, orders: list[Order], fills: list[Fill], algos: Mapping[str, Algo]
) -> Document:
    return {
        "cash": account.cash,
        "orders": [_order(order) for order in orders],
        "fills": [_shallow(fill) | {"order": fill.order.ord_id} for fill in fills],
        "algos": [
            _shallow(algo) | {"market": _ticket(algo.market), "legs": [_shallow(leg) for leg in algo.legs]}
            for algo in algos.values()
        ],
    }


def _order(order: Order) -> Document:
    last = order.last_fill.trade_id if order.last_fill else None
    return _shallow(order) | {"ticket": _ticket(order.ticket), "last_fill": last}


def _ticket(ticket: Ticket) -> Document:
    return _shallow(ticket) | {"spec": ticket.spec.symbol}


def _shallow(record: Any) -> Document:
    """The fields of a dataclass, as they are."""
    return {part.name: getattr(record, part.name) for part in dataclasses.fields(record)}
