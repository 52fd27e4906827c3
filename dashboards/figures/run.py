"""Figures of a backtest: equity against holding, drawdown below, and where it traded. Pure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dashboards.figures.equity import equity_layout
from dashboards.figures.price import candle_trace, marker_trace, unit_label, zone_label
from dashboards.figures.style import axis, layout, painted
from dashboards.formatting import cents
from dashboards.theme import BOTH, Scheme

MOST_MARKERS = 1500


def equity_figure(
    equity: pl.DataFrame, holding: pl.DataFrame | None, cash: float, quote: str, scheme: Scheme
) -> dict[str, Any]:
    """equity: `timestamp`, `equity`; holding: the same for cash put into the coin at the start (or None)."""
    times, places = equity["timestamp"].dt.epoch("ms").to_list(), cents(quote)
    drawdown = equity["equity"] / equity["equity"].cum_max().clip(lower_bound=cash) - 1
    traces: list[dict[str, Any]] = [
        _line("Strategy", times, equity["equity"].to_list(), "accent", 2, scheme, places),
        {
            "type": "scatter",
            "mode": "lines",
            "name": "Drawdown",
            "x": times,
            "y": (drawdown * 100).to_list(),
            "line": {"width": 1, "color": BOTH["down"]},
            "fill": "tozeroy",
            "fillcolor": BOTH["down"] + "33",
            "yaxis": "y2",
            "showlegend": False,
            "hovertemplate": "Drawdown %{y:.2f}\u2009%<extra></extra>",
        },
    ]
    if holding is not None and holding.height:
        held = holding["timestamp"].dt.epoch("ms").to_list()
        values = holding["equity"].to_list()
        traces.insert(1, _line("Buy and hold", held, values, "muted", 1.2, scheme, places))
    return {"data": traces, "layout": equity_layout(scheme, quote)}


def trades_figure(
    candles: pl.DataFrame,
    trades: Sequence[dict[str, Any]],
    timeframe_ms: int,
    decimals: int,
    base: str,
    quote: str,
    scheme: Scheme,
) -> dict[str, Any]:
    """Candles of the tested stretch with entries and exits; timeframe_ms: length of the candles drawn."""
    times = candles["timestamp"].dt.epoch("ms").to_list()
    fills = fills_of(trades[-MOST_MARKERS:])
    traces = [candle_trace(candles, times, decimals)]
    traces += [marker_trace(fills, side, timeframe_ms, decimals, base, quote) for side in ("buy", "sell")]
    for trace in traces[1:]:
        trace["marker"]["size"] = 10
        trace["marker"]["line"]["width"] = 1
    shape = layout(scheme)
    shape |= {
        "xaxis": axis(scheme, type="date", rangeslider={"visible": False}, hoverformat="%Y-%m-%d %H:%M UTC"),
        "yaxis": axis(scheme, side="right", tickformat=f",.{decimals}f", fixedrange=False),
        "annotations": [unit_label(quote, "y"), zone_label()],
        "uirevision": "keep",
    }
    return {"data": traces, "layout": shape}


def returns_figure(returns: Sequence[float], scheme: Scheme) -> dict[str, Any]:
    """How often a round trip ended with which return. returns: fractions, at least one. Bins are as wide as
    Freedman and Diaconis say, losses and gains apart; a line stands at the mean."""
    percents = np.array(returns) * 100
    width = _bin_width(percents)
    first = int(np.floor(percents.min() / width))
    counts = np.bincount((np.floor(percents / width) - first).astype(np.int64))
    begins = (np.arange(counts.size) + first) * width
    mean = float(percents.mean())
    bars = {
        "type": "bar",
        "x": (begins + width / 2).tolist(),
        "y": counts.tolist(),
        "width": width * 0.92,
        "marker": {"color": [BOTH["up"] if begin >= 0 else BOTH["down"] for begin in begins.tolist()]},
        "customdata": [[begin, begin + width] for begin in begins.tolist()],
        "hovertemplate": "%{y:,} trades from %{customdata[0]:+.2f} to %{customdata[1]:+.2f}\u2009%"
        "<extra></extra>",
    }
    top = int(counts.max())
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": [mean, mean],
        "y": [0, top * 1.05],
        "line": {"width": 1.5, "dash": "dot"},
        "hovertemplate": f"Mean {mean:+.2f}\u2009%<extra></extra>",
    }
    title = {"text": "return of a round trip, %", "font": {"size": 11}, "standoff": 6}
    shape = layout(scheme) | {
        "hovermode": "closest",
        "dragmode": False,
        "showlegend": False,
        "bargap": 0,
        "xaxis": axis(scheme, tickformat="+.2~f", title=title, showspikes=False),
        "yaxis": axis(scheme, side="right", nticks=5, tickformat=",d", rangemode="tozero", showspikes=False),
        "annotations": [unit_label("trades", "y")],
    }
    return {"data": [bars, painted(line, scheme, line_color="text")], "layout": shape}


def _bin_width(values: NDArray[np.float64]) -> float:
    """2 · interquartile range / ∛n, at least a sixtieth of the whole range."""
    quarters = np.quantile(values, [0.25, 0.75])
    wide = 2 * float(quarters[1] - quarters[0]) / values.size ** (1 / 3)
    return max(wide, float(np.ptp(values)) / 60) or 0.1


def fills_of(trades: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Round trips as single fills, as markers want them; an open one has no exit."""
    fills = []
    for trade in trades:
        entry = {"side": "buy", "quantity": trade["quantity"], "price": trade["entry_price"], "pnl": None}
        fills.append(entry | {"t": round(trade["entry_time"].timestamp() * 1000)})
        if trade["exit_time"] is not None and trade["exit_price"] is not None:
            leave = {"side": "sell", "quantity": trade["quantity"], "price": trade["exit_price"]}
            moment = round(trade["exit_time"].timestamp() * 1000)
            fills.append(leave | {"t": moment, "pnl": trade["pnl"]})
    return fills


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
