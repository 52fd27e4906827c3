"""Placing, cancelling and amending, as both REST and the WebSocket ask for it."""

from collections.abc import Callable, Mapping
from typing import Any

from pipelines.exchanges.sim.exchange import Refused
from pipelines.exchanges.sim.limits import SlidingWindow
from pipelines.exchanges.sim.specs import SymbolSpec
from pipelines.exchanges.sim.trading.desk import Desk
from pipelines.exchanges.sim.trading.orders import (
    Order,
    Rejected,
    parse_ident,
    parse_price,
    parse_size,
    parse_ticket,
)
from pipelines.exchanges.sim.trading.trader import Trader

Args = Mapping[str, Any]
Row = dict[str, Any]
Operation = Callable[[Trader, SymbolSpec, Args, int], Order]

MOST_IN_BATCH = 20
_SINGLE, _BATCH, _ACCOUNT = (60, 2.0), (300, 2.0), (1_000, 2.0)


class Operations:
    """Does what orders ask for, one row an order, within OKX's limits per user and instrument."""

    def __init__(self, desk: Desk, rate_limit: float) -> None:
        self._desk = desk
        self._single, self._batch, self._account = (
            SlidingWindow(max(1, round(count * rate_limit)), seconds) if rate_limit > 0 else None
            for count, seconds in (_SINGLE, _BATCH, _ACCOUNT)
        )
        self._operations: dict[str, Operation] = {
            "order": self._place,
            "cancel-order": self._cancel,
            "amend-order": self._amend,
        }

    def single(self, name: str, trader: Trader, args: Any, by_code: bool = False) -> Row:
        """The answer to one order, cancel-order or amend-order; by_code: instIdCode names the pair."""
        if not isinstance(args, Mapping):
            raise Refused("50002", "JSON syntax error", 400)
        key = f"{name}/{trader.account.uid}/{args.get('instIdCode' if by_code else 'instId')}"
        if self._single is not None and not self._single.allows(key):
            raise Refused("50011", "Too Many Requests", 429)
        return _answer([self._one(name, trader, args, by_code)], self._desk.advance())

    def batch(self, name: str, trader: Trader, args: Any, by_code: bool = False) -> Row:
        """The answer to up to 20 of them."""
        if not isinstance(args, list) or not all(isinstance(arg, Mapping) for arg in args) or not args:
            raise Refused("50002", "JSON syntax error", 400)
        if len(args) > MOST_IN_BATCH:
            raise Refused("51111", f"Maximum {MOST_IN_BATCH} orders can be placed in bulk")
        rows = []
        for arg in args:
            key = f"{name}/{trader.account.uid}/{arg.get('instIdCode' if by_code else 'instId')}"
            allowed = self._batch is None or self._batch.allows(key)
            rows.append(
                self._one(name, trader, arg, by_code) if allowed else _row(arg, "50011", "Too Many Requests")
            )
        return _answer(rows, self._desk.advance())

    def _one(self, name: str, trader: Trader, args: Args, by_code: bool) -> Row:
        now = self._desk.advance()
        try:
            if self._account is not None and not self._account.allows(trader.account.uid):
                raise Rejected("50061", "Sub-account rate limit exceeded.")
            spec = self._code(args) if by_code else self._desk.spec(args.get("instId"))
            order = self._operations[name](trader, spec, args, now)
        except Rejected as rejected:
            return _row(args, rejected.code, rejected.message, now)
        row = _row(args, "0", "Order placed" if name == "order" else "", now)
        return row | {"ordId": order.ord_id, "clOrdId": order.ticket.cl_ord_id}

    def _code(self, args: Args) -> SymbolSpec:
        code = str(args.get("instIdCode", ""))
        spec = next((spec for number, spec in self._desk.codes.items() if str(number) == code), None)
        if spec is None:
            raise Rejected("51000", "Parameter instIdCode error")
        return spec

    def _place(self, trader: Trader, spec: SymbolSpec, args: Args, now: int) -> Order:
        return trader.account.place(parse_ticket(spec, args), now)

    def _cancel(self, trader: Trader, spec: SymbolSpec, args: Args, now: int) -> Order:
        order = _find_open(trader, spec, args, "51400")
        trader.account.cancel(order, now)
        return order

    def _amend(self, trader: Trader, spec: SymbolSpec, args: Args, now: int) -> Order:
        order = _find_open(trader, spec, args, "51503")
        parse_ident(args, "reqId", 32)
        price = parse_price(spec, args["newPx"], "newPx") if args.get("newPx") else None
        size = parse_size(spec, args["newSz"]) if args.get("newSz") else None
        if price is None and size is None:
            raise Rejected("51500", "You must enter a price, quantity, or TP/SL")
        trader.account.amend(order, now, price, size)
        return order


def _find_open(trader: Trader, spec: SymbolSpec, args: Args, code: str) -> Order:
    ord_id, cl_ord_id = str(args.get("ordId") or ""), str(args.get("clOrdId") or "")
    if not ord_id and not cl_ord_id:
        raise Rejected("51003", "Either client order ID or order ID is required")
    order = trader.account.find_open(ord_id, cl_ord_id)
    if order is None or order.ticket.spec is not spec:
        verb = "Cancellation" if code == "51400" else "Order modification"
        raise Rejected(code, f"{verb} failed as the order has been filled, canceled or does not exist.")
    return order


def _row(args: Args, code: str, message: str, now_ms: int = 0) -> Row:
    row = {"clOrdId": str(args.get("clOrdId") or ""), "ordId": str(args.get("ordId") or "")}
    row |= {"reqId": str(args["reqId"])} if args.get("reqId") else {}
    return row | {"sCode": code, "sMsg": message, "tag": str(args.get("tag") or ""), "ts": str(now_ms)}


def _answer(rows: list[Row], now_ms: int) -> Row:
    failed = sum(row["sCode"] != "0" for row in rows)
    code, message = "0", ""
    if failed:
        whole = failed == len(rows)
        code, message = (
            ("1", "All operations failed") if whole else ("2", "Bulk operation partially succeeded.")
        )
    micros = str(now_ms * 1000)
    return {"code": code, "data": rows, "inTime": micros, "msg": message, "outTime": micros}
