"""Our candles against the exchange's own: the differences, and how far they were compared."""

from decimal import Decimal
from typing import Literal

import msgspec
from sqlalchemy import Connection, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from core.candles import Candle
from pipelines.warehouse.sql import EXCHANGE, to_datetime, to_ms
from pipelines.warehouse.tables import candle_differences, reconciliations

Kind = Literal["recent", "daily"]
Explanation = Literal["known_gap", "exchange_revision", "unexplained"]
Numbers = tuple[Decimal, Decimal, Decimal, Decimal, Decimal]
NAMES = ("open", "high", "low", "close", "volume")

# A hole that was never filled lies between two stored trades; it may concern every minute between them.
_GAPS = text("""
    SELECT g.first_id,
           (SELECT timestamp FROM raw_trades AS t WHERE t.exchange = g.exchange AND t.symbol = g.symbol
              AND t.trade_id < g.first_id ORDER BY trade_id DESC LIMIT 1) AS before,
           (SELECT timestamp FROM raw_trades AS t WHERE t.exchange = g.exchange AND t.symbol = g.symbol
              AND t.trade_id > g.last_id ORDER BY trade_id LIMIT 1) AS after
    FROM data_gaps AS g WHERE g.exchange = :exchange AND g.symbol = :symbol AND g.state <> 'refilled'
""")


class Difference(msgspec.Struct, frozen=True):
    """A minute that is not the exchange's; numbers are open, high, low, close, volume."""

    close_ms: int
    explanation: Explanation
    theirs: Numbers


def numbers(candle: Candle) -> Numbers:
    """What is compared."""
    return candle.open, candle.high, candle.low, candle.close, candle.volume


def reconciled_through(connection: Connection, symbol: str, kind: Kind) -> int | None:
    """Close time in ms of the newest minute compared; None before the first time."""
    query = select(reconciliations.c.through).where(
        reconciliations.c.exchange == EXCHANGE,
        reconciliations.c.symbol == symbol,
        reconciliations.c.kind == kind,
    )
    through = connection.execute(query).scalar()
    return None if through is None else to_ms(through)


def record_reconciled(
    connection: Connection, symbol: str, kind: Kind, through_ms: int, compared: int, differing: int
) -> None:
    """So many more minutes were compared, up to `through_ms`."""
    row = insert(reconciliations).values(
        exchange=EXCHANGE,
        symbol=symbol,
        kind=kind,
        through=to_datetime(through_ms),
        compared=compared,
        differing=differing,
    )
    changed = {
        "through": func.greatest(row.excluded.through, reconciliations.c.through),
        "compared": reconciliations.c.compared + row.excluded.compared,
        "differing": reconciliations.c.differing + row.excluded.differing,
    }
    connection.execute(row.on_conflict_do_update(index_elements=["exchange", "symbol", "kind"], set_=changed))


def record_difference(
    connection: Connection, ours: Candle, theirs: Candle, explanation: Explanation, at_ms: int, resolved: bool
) -> None:
    """`ours` was found not to be `theirs` at exchange time `at_ms`; resolved: theirs is taken over."""
    at = to_datetime(at_ms)
    row = insert(candle_differences).values(
        exchange=EXCHANGE,
        symbol=ours.symbol,
        timeframe=ours.timeframe.value,
        timestamp=to_datetime(ours.close_ms),
        explanation=explanation,
        detected_at=at,
        resolved_at=at if resolved else None,
        **{f"our_{name}": value for name, value in zip(NAMES, numbers(ours), strict=True)},
        **{f"their_{name}": value for name, value in zip(NAMES, numbers(theirs), strict=True)},
    )
    keys = ["exchange", "symbol", "timeframe", "timestamp"]
    changed = {name: value for name, value in row.excluded.items() if name not in keys}
    connection.execute(row.on_conflict_do_update(index_elements=keys, set_=changed))


def resolve_difference(connection: Connection, ours: Candle, at_ms: int) -> bool:
    """The exchange's row is ours by now. False: there was no open difference."""
    table = candle_differences
    changed = connection.execute(
        update(table)
        .where(
            table.c.exchange == EXCHANGE,
            table.c.symbol == ours.symbol,
            table.c.timeframe == ours.timeframe.value,
            table.c.timestamp == to_datetime(ours.close_ms),
            table.c.resolved_at.is_(None),
        )
        .values(resolved_at=to_datetime(at_ms), explanation="exchange_revision")
    )
    return changed.rowcount > 0


def open_differences(
    connection: Connection, symbol: str, timeframe: str, after_ms: int, through_ms: int
) -> dict[int, Difference]:
    """The unresolved ones with a close time in (after_ms, through_ms], by close time."""
    table = candle_differences
    query = select(table).where(
        table.c.exchange == EXCHANGE,
        table.c.symbol == symbol,
        table.c.timeframe == timeframe,
        table.c.timestamp > to_datetime(after_ms),
        table.c.timestamp <= to_datetime(through_ms),
        table.c.resolved_at.is_(None),
    )
    found = {}
    for row in connection.execute(query).mappings():
        at_ms = to_ms(row["timestamp"])
        theirs = tuple(row[f"their_{name}"] for name in NAMES)
        found[at_ms] = Difference(at_ms, row["explanation"], theirs)
    return found


def unfilled_gaps(connection: Connection, symbol: str) -> list[tuple[int, int]]:
    """(from ms, through ms) of the times in which trades are known to be missing for good, or still."""
    rows = connection.execute(_GAPS, {"exchange": EXCHANGE, "symbol": symbol})
    return [
        (0 if row.before is None else to_ms(row.before), 2**53 if row.after is None else to_ms(row.after))
        for row in rows
    ]
