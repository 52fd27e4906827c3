"""What `GET /public/instruments` says about each pair."""

from typing import Any

from pipelines.exchanges.sim.specs import SymbolSpec, decimal_text


def instrument(spec: SymbolSpec, listed_ms: int, code: int) -> dict[str, Any]:
    """The instrument's row, with every field of OKX's answer for a spot pair."""
    listed = str(listed_ms)
    return {
        "alias": "",
        "auctionEndTime": "",
        "baseCcy": spec.base,
        "category": "1",
        "contTdSwTime": listed,
        "ctMult": "",
        "ctType": "",
        "ctVal": "",
        "ctValCcy": "",
        "expTime": "",
        "futureSettlement": False,
        "groupId": "1",
        "instFamily": "",
        "instId": spec.symbol,
        "instIdCode": code,
        "instType": "SPOT",
        "lever": "",
        "listTime": listed,
        "lotSz": decimal_text(1, spec.lot_decimals),
        "maxIcebergSz": "9999999999",
        "maxLmtAmt": "20000000",
        "maxLmtSz": "9999999999",
        "maxMktAmt": "1000000",
        "maxMktSz": "1000000",
        "maxStopSz": "1000000",
        "maxTriggerSz": "9999999999",
        "maxTwapSz": "9999999999",
        "minSz": decimal_text(spec.min_lots, spec.lot_decimals),
        "openType": "",
        "optType": "",
        "quoteCcy": spec.quote,
        "ruleType": "normal",
        "settleCcy": "",
        "state": "live",
        "stk": "",
        "tickSz": decimal_text(1, spec.tick_decimals),
        "tradeQuoteCcyList": [spec.quote],
        "uly": "",
        "upcChg": [],
    }
