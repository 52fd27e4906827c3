"""Which of an account's orders, fills and algo orders a client gets to see, newest first."""

from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.exchanges.sim.days import DAY_MS
from pipelines.exchanges.sim.exchange import Refused
from pipelines.exchanges.sim.trading.orders import Fill, Order
from pipelines.exchanges.sim.trading.rows import algo_row, fill_row, order_row
from pipelines.exchanges.sim.trading.trader import Trader

Query = Mapping[str, Any]

_UNFILLED_KEPT_MS = 2 * 3_600_000  # OKX forgets a cancelled order without fills after two hours


def one_order(trader: Trader, query: Query, now_ms: int) -> dict[str, Any]:
    """`GET /trade/order`; Refused 51603 when unknown or forgotten."""
    if not query.get("ordId") and not query.get("clOrdId"):
        raise Refused("51003", "Either client order ID or order ID is required", 400)
    order = trader.account.find(query.get("ordId", ""), query.get("clOrdId", ""))
    if order is None or order.ticket.spec.symbol != query.get("instId") or _forgotten(order, now_ms):
        raise Refused("51603", "Order does not exist")
    return order_row(order)


def open_orders(trader: Trader, query: Query) -> list[dict[str, Any]]:
    """`GET /trade/orders-pending`."""
    return _page(map(order_row, trader.account.open.values()), query, "ordId", "cTime")


def finished_orders(trader: Trader, query: Query, now_ms: int, days: int) -> list[dict[str, Any]]:
    """`GET /trade/orders-history`: those that ended in the last days."""
    kept = (
        order_row(order)
        for order in trader.account.done
        if order.updated_ms > now_ms - days * DAY_MS and not _forgotten(order, now_ms)
    )
    return _page(kept, query, "ordId", "cTime")


def fills(trader: Trader, query: Query, now_ms: int, days: int) -> list[dict[str, Any]]:
    """`GET /trade/fills`: those of the last days."""
    recent: Iterable[Fill] = (fill for fill in trader.account.fills if fill.ts > now_ms - days * DAY_MS)
    return _page(map(fill_row, recent), query, "billId", "ts")


def open_algos(trader: Trader, query: Query) -> list[dict[str, Any]]:
    """`GET /trade/orders-algo-pending`."""
    return _page(map(algo_row, trader.algos.values()), query, "algoId", "cTime")


def one_algo(trader: Trader, query: Query) -> dict[str, Any]:
    """`GET /trade/order-algo`; Refused 51603 when unknown."""
    algo_id, name = str(query.get("algoId") or ""), str(query.get("algoClOrdId") or "")
    if not algo_id and not name:
        raise Refused("51003", "Either algoId or algoClOrdId is required", 400)
    for algo in (*trader.algos.values(), *reversed(trader.done_algos)):
        if algo.algo_id == algo_id if algo_id else algo.algo_cl_ord_id == name:
            return algo_row(algo)
    raise Refused("51603", "Order does not exist")


def finished_algos(trader: Trader, query: Query) -> list[dict[str, Any]]:
    """`GET /trade/orders-algo-history`."""
    return _page(map(algo_row, trader.done_algos), query, "algoId", "cTime")


def _forgotten(order: Order, now_ms: int) -> bool:
    return not order.open and not order.filled and order.updated_ms < now_ms - _UNFILLED_KEPT_MS


def _page(rows: Iterable[dict[str, Any]], query: Query, ident: str, time: str) -> list[dict[str, Any]]:
    """Filter, order and cut; `after` and `before` are ids, `begin` and `end` ms, as everywhere at OKX."""
    limit, after, before = _number(query, "limit") or 100, _number(query, "after"), _number(query, "before")
    begin, end = _number(query, "begin"), _number(query, "end")
    names = [name for name in ("instId", "instType", "ordId", "algoId", "state") if query.get(name)]
    kinds = str(query.get("ordType") or "").split(",")
    found = [
        row
        for row in rows
        if all(row.get(name) == query[name] for name in names)
        and (kinds == [""] or row["ordType"] in kinds)
        and (after is None or int(row[ident]) < after)
        and (before is None or int(row[ident]) > before)
        and (begin is None or int(row[time]) >= begin)
        and (end is None or int(row[time]) <= end)
    ]
    found.sort(key=lambda row: -int(row[ident]))
    return found[: min(max(limit, 1), 100)]


def _number(query: Query, name: str) -> int | None:
    text = str(query.get(name) or "")
    if text and not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise Refused("51000", f"Parameter {name} error", 400)
    return int(text) if text else None
