"""The private REST endpoints, apart from HTTP: arguments in, OKX's envelope out."""

from collections.abc import Callable, Mapping
from typing import Any

from pipelines.exchanges.sim.exchange import Refused
from pipelines.exchanges.sim.trading import queries, rows
from pipelines.exchanges.sim.trading.algos import ALGO_KINDS, Algo
from pipelines.exchanges.sim.trading.desk import Desk
from pipelines.exchanges.sim.trading.operations import Operations
from pipelines.exchanges.sim.trading.orders import Rejected
from pipelines.exchanges.sim.trading.trader import Trader

Handler = Callable[[Trader, Any, int], dict[str, Any]]


class Endpoints:
    """Handlers by (method, path below /api/v5): of a trader, the arguments and the virtual time."""

    def __init__(self, desk: Desk, operations: Operations) -> None:
        self._desk = desk
        self.routes: dict[tuple[str, str], Handler] = {
            ("GET", "/account/balance"): self.balance,
            ("GET", "/account/config"): self.config,
            ("GET", "/account/trade-fee"): self.trade_fee,
            ("GET", "/asset/currencies"): self.currencies,
            ("GET", "/trade/order"): lambda t, q, now: _rows([queries.one_order(t, q, now)]),
            ("GET", "/trade/orders-pending"): lambda t, q, now: _rows(queries.open_orders(t, q)),
            ("GET", "/trade/orders-history"): lambda t, q, now: _rows(queries.finished_orders(t, q, now, 7)),
            ("GET", "/trade/orders-history-archive"): lambda t, q, now: _rows(
                queries.finished_orders(t, q, now, 90)
            ),
            ("GET", "/trade/fills"): lambda t, q, now: _rows(queries.fills(t, q, now, 3)),
            ("GET", "/trade/fills-history"): lambda t, q, now: _rows(queries.fills(t, q, now, 90)),
            ("GET", "/trade/order-algo"): lambda t, q, now: _rows([queries.one_algo(t, q)]),
            ("GET", "/trade/orders-algo-pending"): self.open_algos,
            ("GET", "/trade/orders-algo-history"): self.finished_algos,
            ("POST", "/trade/order-algo"): self.place_algo,
            ("POST", "/trade/cancel-algos"): self.cancel_algos,
            ("POST", "/trade/order"): lambda t, a, now: operations.single("order", t, a),
            ("POST", "/trade/cancel-order"): lambda t, a, now: operations.single("cancel-order", t, a),
            ("POST", "/trade/amend-order"): lambda t, a, now: operations.single("amend-order", t, a),
            ("POST", "/trade/batch-orders"): lambda t, a, now: operations.batch("order", t, a),
            ("POST", "/trade/cancel-batch-orders"): lambda t, a, now: operations.batch("cancel-order", t, a),
            ("POST", "/trade/amend-batch-orders"): lambda t, a, now: operations.batch("amend-order", t, a),
        }

    def balance(self, trader: Trader, query: Mapping[str, str], now: int) -> dict[str, Any]:
        """Cash, and what open orders keep of it; ccy: only some currencies."""
        wanted = [name for name in query.get("ccy", "").split(",") if name]
        held = wanted or [name for name, amount in trader.account.cash.items() if amount]
        return _rows([self.balance_row(trader, held, now)])

    def balance_row(self, trader: Trader, currencies: list[str], now: int) -> Any:
        """The balance of some currencies."""
        prices = self._desk.dollar_prices(set(currencies), now)
        return rows.balance_row(trader.account, now, currencies, prices)

    def config(self, trader: Trader, query: Mapping[str, str], now: int) -> dict[str, Any]:
        """What kind of account it is: spot only, of level 1."""
        return _rows(
            [
                {
                    "acctLv": "1",
                    "autoLoan": False,
                    "ctIsoMode": "automatic",
                    "enableSpotBorrow": False,
                    "greeksType": "PA",
                    "ip": "",
                    "kycLv": "3",
                    "label": "simulated",
                    "level": "Lv1",
                    "levelTmp": "",
                    "mainUid": trader.account.uid,
                    "perm": "read_only,trade",
                    "posMode": "net_mode",
                    "roleType": "0",
                    "type": "0",
                    "uid": trader.account.uid,
                }
            ]
        )

    def trade_fee(self, trader: Trader, query: Mapping[str, str], now: int) -> dict[str, Any]:
        """Fees of spot pairs, negative where you pay."""
        if query.get("instType") != "SPOT":
            raise Refused("51000", "Parameter instType error", 400)
        return _rows([rows.fee_row(trader.account.fees, now)])

    def currencies(self, trader: Trader, query: Mapping[str, str], now: int) -> dict[str, Any]:
        """Every currency; nothing can be paid in or out."""
        zero = rows.blank("maxFee maxFeeForCtAddr maxWd minDep minFee minFeeForCtAddr minWd", "0")
        return _rows(
            [
                zero
                | {
                    "burningFeeRate": "",
                    "canDep": False,
                    "canInternal": False,
                    "canWd": False,
                    "ccy": name,
                    "chain": f"{name}-Simulated",
                    "ctAddr": "",
                    "fee": "0",
                    "logoLink": "",
                    "mainNet": True,
                    "name": name,
                    "needTag": False,
                    "wdTickSz": "8",
                }
                for name in self._desk.currencies()
            ]
        )

    def open_algos(self, trader: Trader, query: Mapping[str, str], now: int) -> dict[str, Any]:
        """Algo orders that wait; ordType must be given, as at OKX."""
        _check_kinds(query)
        return _rows(queries.open_algos(trader, query))

    def finished_algos(self, trader: Trader, query: Mapping[str, str], now: int) -> dict[str, Any]:
        """Algo orders that fired, failed or were cancelled; state or algoId must be given."""
        _check_kinds(query)
        if not query.get("state") and not query.get("algoId"):
            raise Refused("50015", "Either parameter state or algoId is required", 400)
        return _rows(queries.finished_algos(trader, query))

    def place_algo(self, trader: Trader, args: Any, now: int) -> dict[str, Any]:
        """One algo order."""
        if not isinstance(args, Mapping):
            raise Refused("50002", "JSON syntax error", 400)
        row = {"algoId": "", "clOrdId": "", "tag": str(args.get("tag") or "")}
        row["algoClOrdId"] = str(args.get("algoClOrdId") or "")
        try:
            spec = self._desk.spec(args.get("instId"))
            last = self._desk.market.last(spec.symbol, now)
            algo = trader.place_algo(spec, args, last, self._desk.new_id(now), now)
        except Rejected as rejected:
            return _failed([row | {"sCode": rejected.code, "sMsg": rejected.message}])
        return _rows([row | {"algoId": algo.algo_id, "sCode": "0", "sMsg": ""}])

    def cancel_algos(self, trader: Trader, args: Any, now: int) -> dict[str, Any]:
        """Up to ten algo orders."""
        if not isinstance(args, list) or not all(isinstance(arg, Mapping) for arg in args) or not args:
            raise Refused("50002", "JSON syntax error", 400)
        if len(args) > 10:
            raise Refused("51111", "Maximum 10 orders can be canceled in bulk")
        found = [self._cancel_algo(trader, arg) for arg in args]
        return _rows(found) if all(row["sCode"] == "0" for row in found) else _failed(found)

    def _cancel_algo(self, trader: Trader, arg: Mapping[str, Any]) -> dict[str, str]:
        algo: Algo | None = trader.find_algo(str(arg.get("algoId") or ""), str(arg.get("algoClOrdId") or ""))
        row = {"algoId": str(arg.get("algoId") or ""), "algoClOrdId": str(arg.get("algoClOrdId") or "")}
        if algo is None or algo.market.spec.symbol != arg.get("instId"):
            text = "Cancellation failed as the order has been filled, canceled or does not exist."
            return row | {"sCode": "51400", "sMsg": text}
        trader.end_algo(algo, "canceled")
        return {"algoId": algo.algo_id, "algoClOrdId": algo.algo_cl_ord_id, "sCode": "0", "sMsg": ""}


def _check_kinds(query: Mapping[str, str]) -> None:
    kinds = query.get("ordType", "")
    if not kinds:
        raise Refused("50014", "Parameter ordType can not be empty.", 400)
    known = (*ALGO_KINDS, "iceberg", "twap", "chase", "smart_iceberg")
    if not all(kind in known for kind in kinds.split(",")):
        raise Refused("51000", "Parameter ordType error", 400)


def _rows(found: list[Any]) -> dict[str, Any]:
    return {"code": "0", "msg": "", "data": found}


def _failed(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {"code": "1", "msg": "All operations failed", "data": found}
