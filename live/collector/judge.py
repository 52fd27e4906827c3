"""Why a candle of ours is not the exchange's, and which of the two is to stand.

The policy (docs/adr/0004-whose-candle-stands.md): what is made of a complete sequence of the exchange's own
trades stands, whatever its candle endpoint says later. The exchange is therefore asked for the trades of each
minute that differs; only where we lack trades, or never had them, is its candle the better one.
"""

from collections.abc import Sequence

import msgspec

from core.candle_parts import Minute
from core.candles import Candle
from core.trades import Trade
from pipelines.warehouse.reconciliation import Difference, Explanation, Resolution, numbers


class Known(msgspec.Struct, frozen=True):
    """What is known about a minute before its trades are asked for.

    equal_before: an earlier comparison found both equal
    in_gap: trades are known to be missing there
    has_trades: trades of it were collected, though it has the exchange's row
    """

    equal_before: bool = False
    in_gap: bool = False
    has_trades: bool = False


class Evidence(msgspec.Struct, frozen=True):
    """The exchange's trades of a minute, none missing.

    unknown: those of them that are not stored here, though the symbol's trades are
    uncounted: how many of them our candle did not count, where no trades are stored to compare them with
    """

    candle: Candle
    unknown: list[Trade] = []
    uncounted: int = 0


class Judgement(msgspec.Struct, frozen=True):
    """difference: to be recorded; candle: to be stored in place of ours, if any; trades: to be stored"""

    difference: Difference
    candle: Candle | None = None
    trades: list[Trade] = []


def candle_of(symbol: str, close_ms: int, trades: Sequence[Trade]) -> Candle | None:
    """The minute that these trades make, in whatever order they are given; None for none."""
    if not trades:
        return None
    minute = Minute.of_trade(close_ms, trades[0])
    for trade in trades[1:]:
        minute.add(trade)
    return minute.candle(symbol)


def judge(ours: Candle, theirs: Candle, known: Known, evidence: Evidence | None) -> Judgement:
    """Of a minute in which both have a candle and they differ. evidence: None when it cannot be had."""
    made = None if evidence is None else evidence.candle
    if evidence is not None and made is not None and numbers(made) == numbers(theirs):
        if evidence.unknown or evidence.uncounted or known.in_gap or ours.provisional:
            lost = _lost(evidence)
            return _judgement(ours, theirs, "missing_trades", f"we lacked {lost}", made, evidence.unknown)
        detail = "the exchange changed its trades"
        return _judgement(ours, theirs, "exchange_revision", detail, made, evidence.unknown)
    if made is not None and numbers(made) == numbers(ours):
        why: Explanation = "exchange_revision" if known.equal_before else "exchange_row"
        detail = "the exchange's own trades make our candle"
        return _judgement(ours, theirs, why, detail, resolution="ours_stands")
    if ours.source == "exchange":
        return _judgement(ours, theirs, "exchange_revision", "it was the exchange's before", theirs)
    if ours.provisional or known.in_gap:
        return _judgement(ours, theirs, "known_gap", "trades are missing here", theirs)
    if known.equal_before:
        detail = "it was equal before, of an unbroken sequence of trades"
        return _judgement(ours, theirs, "exchange_revision", detail, resolution="ours_stands")
    return _judgement(ours, theirs, "unexplained", "our sequence of trades is unbroken")


def judge_longer(
    ours: Candle | None, theirs: Candle, rolled: Candle | None, minutes: Sequence[Difference]
) -> Judgement:
    """Of a longer candle. rolled: made of our minutes; None when some of them are not stored; minutes: the
    differences known within it."""
    if ours is None:
        return missing(theirs, rolled)
    if rolled is None:
        reason: Explanation = "exchange_revision" if ours.source == "exchange" else "known_gap"
        return _judgement(ours, theirs, reason, "not all of its minutes are stored", theirs)
    if numbers(rolled) == numbers(theirs):
        return _judgement(ours, theirs, "stale", "its minutes had changed", rolled)
    changed = rolled if numbers(rolled) != numbers(ours) else None
    if standing := [known for known in minutes if known.resolution == "ours_stands"]:
        detail = f"it follows its minutes, of which {len(standing)} differ and stand"
        return _judgement(ours, theirs, standing[0].explanation, detail, changed, resolution="ours_stands")
    return _judgement(ours, theirs, "unexplained", "it is made of all its minutes", changed)


def missing(theirs: Candle, rolled: Candle | None = None) -> Judgement:
    """Of a candle that only the exchange has."""
    made = theirs if rolled is None else rolled
    settled: Resolution | None = None if numbers(made) == numbers(theirs) else "ours_stands"
    return Judgement(
        Difference(
            theirs.symbol,
            theirs.timeframe,
            theirs.close_ms,
            None,
            numbers(theirs),
            "missing_candle",
            "we had none",
            settled,
        ),
        made,
    )


def without_counterpart(ours: Candle) -> Judgement:
    """Of a candle with trades that the exchange leaves out between others."""
    return Judgement(
        Difference(
            ours.symbol,
            ours.timeframe,
            ours.close_ms,
            numbers(ours),
            None,
            "unexplained",
            "the exchange has no such candle",
        )
    )


def _judgement(
    ours: Candle,
    theirs: Candle,
    explanation: Explanation,
    why: str,
    candle: Candle | None = None,
    trades: Sequence[Trade] = (),
    resolution: Resolution | None = None,
) -> Judgement:
    if candle is not None and candle.source == "exchange":
        # The exchange does not say how many trades there were: what we counted is the least.
        candle = msgspec.structs.replace(candle, trades_count=ours.trades_count)
    found = Difference(
        ours.symbol,
        ours.timeframe,
        ours.close_ms,
        numbers(ours),
        numbers(theirs),
        explanation,
        f"{_sides(ours, theirs)}: {why}",
        resolution,
    )
    return Judgement(found, candle, list(trades))


def _sides(ours: Candle, theirs: Candle) -> str:
    """Who has more."""
    more = theirs.volume - ours.volume
    if more:
        return f"the exchange has {abs(more).normalize():f} {'more' if more > 0 else 'less'} volume"
    names = ("open", "high", "low", "close")
    differing = [name for name in names if getattr(ours, name) != getattr(theirs, name)]
    return f"equal volume, another {', '.join(differing)}"


def _lost(evidence: Evidence) -> str:
    """What we lacked, in words."""
    if evidence.unknown:
        first, last = evidence.unknown[0].first_id, evidence.unknown[-1].trade_id
        return f"{len(evidence.unknown)} trades of the ids {first} to {last}"
    if evidence.uncounted:
        return f"{evidence.uncounted} of its {evidence.candle.trades_count} trades"
    return "trades"
