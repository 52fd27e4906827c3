"""Figures of all bots together: equity over drawdown, and the profit of days, weeks and months. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from itertools import accumulate
from typing import Any, Literal

from dashboards.figures.equity import equity_layout
from dashboards.figures.price import unit_label
from dashboards.figures.style import axis, layout, painted
from dashboards.formatting import cents
from dashboards.theme import BOTH, Scheme, tokens

Period = Literal["day", "week", "month"]
DAYS: dict[Period, int] = {"day": 1, "week": 7, "month": 30}
TICKS: dict[Period, str] = {"day": "%b %d", "week": "%b %d", "month": "%b %Y"}
WORDS: dict[Period, str] = {"day": "", "week": "week from %{x}<br>", "month": ""}
WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
LEAST_WEEKS, WEEKS = 5, 12
"""Columns of the calendar: a young portfolio's days are no walls, and words still fit into all squares."""
LEAST, MOST = 6, 60
"""Periods in view: a young portfolio's few bars stand at the right, not as one wall."""


def combined_figure(points: Sequence[dict[str, Any]], quote: str, scheme: Scheme) -> dict[str, Any]:
    """points: `at`, `equity`, `cash` (queries.portfolio.curve) of one currency. Equity and cash above, the
    drawdown below."""
    times = [round(point["at"].timestamp() * 1000) for point in points]
    equity = [float(point["equity"]) for point in points]
    drawdown = [depth * 100 for depth in depths(equity)]
    cash = [float(point["cash"]) for point in points]
    traces = [
        _line("Equity", times, equity, "accent", 2, scheme, cents(quote)),
        _line("of it cash", times, cash, "muted", 1.2, scheme, cents(quote)) | {"visible": "legendonly"},
        {
            **_line("Drawdown", times, drawdown, "down", 1, scheme, 2),
            "fill": "tozeroy",
            "fillcolor": BOTH["down"] + "33",
            "yaxis": "y2",
            "showlegend": False,
            "hovertemplate": "Drawdown %{y:.2f}\u2009%<extra></extra>",
        },
    ]
    return {"data": traces, "layout": equity_layout(scheme, quote)}


def depths(values: Sequence[float]) -> list[float]:
    """How far each is from the highest until then, a fraction, never above zero."""
    peaks = accumulate(values, max)
    return [value / peak - 1 if peak else 0.0 for value, peak in zip(values, peaks, strict=True)]


def calendar_figure(days: Sequence[dict[str, Any]], quote: str, scheme: Scheme) -> dict[str, Any]:
    """days: as of `profit_figure`. A square a UTC day, a column a week from Monday, the newest at the right;
    what a day made stands in it, and its colour says how much of the most that any day made or lost."""
    made = {row["day"]: float(row["pnl"]) for row in days}
    last = _begin(max(made), "week")
    first = max(_begin(min(made), "week"), last - timedelta(weeks=WEEKS - 1))
    first = min(first, last - timedelta(weeks=LEAST_WEEKS - 1))
    weeks = [first + timedelta(weeks=n) for n in range((last - first).days // 7 + 1)]
    dates = [[week + timedelta(days=weekday) for week in weeks] for weekday in range(7)]
    values = [[made.get(day) for day in line] for line in dates]
    most = max((abs(value) for line in values for value in line if value is not None), default=0.0) or 1.0
    squares = {
        "type": "heatmap",
        "x": [f"{week:%b %d}" for week in weeks],
        "y": WEEKDAYS,
        "z": values,
        "zmin": -most,
        "zmax": most,
        "xgap": 3,
        "ygap": 3,
        "showscale": False,
        "hoverongaps": False,
        "text": [[_short(value, cents(quote)) for value in line] for line in values],
        "texttemplate": "%{text}",
        "textfont": {"size": 11},
        "customdata": [[f"{day:%Y-%m-%d}" for day in line] for line in dates],
        "hovertemplate": f"%{{customdata}}  %{{z:+,.{cents(quote)}f}} {quote}<extra></extra>",
    }
    scale = [[0, "down"], [0.5, "raised"], [1, "up"]]
    shape = layout(scheme) | {
        "margin": {"l": 40, "r": 12, "t": 8, "b": 34},
        "hovermode": "closest",
        "dragmode": False,
        "showlegend": False,
        "xaxis": axis(
            scheme, type="category", showgrid=False, showspikes=False, fixedrange=True, nticks=9, tickangle=0
        ),
        "yaxis": axis(
            scheme, type="category", autorange="reversed", showgrid=False, showspikes=False, fixedrange=True
        ),
        "uirevision": "calendar",
    }
    return {"data": [painted(squares, scheme, colorscale=scale, textfont_color="text")], "layout": shape}


def _short(value: float | None, decimals: int) -> str:
    """`+12`, `−1.3k`: what fits into a square. decimals: of amounts elsewhere."""
    if value is None:
        return ""
    size = abs(value)
    text = (
        f"{size / 1000:.1f}k"
        if size >= 1000
        else f"{size:.0f}"
        if size >= 10
        else f"{size:.{max(1, decimals - 2)}f}"
    )
    return text if not any(digit in text for digit in "123456789") else ("−" if value < 0 else "+") + text


def profits(days: Sequence[dict[str, Any]], by: Period) -> list[tuple[date, float]]:
    """(first day, profit) of each UTC day, week (from Monday) or month that has any, oldest first."""
    found: dict[date, float] = defaultdict(float)
    for row in days:
        found[_begin(row["day"], by)] += float(row["pnl"])
    return sorted(found.items())


def _begin(day: date, by: Period) -> date:
    if by == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if by == "month" else day


def profit_figure(days: Sequence[dict[str, Any]], by: Period, quote: str, scheme: Scheme) -> dict[str, Any]:
    """days: `day`, `pnl` (queries.portfolio.days), at least one. A bar a period, above or below zero."""
    found = profits(days, by)
    length = DAYS[by]
    bars = {
        "type": "bar",
        "name": "P&L",
        "x": [f"{begin:%Y-%m-%d}" for begin, _ in found],
        "y": [value for _, value in found],
        "marker": {"color": [BOTH["up"] if value >= 0 else BOTH["down"] for _, value in found]},
        "hovertemplate": f"{WORDS[by]}%{{y:+,.{cents(quote)}f}} {quote}<extra></extra>",
        "width": 0.6 * length * 86_400_000,
    }
    last = found[-1][0]
    first = min(max(found[0][0], last - timedelta(days=MOST * length)), last - timedelta(days=LEAST * length))
    half = timedelta(days=length) / 2
    ends = (datetime.combine(first, time()) - half, datetime.combine(last, time()) + half)
    view = [f"{at:%Y-%m-%d %H:%M}" for at in ends]
    shape = layout(scheme) | {
        "xaxis": axis(scheme, type="date", tickformat=TICKS[by], range=view, nticks=7),
        "yaxis": axis(scheme, side="right", tickformat=f"+,.{cents(quote) - 2}f", fixedrange=True)
        | {"zeroline": True, "zerolinecolor": tokens(scheme)["border"]},
        "annotations": [unit_label(quote, "y")],
        "showlegend": False,
        "uirevision": by,
    }
    return {"data": [bars], "layout": shape}


def _line(
    name: str, x: list[int], y: list[float], token: str, width: float, scheme: Scheme, decimals: int
) -> dict[str, Any]:
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "line": {"width": width},
        "hovertemplate": f"{name} %{{y:,.{decimals}f}}<extra></extra>",
    }
    return painted(line, scheme, line_color=token)
