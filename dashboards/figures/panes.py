"""Where indicators of a price chart are drawn: over the price, or in panes of their own below it. Pure."""

from dataclasses import dataclass
from math import floor, log10
from typing import Any

import polars as pl

from dashboards.figures.style import axis
from dashboards.theme import Scheme

OVERLAY_RATIO = 0.5
"""An indicator whose values stay within half to twice the price is drawn over it; others get a pane below."""
FIRST_AXIS = 3
BOTTOM, HEIGHT, MOST_HEIGHT = 0.205, 0.185, 0.5
"""Of the chart: where panes begin above the volume, what one takes, and what all of them take at most."""
DIGITS = 4
MOST_DECIMALS = 12


@dataclass(frozen=True, slots=True)
class Pane:
    """Lines on one scale. axis: its name for traces (`y3`); decimals: of its values."""

    axis: str
    lines: tuple[str, ...]
    decimals: int


def panes_of(indicators: pl.DataFrame, closes: pl.Series) -> list[Pane]:
    """The panes of the columns (but `timestamp`) that are not on the price's scale; those whose names begin
    with one word, as `macd` and `macd_signal`, share one."""
    groups: dict[str, list[str]] = {}
    for name in indicators.columns:
        if name != "timestamp" and not is_overlay(indicators[name], closes):
            groups.setdefault(name.replace("_", " ").split(" ")[0], []).append(name)
    return [
        Pane(f"y{FIRST_AXIS + n}", tuple(lines), decimals_of(indicators.select(lines)))
        for n, lines in enumerate(groups.values())
    ]


def is_overlay(values: pl.Series, closes: pl.Series) -> bool:
    """Whether an indicator lives on the price's scale."""
    middle, price = values.cast(pl.Float64).median(), closes.median()
    if not isinstance(middle, float) or not isinstance(price, float) or price <= 0:
        return False
    return OVERLAY_RATIO < middle / price < 1 / OVERLAY_RATIO


def decimals_of(values: pl.DataFrame) -> int:
    """As many as show four digits of the usual size of these numbers: 54.32, 0.00001234."""
    sizes = [values[name].cast(pl.Float64).fill_nan(None).abs().median() for name in values.columns]
    usual = max((size for size in sizes if isinstance(size, float)), default=0.0)
    if usual <= 0:
        return 2
    return min(max(DIGITS - 1 - floor(log10(usual)), 0), MOST_DECIMALS)


def top_of(panes: list[Pane]) -> float:
    """Where the price's part of the chart may begin."""
    return BOTTOM + min(HEIGHT * len(panes), MOST_HEIGHT)


def pane_axes(panes: list[Pane], scheme: Scheme) -> dict[str, dict[str, Any]]:
    """The vertical axes of a layout, the first pane on top."""
    slot = (top_of(panes) - BOTTOM) / max(len(panes), 1)
    top = top_of(panes)
    return {
        f"yaxis{pane.axis[1:]}": axis(
            scheme,
            side="right",
            domain=[top - (n + 1) * slot, top - (n + 0.2) * slot],
            fixedrange=True,
            nticks=4 if len(panes) == 1 else 3,
            tickformat=f",.{pane.decimals}~f",
        )
        for n, pane in enumerate(panes)
    }
