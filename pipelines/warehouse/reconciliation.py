"""Our candles against the exchange's own: the differences, how each ended, and how far they were compared."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Literal

import msgspec
from sqlalchemy import Connection, Engine, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from core.candles import Candle
from core.timeframes import Timeframe
from pipelines.warehouse.sql import EXCHANGE, to_datetime, to_ms
from pipelines.warehouse.tables import candle_differences, reconciliations

Kind = Literal["recent", "daily", "weekly", "longer"]
Explanation = Literal[
    "missing_trades",
    "known_gap",
    "missing_candle",
    "stale",
    "exchange_revision",
    "exchange_row",
    "unexplained",
]
Resolution = Literal["completed", "taken_over", "ours_stands", "equal_again"]
Numbers = tuple[Decimal, Decimal, Decimal, Decimal, Decimal]
NAMES = ("open", "high", "low", "close", "volume")

# A hole that was never filled lies between two stored trades; it may concern every minute between them. Of
# symbols whose trades are not kept the last trade of each minute is known.
_GAPS = text("""
    SELECT g.first_id,
           greatest(
               (SELECT timestamp FROM raw_trades AS t WHERE t.exchange = g.exchange
                  AND t.symbol = g.symbol AND t.trade_id < g.first_id ORDER BY trade_id DESC LIMIT 1),
               (SELECT traded_at FROM trade_marks AS m WHERE m.exchange = g.exchange
                  AND m.symbol = g.symbol AND m.trade_id < g.first_id ORDER BY timestamp DESC LIMIT 1)
           ) AS before,
           least(
               (SELECT timestamp FROM raw_trades AS t WHERE t.exchange = g.exchange
                  AND t.symbol = g.symbol AND t.trade_id > g.last_id ORDER BY trade_id LIMIT 1),
               (SELECT traded_at FROM trade_marks AS m WHERE m.exchange = g.exchange
                  AND m.symbol = g.symbol AND m.trade_id > g.last_id ORDER BY timestamp LIMIT 1)
           ) AS after
    FROM data_gaps AS g WHERE g.exchange = :exchange AND g.symbol = :symbol AND g.state <> 'refilled'
""")

# What was to be put right is settled once the stored candle is what it was to become.
_SETTLE = text("""
    UPDATE candle_differences AS d SET resolved_at = :at, resolution = CASE
        WHEN d.explanation IN ('missing_trades', 'stale', 'missing_candle') THEN 'completed'
        WHEN d.explanation = 'unexplained' OR m.source <> 'exchange' THEN 'equal_again'
        ELSE 'taken_over' END
    FROM market_data AS m
    WHERE d.resolved_at IS NULL AND d.exchange = :exchange AND d.symbol = :symbol
      AND (m.exchange, m.symbol, m.timeframe, m.timestamp)
          = (d.exchange, d.symbol, d.timeframe, d.timestamp)
      AND (m.open, m.high, m.low, m.close, m.volume)
          = (d.their_open, d.their_high, d.their_low, d.their_close, d.their_volume)
""")


_TOTALS = text("""
    SELECT exchange, symbol, compared, differing, open, unexplained FROM (
        SELECT exchange, symbol, sum(compared)::bigint AS compared, sum(differing)::bigint AS differing
        FROM reconciliations GROUP BY 1, 2
    ) AS progress LEFT JOIN (
        SELECT exchange, symbol, count(*) FILTER (WHERE resolved_at IS NULL) AS open,
               count(*) FILTER (WHERE resolved_at IS NULL AND explanation = 'unexplained') AS unexplained
        FROM candle_differences GROUP BY 1, 2
    ) AS found USING (exchange, symbol) ORDER BY 1, 2
""")


class ComparisonTotals(msgspec.Struct, frozen=True):
    """How the candles of a symbol compared with the exchange's own, all comparisons together. open: of the
    differing ones those not settled, unexplained: those of them that nothing explains"""

    exchange: str
    symbol: str
    compared: int
    differing: int
    open: int
    unexplained: int


class Difference(msgspec.Struct, frozen=True):
    """A candle that is not the exchange's. ours, theirs: None when that side has none. resolution: None while
    it is open. detail: a sentence for people"""

    symbol: str
    timeframe: Timeframe
    close_ms: int
    ours: Numbers | None
    theirs: Numbers | None
    explanation: Explanation
    detail: str | None = None
    resolution: Resolution | None = None


def numbers(candle: Candle) -> Numbers:
    """What is compared."""
    return candle.open, candle.high, candle.low, candle.close, candle.volume


def reconciled_through(connection: Connection, symbol: str, kind: Kind) -> int | None:
    """Close time in ms of the newest candle compared; None before the first time."""
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
    """So many more candles were compared, up to `through_ms`."""
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


def record_difference(connection: Connection, found: Difference, at_ms: int) -> None:
    """Store a difference found at exchange time `at_ms`, in place of an earlier one of the same candle."""
    at = to_datetime(at_ms)
    sides = {"our": found.ours, "their": found.theirs}
    row = insert(candle_differences).values(
        exchange=EXCHANGE,
        symbol=found.symbol,
        timeframe=found.timeframe.value,
        timestamp=to_datetime(found.close_ms),
        explanation=found.explanation,
        detail=found.detail,
        detected_at=at,
        resolved_at=None if found.resolution is None else at,
        resolution=found.resolution,
        **{
            f"{side}_{name}": None if values is None else values[n]
            for side, values in sides.items()
            for n, name in enumerate(NAMES)
        },
    )
    keys = ["exchange", "symbol", "timeframe", "timestamp"]
    changed = {name: value for name, value in row.excluded.items() if name not in keys}
    connection.execute(row.on_conflict_do_update(index_elements=keys, set_=changed))


def resolve_differences(
    connection: Connection,
    symbol: str,
    candles: Iterable[tuple[Timeframe, int]],
    resolution: Resolution,
    at_ms: int,
) -> None:
    """Close what is open of the candles (timeframe, close time in ms)."""
    table = candle_differences
    for timeframe, close_ms in candles:
        connection.execute(
            update(table)
            .where(
                table.c.exchange == EXCHANGE,
                table.c.symbol == symbol,
                table.c.timeframe == timeframe.value,
                table.c.timestamp == to_datetime(close_ms),
                table.c.resolved_at.is_(None),
            )
            .values(resolved_at=to_datetime(at_ms), resolution=resolution)
        )


def settle_differences(connection: Connection, symbol: str, at_ms: int) -> int:
    """Resolve those of which the stored candle has become the exchange's; returns how many."""
    return connection.execute(
        _SETTLE, {"exchange": EXCHANGE, "symbol": symbol, "at": to_datetime(at_ms)}
    ).rowcount


def differences(
    connection: Connection,
    symbol: str,
    timeframes: Sequence[Timeframe],
    after_ms: int,
    through_ms: int,
    only_open: bool = False,
) -> list[Difference]:
    """Those with a close time in (after_ms, through_ms], oldest first."""
    table = candle_differences
    query = select(table).where(
        table.c.exchange == EXCHANGE,
        table.c.symbol == symbol,
        table.c.timeframe.in_([timeframe.value for timeframe in timeframes]),
        table.c.timestamp > to_datetime(after_ms),
        table.c.timestamp <= to_datetime(through_ms),
    )
    if only_open:
        query = query.where(table.c.resolved_at.is_(None))
    return [
        Difference(
            symbol,
            Timeframe(row["timeframe"]),
            to_ms(row["timestamp"]),
            _numbers(row["our_open"], *(row[f"our_{name}"] for name in NAMES[1:])),
            _numbers(row["their_open"], *(row[f"their_{name}"] for name in NAMES[1:])),
            row["explanation"],
            row["detail"],
            row["resolution"],
        )
        for row in connection.execute(query.order_by(table.c.timestamp)).mappings()
    ]


def comparison_totals(engine: Engine) -> list[ComparisonTotals]:
    """Every symbol that was compared."""
    with engine.connect() as connection:
        return [
            ComparisonTotals(
                row.exchange, row.symbol, row.compared, row.differing, row.open or 0, row.unexplained or 0
            )
            for row in connection.execute(_TOTALS)
        ]


def unfilled_gaps(connection: Connection, symbol: str) -> list[tuple[int, int]]:
    """(from ms, through ms) of the times in which trades are known to be missing for good, or still."""
    rows = connection.execute(_GAPS, {"exchange": EXCHANGE, "symbol": symbol})
    return [
        (0 if row.before is None else to_ms(row.before), 2**53 if row.after is None else to_ms(row.after))
        for row in rows
    ]


def _numbers(
    opened: Decimal | None, high: Decimal, low: Decimal, close: Decimal, volume: Decimal
) -> Numbers | None:
    return None if opened is None else (opened, high, low, close, volume)
