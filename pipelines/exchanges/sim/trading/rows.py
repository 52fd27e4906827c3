"""Orders, fills and balances as OKX writes them."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from pipelines.exchanges.sim.trading.account import Account, Fees
from pipelines.exchanges.sim.trading.algos import Algo
from pipelines.exchanges.sim.trading.orders import Fill, Order, quote_amount


def blank(names: str, value: str) -> dict[str, Any]:
    """Fields that mean nothing for spot orders but are there all the same."""
    return dict.fromkeys(names.split(), value)


_UNUSED_ORDER: dict[str, Any] = blank(
    "algoClOrdId attachAlgoClOrdId category ccy cancelSourceReason lever pnl posSide pxType pxUsd "
    "pxVol quickMgnType rebate slOrdPx slTriggerPx slTriggerPxType stpId tpOrdPx tpTriggerPx tpTriggerPxType",
    "",
) | {"attachAlgoOrds": [], "category": "normal", "instType": "SPOT", "isTpLimit": "false", "pnl": "0"}
_UNUSED_ORDER |= {"linkedAlgoOrd": {"algoId": ""}, "rebate": "0", "reduceOnly": "false", "source": ""}
_UNUSED_ORDER |= {"stpMode": "cancel_maker", "tdMode": "cash"}


def text(number: Decimal) -> str:
    """Without exponent and trailing zeros."""
    plain = f"{number:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def order_row(order: Order) -> dict[str, Any]:
    """The row of `GET /trade/order` and of the lists of orders."""
    ticket, spec, fill = order.ticket, order.ticket.spec, order.last_fill
    buy = ticket.side == "buy"
    average = quote_amount(spec, order.value) / order.filled * 10**spec.lot_decimals if order.filled else None
    return _UNUSED_ORDER | {
        "accFillSz": spec.size_text(order.filled),
        "algoId": ticket.algo_id,
        "avgPx": "" if average is None else text(average),
        "cTime": str(order.created_ms),
        "cancelSource": order.cancel_source,
        "clOrdId": ticket.cl_ord_id,
        "fee": text(-order.fee),
        "feeCcy": spec.base if buy else spec.quote,
        "fillPx": spec.price_text(fill.price) if fill else "",
        "fillSz": spec.size_text(fill.size) if fill else "0",
        "fillTime": str(fill.ts) if fill else "",
        "instId": spec.symbol,
        "ordId": order.ord_id,
        "ordType": ticket.kind,
        "px": spec.price_text(order.price) if order.price else "",
        "rebateCcy": spec.quote if buy else spec.base,
        "side": ticket.side,
        "state": str(order.state),
        # an amended limit order has another size than was asked for first
        "sz": spec.size_text(order.size) if order.price else ticket.size_text,
        "tag": ticket.tag,
        "tgtCcy": ("quote_ccy" if ticket.quote_sized else "base_ccy") if ticket.kind == "market" else "",
        "tradeId": fill.trade_id if fill else "",
        "tradeQuoteCcy": spec.quote,
        "uTime": str(order.updated_ms),
    }


def order_push(order: Order, fill: Fill | None, last: int) -> dict[str, Any]:
    """The row of the `orders` channel: the order, and what its newest match adds."""
    spec = order.ticket.spec
    return order_row(order) | {
        "amendResult": "",
        "amendSource": "",
        "code": "0",
        "execType": ("T" if fill.taker else "M") if fill else "",
        "fillFee": text(-fill.fee) if fill else "0",
        "fillFeeCcy": fill.fee_currency if fill else "",
        "fillNotionalUsd": text(quote_amount(spec, fill.price * fill.size)) if fill else "",
        "fillPnl": "0",
        "fillPx": spec.price_text(fill.price) if fill else "",
        "fillSz": spec.size_text(fill.size) if fill else "0",
        "fillTime": str(fill.ts) if fill else "",
        "lastPx": spec.price_text(last),
        "msg": "",
        "notionalUsd": text(quote_amount(spec, order.size * (order.price or last))),
        "reqId": "",
        "tradeId": fill.trade_id if fill else "",
    }


def fill_row(fill: Fill) -> dict[str, str]:
    """The row of `GET /trade/fills`."""
    ticket, spec = fill.order.ticket, fill.order.ticket.spec
    return {
        "billId": fill.trade_id,
        "clOrdId": ticket.cl_ord_id,
        "execType": "T" if fill.taker else "M",
        "fee": text(-fill.fee),
        "feeCcy": fill.fee_currency,
        "feeRate": text(-fill.fee / _received(fill)),
        "fillIdxPx": "",
        "fillMarkPx": "",
        "fillMarkVol": "",
        "fillPnl": "0",
        "fillPx": spec.price_text(fill.price),
        "fillPxUsd": "",
        "fillPxVol": "",
        "fillFwdPx": "",
        "fillSz": spec.size_text(fill.size),
        "fillTime": str(fill.ts),
        "instId": spec.symbol,
        "instType": "SPOT",
        "ordId": fill.order.ord_id,
        "posSide": "net",
        "side": ticket.side,
        "subType": "1" if ticket.side == "buy" else "2",
        "tag": ticket.tag,
        "tradeId": fill.trade_id,
        "tradeQuoteCcy": spec.quote,
        "ts": str(fill.ts),
    }


def balance_row(account: Account, now_ms: int, currencies: Iterable[str], usd: dict[str, Decimal]) -> Any:
    """The row of `GET /account/balance`; usd: the price of each currency."""
    details, total = [], Decimal(0)
    for currency in currencies:
        cash, kept = account.cash.get(currency, Decimal(0)), account.reserved(currency)
        value = cash * usd.get(currency, Decimal(0))
        total += value
        details.append(
            blank("borrowFroz crossLiab isoEq isoLiab liab maxLoan mgnRatio stgyEq upl", "0")
            | {
                "availBal": text(cash - kept),
                "availEq": text(cash - kept),
                "cashBal": text(cash),
                "ccy": currency,
                "disEq": text(value),
                "eq": text(cash),
                "eqUsd": text(value),
                "frozenBal": text(kept),
                "interest": "0",
                "notionalLever": "0",
                "ordFrozen": text(kept),
                "spotBal": text(cash),
                "uTime": str(now_ms),
            }
        )
    unused = blank("adjEq borrowFroz imr mgnRatio mmr notionalUsd ordFroz upl", "")
    return unused | {"details": details, "isoEq": "0", "totalEq": text(total), "uTime": str(now_ms)}


def fee_row(fees: Fees, now_ms: int) -> dict[str, Any]:
    """The row of `GET /account/trade-fee`: negative is what you pay."""
    maker, taker = text(-fees.maker), text(-fees.taker)
    unused = blank("delivery exercise makerU makerUSDC takerU takerUSDC settle", "")
    return unused | {
        "category": "1",
        "feeGroup": [{"groupId": "1", "maker": maker, "taker": taker}],
        "fiat": [],
        "instType": "SPOT",
        "level": "Lv1",
        "maker": maker,
        "ruleType": "normal",
        "taker": taker,
        "ts": str(now_ms),
    }


def algo_row(algo: Algo) -> dict[str, Any]:
    """The row of an algo order."""
    names = "callbackRatio callbackSpread activePx tpTriggerPx tpOrdPx slTriggerPx slOrdPx triggerPx orderPx"
    given = {name: str(algo.args.get(name) or "") for name in names.split()}
    ticket, stop = algo.market, algo.stop_price()
    unused = blank("actualPx actualSz ccy clOrdId last lever linkedOrd posSide quickMgnType", "")
    return (
        unused
        | given
        | {
            "actualSide": algo.fired_side,
            "algoClOrdId": algo.algo_cl_ord_id,
            "algoId": algo.algo_id,
            "cTime": str(algo.created_ms),
            "failCode": algo.fail_code,
            "instId": ticket.spec.symbol,
            "instType": "SPOT",
            "moveTriggerPx": ticket.spec.price_text(stop) if stop else "",
            "ordId": algo.ord_id,
            "ordIdList": [algo.ord_id] if algo.ord_id else [],
            "ordPx": given["orderPx"],
            "ordType": algo.kind,
            "reduceOnly": "false",
            "side": algo.side,
            "slTriggerPxType": "last" if given["slTriggerPx"] else "",
            "state": algo.state,
            "sz": ticket.size_text,
            "tag": ticket.tag,
            "tdMode": "cash",
            "tgtCcy": "quote_ccy" if ticket.quote_sized else "base_ccy",
            "tpTriggerPxType": "last" if given["tpTriggerPx"] else "",
            "triggerPxType": "last" if given["triggerPx"] else "",
            "triggerTime": str(algo.triggered_ms or ""),
            "uTime": str(algo.triggered_ms or algo.created_ms),
        }
    )


def _received(fill: Fill) -> Decimal:
    spec = fill.order.ticket.spec
    if fill.order.ticket.side == "buy":
        return Decimal(fill.size).scaleb(-spec.lot_decimals)
    return quote_amount(spec, fill.price * fill.size)
