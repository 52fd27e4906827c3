"""Spot pairs of an exchange: our name of each, ccxt's name, and the exchange's rules."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import ccxt

from core.errors import BadInput
from core.instruments import Instrument


def pairs(markets: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """ccxt's symbol (`BTC/USDT`) of each spot pair by ours (`BTC-USDT`)."""
    return {_name(market): market["symbol"] for market in markets if market.get("spot")}


def listed(pair: str, by_name: Mapping[str, str], exchange_id: str) -> str:
    """ccxt's symbol of our `pair`; BadInput when the exchange does not list it."""
    try:
        return by_name[pair]
    except KeyError:
        base = pair.partition("-")[0]
        near = sorted(name for name in by_name if name.startswith(f"{base}-"))[:5]
        hint = f"; it lists {', '.join(near)}" if near else ""
        raise BadInput("symbol", f"{pair!r} is not a spot pair of {exchange_id}{hint}") from None


def instruments(markets: Iterable[Mapping[str, Any]], precision_mode: int) -> list[Instrument]:
    """The rules of the spot pairs. Left out is a pair without a fixed tick or lot: some exchanges count
    significant digits, and some say nothing of pairs that are not open yet."""
    found = []
    for market in markets:
        if not market.get("spot"):
            continue
        tick = _step(market["precision"].get("price"), precision_mode)
        lot = _step(market["precision"].get("amount"), precision_mode)
        if tick is None or lot is None:
            continue
        smallest = (market.get("limits") or {}).get("amount", {}).get("min")
        state = "suspend" if market.get("active") is False else "live"
        found.append(
            Instrument(
                symbol=_name(market),
                base=market["base"],
                quote=market["quote"],
                tick_size=tick,
                lot_size=lot,
                min_size=_exact(smallest) or lot,
                state=state,
            )
        )
    return found


def _name(market: Mapping[str, Any]) -> str:
    return f"{market['base']}-{market['quote']}"


def _step(precision: Any, mode: int) -> Decimal | None:
    number = _exact(precision)
    if number is None or mode == ccxt.SIGNIFICANT_DIGITS:
        return None
    if mode == ccxt.DECIMAL_PLACES:
        return Decimal(1).scaleb(-int(number))
    return number if number > 0 else None


def _exact(number: Any) -> Decimal | None:
    return None if number is None else Decimal(str(number))
