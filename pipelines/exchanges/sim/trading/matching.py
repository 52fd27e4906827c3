"""Which price levels an order takes from the book. The market takes no notice: levels are not used up."""

from collections.abc import Mapping

from pipelines.exchanges.sim.trading.orders import Side

Levels = Mapping[int, tuple[int, int]]


def sweep(
    levels: Levels, side: Side, limit: int = 0, lots: int | None = None, value: int | None = None
) -> list[tuple[int, int]]:
    """(price in ticks, lots) taken from the opposite side, best first.

    levels: price → (lots, orders), best first; limit: worst price, 0 for any
    lots: most to take; value: most to spend or earn, ticks × lots
    """
    taken = []
    for price, (offered, _) in levels.items():
        if limit and (price > limit if side == "buy" else price < limit):
            break
        part = offered if lots is None else min(offered, lots)
        if value is not None:
            part = min(part, value // price)
        if part <= 0:
            break
        taken.append((price, part))
        lots = None if lots is None else lots - part
        value = None if value is None else value - part * price
    return taken


def through(side: Side, limit: int, price: int) -> bool:
    """Whether a trade at `price` went past a resting order, so that it must have been filled before.

    A trade at exactly the order's price fills nothing: nobody knows the order's place in the queue.
    """
    return price < limit if side == "buy" else price > limit
