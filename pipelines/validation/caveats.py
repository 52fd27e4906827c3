"""What must be said beside the numbers, in words: too few trades, too short, too lucky, too dear."""

from collections.abc import Iterator
from typing import Any

FEW_TRADES, SOME_TRADES = 20, 50
SIGNIFICANT = 0.05
SURE = 0.95


def caveats(document: dict[str, Any]) -> list[str]:
    """Sentences about a backtest's document, whether it was validated or not; the gravest first."""
    validation = document.get("validation")
    said = [*_sample(document), *_method(document)]
    return [*said, *_evidence(validation), *_costs(validation)] if validation else said


def _sample(document: dict[str, Any]) -> Iterator[str]:
    metrics = document["metrics"]
    trades = metrics.get("trades") or 0
    if trades == 0:
        yield "No trades: there is nothing to judge."
    elif trades < FEW_TRADES:
        yield f"{_count(trades, 'trade')}: too few to say anything."
    elif trades < SOME_TRADES:
        yield f"{trades} trades: too few to be sure of a win rate or an expectancy."
    if metrics.get("sharpe") is None:
        yield "Less than two days, or nothing that moved: no Sharpe ratio."
    missing = document.get("data", {}).get("missing", 0)
    if missing:
        yield f"{_count(missing, 'candle')} of the stretch missing: signals and fills leap over the holes."


def _method(document: dict[str, Any]) -> Iterator[str]:
    if document.get("fill") == "close":
        yield "Filled at the close that gave the signal, which nobody can trade."
    if document.get("fee") == 0:
        yield "No fee: real results are worse."
    paid = document.get("execution") or {}
    if paid.get("intrabar"):
        known = inside_known(int(document.get("intrabar_candles") or 0), int(document["candles"]))
        if known:
            yield known
    if document.get("slippage") == 0 and not paid.get("spread") and not paid.get("impact"):
        yield "No slippage: market orders cost more than this, the more so the larger they are."


def inside_known(covered: int, candles: int) -> str | None:
    """What must be said of a path inside the candles that was asked for; None where it covers them all."""
    if covered == candles:
        return None
    some = f"covers {covered:,} of {candles:,} candles" if covered else f"covers none of {candles:,} candles"
    return f"The path inside {some}: the others are judged by their worse order of high and low."


def _evidence(validation: dict[str, Any]) -> Iterator[str]:
    sharpe, returns = validation["sharpe"], validation["returns"]
    if returns["period"] != "day":
        yield (
            f"{sharpe['track_record_days']:.1f} days: intervals are made of {returns['period']} returns, and "
            "say nothing of other weather than this."
        )
    interval = validation["intervals"]["sharpe"]
    if interval is None:
        yield "Too short for intervals."
    elif interval[0] <= 0 <= interval[1]:
        yield f"The Sharpe ratio may as well be 0: its interval is {interval[0]:.2f} … {interval[1]:.2f}."
    needed = sharpe["minimum_track_record_days"]
    if needed is not None and needed > sharpe["track_record_days"]:
        yield (
            f"A record of {_days(needed)} is needed to be 95 % sure of a Sharpe ratio above 0; this is "
            f"{_days(sharpe['track_record_days'])}."
        )
    if sharpe["deflated"] is None:
        yield (
            "How many variants were tried is not known (a database counts them, and `tcp backtest --trials` "
            "says it): the best of many looks good by luck."
        )
    elif sharpe["trials"] > 1 and sharpe["deflated"] < SURE:
        yield (
            f"{sharpe['trials']:,} variants were tried: luck alone finds {sharpe['expected_maximum']:.2f}, "
            f"and a true Sharpe ratio above 0 is {sharpe['deflated']:.0%} likely, not 95 %."
        )
    timing = validation["timing"]
    if timing and timing["p_value"] > SIGNIFICANT:
        yield f"No better timed than chance: p = {timing['p_value']:.2f}."


def _costs(validation: dict[str, Any]) -> Iterator[str]:
    earned = {row["multiple"]: row["total_return"] for row in validation.get("costs", [])}
    if earned.get(1.0, 0) > 0 >= earned.get(2.0, 1):
        yield "At twice the costs the profit is gone."
    if earned.get(0.0, 0) > 0 >= earned.get(1.0, 1):
        yield "Profitable only without costs."
    if earned and 2.0 not in earned:
        yield "Twice the costs were not tried: a sale would bring nothing."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _days(days: float) -> str:
    return f"{days:,.0f} days" if days < 730 else f"{days / 365:,.1f} years"
