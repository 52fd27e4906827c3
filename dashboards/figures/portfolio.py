"""Figures of all bots together: equity over drawdown, and the profit of each day. Pure."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate
from typing import Any

from dashboards.figures.equity import equity_layout
from dashboards.figures.price import unit_label
from dashboards.figures.style import axis, layout, painted
from dashboards.theme import BOTH, Scheme, tokens

LEAST_DAYS = 6
"""A young portfolio's few bars stand at the right of a week, not as one wall."""


def combined_figure(points: Sequence[dict[str, Any]], quote: str, scheme: Scheme) -> dict[str, Any]:
    """points: `at`, `equity`, `cash` (queries.portfolio.curve). Equity and cash above, drawdown below."""
    times = [round(point["at"].timestamp() * 1000) for point in points]
    equity = [float(point["equity"]) for point in points]
    peaks = accumulate(equity, max)
    drawdown = [(value / peak - 1) * 100 if peak else 0.0 for value, peak in zip(equity, peaks, strict=True)]
    cash = [float(point["cash"]) for point in points]
    traces = [
        _line("Equity", times, equity, "accent", 2, scheme),
        _line("of it cash", times, cash, "muted", 1.2, scheme) | {"visible": "legendonly"},
        {
            **_line("Drawdown", times, drawdown, "down", 1, scheme),
            "fill": "tozeroy",
            "fillcolor": BOTH["down"] + "33",
            "yaxis": "y2",
            "showlegend": False,
            "hovertemplate": "Drawdown %{y:.2f}\u2009%<extra></extra>",
        },
    ]
    return {"data": traces, "layout": equity_layout(scheme, quote)}


def daily_figure(days: Sequence[dict[str, Any]], quote: str, scheme: Scheme) -> dict[str, Any]:
    """days: `day`, `pnl` (queries.portfolio.days), at least one. A bar a UTC day, above or below zero."""
    values = [float(day["pnl"]) for day in days]
    bars = {
        "type": "bar",
        "name": "P&L",
        "x": [f"{day['day']:%Y-%m-%d}" for day in days],
        "y": values,
        "marker": {"color": [BOTH["up"] if value >= 0 else BOTH["down"] for value in values]},
        "hovertemplate": f"%{{y:+,.2f}} {quote}<extra></extra>",
        "width": 0.6 * 86_400_000,
    }
    last = days[-1]["day"]
    first = min(days[0]["day"], last - timedelta(days=LEAST_DAYS))
    view = [f"{first - timedelta(days=1):%Y-%m-%d} 12:00", f"{last:%Y-%m-%d} 12:00"]
    shape = layout(scheme) | {
        "xaxis": axis(scheme, type="date", tickformat="%b %d", range=view, nticks=7),
        "yaxis": axis(scheme, side="right", tickformat="+,.0f", fixedrange=True)
        | {"zeroline": True, "zerolinecolor": tokens(scheme)["border"]},
        "annotations": [unit_label(quote, "y")],
        "showlegend": False,
        "uirevision": "keep",
    }
    return {"data": [bars], "layout": shape}


def _line(
    name: str, x: list[int], y: list[float], token: str, width: float, scheme: Scheme
) -> dict[str, Any]:
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "line": {"width": width},
        "hovertemplate": f"{name} %{{y:,.2f}}<extra></extra>",
    }
    return painted(line, scheme, line_color=token)
