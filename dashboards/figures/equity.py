"""The frame that equity charts share: a backtest's, and the portfolio's."""

from typing import Any

from dashboards.figures.price import unit_label, zone_label
from dashboards.figures.style import axis, layout
from dashboards.formatting import cents
from dashboards.theme import Scheme


def equity_layout(scheme: Scheme, quote: str) -> dict[str, Any]:
    """Layout of an equity chart (axis y, quote currency) over its drawdown (axis y2, percent)."""
    return layout(scheme) | {
        "xaxis": axis(scheme, type="date", anchor="y2", hoverformat="%Y-%m-%d %H:%M UTC"),
        "yaxis": axis(
            scheme, side="right", domain=[0.34, 1], tickformat=f",.{cents(quote) - 2}f", fixedrange=True
        ),
        "yaxis2": axis(
            scheme, side="right", domain=[0, 0.24], fixedrange=True, nticks=3, ticksuffix="\u2009%"
        ),
        "annotations": [unit_label(quote, "y"), unit_label("drawdown", "y2"), zone_label()],
        "uirevision": "keep",
    }
