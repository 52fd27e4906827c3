"""Orders meet the order book: what one at the market, or a limit that crosses, takes of the levels shown.

Each level that is taken is a fill of its own at that level's price, so every amount stays exact, and the
level is stored with it: what was filled can be checked from the record although the book is gone. Costs that
stand for a book (spread, slippage, impact, share of volume) are not added; whoever takes pays the taker's
fee. What the book does not fill waits for trades, as all of it does where there is no book.
"""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from core.accounts import Account, Bar, Outcome, Rules
from core.fills import Costs
from core.matching import Desk
from core.orders import BookLevel, Execution, Order
from core.trades import Side

Level = tuple[Decimal, Decimal]


class BookTop(msgspec.Struct, frozen=True):
    """The best levels of a book. bids, asks: (price, size), best first; timestamp_ms: exchange time of the
    newest change; sequence: the exchange's number of this state, where it has one."""

    timestamp_ms: int
    sequence: int | None
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


def may_take(order: Order | None) -> bool:
    """Whether an order takes from a book at all: it has met no price yet, and waits for none to touch it."""
    if order is None or order.fills or order.triggered:
        return False
    return order.waits_for is None and (order.fresh or order.side is Side.SELL)


def match_book(
    rules: Rules, account: Account, book: BookTop, decided_ms: int, candle_close_ms: int
) -> Outcome:
    """The order that waits takes what it can of the levels opposite, best first.

    decided_ms: close of the candle at which it was decided: a book that has not changed since is met then.
    candle_close_ms: of the candle in which this happens. Trades up to that moment are past for the account:
    they neither fill the rest nor set off what protects the position.
    """
    order, at_ms = account.open_order, max(book.timestamp_ms, decided_ms)
    if order is None or not may_take(order):
        return Outcome(account)
    taking = msgspec.structs.replace(rules, costs=_taker(rules.costs))
    changed: dict[str, Order] = {}
    executions: list[Execution] = []
    for price, size in book.asks if order.side is Side.BUY else book.bids:
        waiting = account.open_order
        if waiting is None or (waiting.rests_at is not None and price > waiting.rests_at):
            break
        # It takes this level as it took the one before: nothing of it has rested yet.
        account = msgspec.structs.replace(account, open_order=msgspec.structs.replace(waiting, fresh=True))
        desk = Desk(taking, account, candle_close_ms, kill_switch=False)
        desk.meet_open(Bar(at_ms, at_ms, price, price, price, price, size))
        met = desk.outcome(None)
        account = met.account
        changed |= {each.id: each for each in met.orders}
        level = BookLevel(book.timestamp_ms, book.sequence, price, size)
        executions += _marked(met.executions, level)
    if executions:
        matching = account.matching
        matching = msgspec.structs.replace(
            matching, matched_ms=max(matching.matched_ms, at_ms), since_ms=at_ms
        )
        account = msgspec.structs.replace(account, matching=matching)
    return Outcome(account, tuple(changed.values()), tuple(executions))


def _marked(executions: Sequence[Execution], level: BookLevel) -> list[Execution]:
    return [msgspec.structs.replace(each, level=level) for each in executions]


def _taker(costs: Costs) -> Costs:
    """Fees alone, and of a level no more than it shows."""
    return Costs(fee=costs.fee, tiers=costs.tiers, volume_share=Decimal(1))
