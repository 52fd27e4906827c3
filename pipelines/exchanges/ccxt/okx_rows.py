"""Requests and rows of OKX's private API, between its words and ours. All numbers are exact."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from core.exchange_orders import ExchangeFill, ExchangeOrder, OrderKind, Report, SubmissionState
from core.trades import Side
from pipelines.exchanges.trading import Answer, Busy, Declined, Taken, Unclear

Row = Mapping[str, Any]

AT_MARKET = "-1"
# The exchange's own "not now": whether the order was taken it does not say.
_UNCLEAR = {"50000", "50001", "50004", "50013", "50026", "51016", "51065"}
# Too many requests, a stamp that is off, an expiry that is past: refused before anybody looked at the order.
_BUSY = {"50011", "50036", "50037", "50061", "50102", "60014"}
NOT_FOUND = frozenset({"51603"})
PASSING = frozenset({"50001", "50004", "50011", "50013", "50026", "50061", "50102"})
"""Codes of an answer to a question that may be asked again."""

_STATES = {
    "live": SubmissionState.WORKING,
    "partially_filled": SubmissionState.WORKING,
    "pause": SubmissionState.WORKING,
    "partially_effective": SubmissionState.WORKING,
    "effective": SubmissionState.WORKING,
    "filled": SubmissionState.FILLED,
    "canceled": SubmissionState.CANCELLED,
    "mmp_canceled": SubmissionState.CANCELLED,
    "order_failed": SubmissionState.REJECTED,
}
_ALGO_KINDS = {OrderKind.OCO: "oco", OrderKind.TRAILING_STOP: "move_order_stop"}


def text(number: Decimal) -> str:
    """Without exponent and trailing zeros."""
    plain = f"{number:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def order_request(order: ExchangeOrder) -> dict[str, str]:
    """The body of `POST /trade/order`. A market buy is sized in base currency too."""
    body = {
        "instId": order.symbol,
        "tdMode": "cash",
        "side": order.side.value,
        "ordType": order.kind.value,
        "sz": text(order.quantity),
        "clOrdId": order.client_id,
    }
    if order.kind is OrderKind.MARKET:
        return body | {"tgtCcy": "base_ccy"}
    return body | {"px": text(order.limit_price or Decimal(0))}


def algo_request(order: ExchangeOrder) -> dict[str, str]:
    """The body of `POST /trade/order-algo`: a stop and a take-profit together are an oco. A trailing stop has
    no trigger of its own: it follows from when the exchange takes it."""
    body = {
        "instId": order.symbol,
        "tdMode": "cash",
        "side": order.side.value,
        "ordType": algo_kind(order),
        "sz": text(order.quantity),
        "tgtCcy": "base_ccy",
        "algoClOrdId": order.client_id,
        # given, or ccxt would make one up
        "clOrdId": order.client_id,
    }
    if order.trail is not None:
        body["callbackRatio"] = text(order.trail)
    for name, price in (("sl", order.stop_price), ("tp", order.profit_price)):
        if price is not None:
            trigger = {f"{name}TriggerPx": text(price), f"{name}TriggerPxType": "last"}
            body |= trigger | {f"{name}OrdPx": AT_MARKET}
    return body


def algo_kind(order: ExchangeOrder) -> str:
    """OKX's word for what an algo order is."""
    return _ALGO_KINDS.get(order.kind, "conditional")


def sent(document: Row, ident: str) -> Answer:
    """What an answer to a placed order means. ident: ordId or algoId."""
    rows = document.get("data") or [{}]
    row = rows[0] if isinstance(rows[0], Mapping) else {}
    code = str(row.get("sCode") or document.get("code"))
    reason = f"{code} {row.get('sMsg') or document.get('msg') or ''}".strip()
    if code == "0" and row.get(ident):
        return Taken(str(row[ident]))
    if code == "0" or code in _UNCLEAR:
        return Unclear(reason)
    return Busy(reason) if code in _BUSY else Declined(reason)


def order_report(row: Row) -> Report:
    """A row of `GET /trade/order` and of the lists of orders."""
    return Report(
        client_id=str(row.get("clOrdId") or ""),
        exchange_id=str(row["ordId"]),
        state=_STATES[row["state"]],
        filled=Decimal(row.get("accFillSz") or 0),
        order_id=str(row["ordId"]),
    )


def algo_report(row: Row, child: Row | None) -> Report:
    """A row of an algo order; child: of the order that it placed, if that is known."""
    state, reason = _STATES[row["state"]], None
    filled, order_id = Decimal(0), child_of(row)
    if child is not None:
        placed = order_report(child)
        state, filled, order_id = placed.state, placed.filled, placed.exchange_id
    elif state is SubmissionState.REJECTED:
        reason = f"the exchange could not place its order: {row.get('failCode') or 'no reason given'}"
    return Report(str(row.get("algoClOrdId") or ""), str(row["algoId"]), state, filled, order_id, reason)


def child_of(row: Row) -> str | None:
    """The number of the order that an algo order placed; None: it has not yet."""
    listed = row.get("ordIdList") or []
    found = row.get("ordId") or (listed[0] if listed else "")
    return str(found) if found and found != "0" else None


def balance(row: Row) -> Decimal | None:
    """What a row of `GET /account/balance` says of its currency; None: nothing that is a number."""
    try:
        found = Decimal(row["cashBal"])
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    return found if found.is_finite() else None


def fill(row: Row) -> ExchangeFill:
    """A row of `GET /trade/fills`; there, a fee that is paid is negative."""
    return ExchangeFill(
        trade_id=str(row["tradeId"]),
        timestamp_ms=int(row.get("fillTime") or row["ts"]),
        side=Side(row["side"]),
        price=Decimal(row["fillPx"]),
        quantity=Decimal(row["fillSz"]),
        fee=-Decimal(row.get("fee") or 0),
        fee_currency=str(row.get("feeCcy") or ""),
    )
