"""Algo orders: conditional, oco, trigger and move_order_stop. They hold no money until they fire."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from pipelines.exchanges.sim.specs import SymbolSpec
from pipelines.exchanges.sim.trading.orders import (
    Rejected,
    Side,
    Ticket,
    parse_ident,
    parse_price,
    parse_ticket,
    positive,
)

ALGO_KINDS = ("conditional", "oco", "trigger", "move_order_stop")


@dataclass(frozen=True)
class Leg:
    """One way to fire. price: ticks at which; above: fires at or above it, else at or below.

    order_price: ticks of the order it places, 0 for a market order; name: tp, sl or "" (trigger)
    """

    name: str
    price: int
    above: bool
    order_price: int


@dataclass
class Algo:
    """An algo order. state: live, effective, canceled or order_failed.

    extreme: best price since a trailing stop became active, in ticks; 0 while it is not
    """

    algo_id: str
    algo_cl_ord_id: str
    kind: str
    market: Ticket  # the order it places when it fires at market price
    args: Mapping[str, Any]
    legs: tuple[Leg, ...]
    created_ms: int
    callback_ratio: Decimal = Decimal(0)
    callback_ticks: int = 0
    active_price: int = 0
    extreme: int = 0
    state: str = "live"
    fired_side: str = ""
    ord_id: str = ""
    fail_code: str = ""
    triggered_ms: int = 0

    @property
    def side(self) -> Side:
        """Of the order it places."""
        return self.market.side

    def snapshot(self) -> "Algo":
        """As it is now."""
        return copy.copy(self)

    def stop_price(self) -> int:
        """Where a trailing stop fires now, in ticks; 0 while it is not active."""
        if not self.extreme:
            return 0
        distance = self.callback_ticks or int(self.extreme * self.callback_ratio)
        return self.extreme + distance if self.side == "buy" else max(self.extreme - distance, 1)

    def fires(self, price: int) -> Leg | None:
        """The leg that a trade at a price fires; a trailing stop also remembers the price."""
        if self.kind != "move_order_stop":
            hit = (leg for leg in self.legs if (price >= leg.price if leg.above else price <= leg.price))
            return next(hit, None)
        buy = self.side == "buy"
        if not self.extreme:
            active = not self.active_price or (
                price <= self.active_price if buy else price >= self.active_price
            )
            self.extreme = price if active else 0
            return None
        stop = self.stop_price()
        if price >= stop if buy else price <= stop:
            return Leg("", stop, buy, 0)
        self.extreme = min(self.extreme, price) if buy else max(self.extreme, price)
        return None

    def ticket(self, leg: Leg) -> Ticket:
        """The order to place when a leg fired."""
        if not leg.order_price:
            return replace(self.market, algo_id=self.algo_id)
        return replace(
            self.market, kind="limit", price=leg.order_price, quote_sized=False, algo_id=self.algo_id
        )


def parse_algo(spec: SymbolSpec, args: Mapping[str, Any], last: int, algo_id: str, now_ms: int) -> Algo:
    """Check a request for an algo order; last: newest price in ticks. Rejected with OKX's codes."""
    kind = args.get("ordType")
    if kind not in ALGO_KINDS:
        raise Rejected("51000", "Parameter ordType error")
    legs = _legs(spec, args, str(kind), last)
    limited = any(leg.order_price for leg in legs)
    usual = "quote_ccy" if args.get("side") == "buy" and not limited else "base_ccy"
    target = args.get("tgtCcy") or usual
    if target == "quote_ccy" and limited:
        raise Rejected("51000", "Parameter tgtCcy error")
    # ccxt sends cross for some algo orders of spot pairs, and OKX takes it
    if args.get("tdMode") not in ("cash", "cross"):
        raise Rejected("51000", "Parameter tdMode error")
    market = parse_ticket(
        spec,
        {
            "tdMode": "cash",
            "side": args.get("side"),
            "sz": args.get("sz"),
            "tag": args.get("tag"),
            "ordType": "market",
            "tgtCcy": target,
        },
    )
    algo = Algo(algo_id, parse_ident(args, "algoClOrdId", 32), str(kind), market, dict(args), legs, now_ms)
    if kind == "move_order_stop":
        _parse_trail(algo, spec, args, last)
    return algo


def _legs(spec: SymbolSpec, args: Mapping[str, Any], kind: str, last: int) -> tuple[Leg, ...]:
    if kind == "move_order_stop":
        return ()
    if kind == "trigger":
        at = parse_price(spec, args.get("triggerPx"), "triggerPx")
        return (Leg("", at, at > last, _order_price(spec, args, "orderPx")),)
    buy = args.get("side") == "buy"
    legs = []
    # the stop comes first: OKX lets it win when one trade fires both
    for name, above in (("sl", buy), ("tp", not buy)):
        if args.get(f"{name}TriggerPx"):
            at = parse_price(spec, args.get(f"{name}TriggerPx"), f"{name}TriggerPx")
            if at <= last if above else at >= last:
                code = {("tp", False): "51277", ("sl", True): "51278", ("tp", True): "51279"}
                word = "lower" if above else "higher"
                text = f"The {name.upper()} trigger price cannot be {word} than the last price."
                raise Rejected(code.get((name, above), "51280"), text)
            legs.append(Leg(name, at, above, _order_price(spec, args, f"{name}OrdPx")))
    if not legs or (kind == "oco" and len(legs) < 2):
        raise Rejected("51000", "Parameter slTriggerPx or tpTriggerPx error")
    # of a conditional order with both, only the stop takes effect
    return tuple(legs if kind == "oco" else legs[:1])


def _order_price(spec: SymbolSpec, args: Mapping[str, Any], name: str) -> int:
    return 0 if str(args.get(name)) == "-1" else parse_price(spec, args.get(name), name)


def _parse_trail(algo: Algo, spec: SymbolSpec, args: Mapping[str, Any], last: int) -> None:
    ratio, spread = args.get("callbackRatio"), args.get("callbackSpread")
    if bool(ratio) == bool(spread):
        raise Rejected("51000", "Either callbackRatio or callbackSpread is required")
    if ratio:
        algo.callback_ratio = positive(ratio, "callbackRatio")
        if not Decimal("0.001") <= algo.callback_ratio <= 1:
            raise Rejected("51257", "Trail order callback rate error")
    else:
        algo.callback_ticks = parse_price(spec, spread, "callbackSpread")
    if args.get("activePx"):
        algo.active_price = parse_price(spec, args.get("activePx"), "activePx")
    else:
        algo.extreme = last
