"""Numbers and names as people read them."""

from collections.abc import Callable, Mapping
from typing import Any

SIGNED = frozenset(
    ("total_return", "cagr", "max_drawdown", "buy_and_hold_return", "best", "worst", "alpha", "value_at_risk")
)
PERCENT = SIGNED | frozenset(
    (
        "volatility",
        "win_rate",
        "exposure",
        "positive",
        "conditional_value_at_risk",
        "ulcer_index",
        "kelly",
        "probabilistic",
        "deflated",
        "loss",
        "ruin",
    )
)
COUNTS = frozenset(("trades", "closed_trades", "winning_streak", "losing_streak"))
DURATIONS = frozenset(("max_drawdown_duration", "average_holding"))
PACE = {"day": "daily", "hour": "hourly", "candle": "candles'"}
NAMES = {
    "cagr": "CAGR",
    "sqn": "SQN",
    "sharpe_bar": "Sharpe of candles",
    "buy_and_hold_return": "Buy and hold",
    "value_at_risk": "Value at risk (5 %)",
    "conditional_value_at_risk": "Mean of the worst 5 %",
}


def shown(name: str, value: Any) -> str:
    """A metric for people: fractions as percent, money with thousands, a dash where there is none."""
    if value is None:
        return "—"
    if name in PERCENT:
        return f"{value:+,.2%}" if name in SIGNED else f"{value:.2%}"
    if name in COUNTS:
        return f"{value:,}"
    if name in DURATIONS:
        return lasting(value)
    return f"{value:,.2f}"


def lasting(seconds: float) -> str:
    """A length of time in its own unit."""
    if seconds < 5_400:
        return f"{seconds / 60:,.0f} minutes"
    return f"{seconds / 3_600:,.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:,.2f} days"


def titled(name: str) -> str:
    """max_drawdown → Max drawdown."""
    return NAMES.get(name) or name.replace("_", " ").capitalize()


def between(
    name: str, found: Mapping[str, Any], shown: Callable[[str, Any], str] = shown, none: str = "—"
) -> str:
    """A metric's interval, of `pipelines.validation.validate`; `none` where there is none.

    It says what was resampled where that is not what the metric is of: a Sharpe ratio is of daily returns, a
    drawdown of candles. shown: writes a value
    """
    pair = (found.get("intervals") or {}).get(name)
    if pair is None:
        return none
    text, period = f"{shown(name, pair[0])} … {shown(name, pair[1])}", found["returns"]["period"]
    if name == "sharpe" and period != "day":
        return f"{PACE[period]} {shown(name, found['sharpe']['value'])}: {text}"
    return f"{PACE[period]}: {text}" if name == "max_drawdown" and period != "candle" else text
