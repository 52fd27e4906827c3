"""The price chart: candles, volume, indicators, and what the bot bought and sold. Pure."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from dashboards.figures.panes import Pane, pane_axes, panes_of, top_of
from dashboards.figures.style import axis, layout
from dashboards.formatting import cents
from dashboards.theme import BOTH, SERIES, Scheme

SHOWN = 150
VOLUME_OPACITY = "66"


def price_figure(
    candles: pl.DataFrame,
    fills: Sequence[dict[str, Any]],
    indicators: pl.DataFrame | None,
    timeframe_ms: int,
    decimals: int,
    scheme: Scheme,
    base: str = "",
    quote: str = "",
) -> dict[str, Any]:
    """Candles (a candle frame), markers of fills (hub.fill_point dicts), indicator columns of a frame with
    `timestamp`, those off the price's scale in panes below. Times on the axis are candle close times, UTC; at
    first the newest 150 are in view."""
    times = candles["timestamp"].dt.epoch("ms").to_list()
    traces = [candle_trace(candles, times, decimals), volume_trace(candles, times)]
    traces += [marker_trace(fills, side, timeframe_ms, decimals, base, quote) for side in ("buy", "sell")]
    panes: list[Pane] = []
    if indicators is not None and indicators.height:
        panes = panes_of(indicators, candles["close"])
        places = {name: (pane.axis, pane.decimals) for pane in panes for name in pane.lines}
        for position, name in enumerate(column for column in indicators.columns if column != "timestamp"):
            traces.append(indicator_trace(indicators, name, position, *places.get(name, ("y", decimals))))
    shape = layout(scheme)
    shape |= _axes(scheme, panes, times, timeframe_ms, decimals, candles)
    above = {"yanchor": "bottom", "yshift": 0}  # clear of the lines: no labels of ticks are on that side
    names = [pane_label(", ".join(map(spoken, pane.lines)), pane.axis) | above for pane in panes]
    shape["annotations"] = [unit_label(quote, "y"), pane_label(base, "y2"), *names, zone_label()]
    shape["uirevision"] = "keep"
    shape["meta"] = {"timeframe_ms": timeframe_ms, "shown": SHOWN, "decimals": decimals}
    return {"data": traces, "layout": shape}


def candle_trace(candles: pl.DataFrame, times: list[int], decimals: int) -> dict[str, Any]:
    """Open, high, low, close; hollow nowhere, up and down in the two colours that mean that everywhere."""
    return {
        "type": "candlestick",
        "name": "Price",
        "x": times,
        **{name: candles[name].to_list() for name in ("open", "high", "low", "close")},
        "increasing": {"line": {"color": BOTH["up"], "width": 1}, "fillcolor": BOTH["up"]},
        "decreasing": {"line": {"color": BOTH["down"], "width": 1}, "fillcolor": BOTH["down"]},
        "whiskerwidth": 0,
        "showlegend": False,
        "meta": {"kind": "candles"},
        "hovertemplate": (
            f"O %{{open:,.{decimals}f}}  H %{{high:,.{decimals}f}}<br>"
            f"L %{{low:,.{decimals}f}}  C %{{close:,.{decimals}f}}<extra></extra>"
        ),
    }


def volume_trace(candles: pl.DataFrame, times: list[int]) -> dict[str, Any]:
    """Volume in the base currency, tinted by the candle's direction."""
    rising = (candles["close"] >= candles["open"]).to_list()
    return {
        "type": "bar",
        "name": "Volume",
        "x": times,
        "y": candles["volume"].to_list(),
        "marker": {
            "color": [(BOTH["up"] if up else BOTH["down"]) + VOLUME_OPACITY for up in rising],
            "line": {"width": 0},
        },
        "yaxis": "y2",
        "showlegend": False,
        "meta": {"kind": "volume"},
        "hovertemplate": "Volume %{y:,.4~f}<extra></extra>",
    }


def marker_trace(
    fills: Sequence[dict[str, Any]], side: str, timeframe_ms: int, decimals: int, base: str, quote: str
) -> dict[str, Any]:
    """▲ below each buy, ▼ above each sell, on the candle in which it was filled."""
    buying = side == "buy"
    mine = [fill for fill in fills if fill["side"] == side]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "Buy" if buying else "Sell",
        "x": [marker_time(fill["t"], timeframe_ms) for fill in mine],
        "y": [fill["price"] for fill in mine],
        "text": [marker_text(fill, decimals, base, quote) for fill in mine],
        "customdata": [fill.get("id") for fill in mine],
        "marker": {
            "symbol": "triangle-up" if buying else "triangle-down",
            "size": 13,
            "color": BOTH["up"] if buying else BOTH["down"],
            "line": {"width": 1.5, "color": "#ffffff"},
        },
        "meta": {"kind": side, "decimals": decimals, "base": base, "quote": quote, "cents": cents(quote)},
        "hovertemplate": "%{text}<extra></extra>",
    }


def marker_time(filled_ms: int, timeframe_ms: int) -> int:
    """Label (close time) of the candle that holds a fill."""
    return filled_ms - filled_ms % timeframe_ms + timeframe_ms


def marker_text(fill: dict[str, Any], decimals: int, base: str, quote: str) -> str:
    """`Buy 0.1234 BTC @ 61,828.02`, and for a sell what it made. assets/30-chart.js words it the same way."""
    amount = f"{fill['quantity']:,.6f}".rstrip("0").rstrip(".")
    word = "▲ Buy" if fill["side"] == "buy" else "▼ Sell"
    text = f"{word} {amount} {base} @ {fill['price']:,.{decimals}f}"
    if fill["pnl"] is None:
        return text
    sign = "−" if fill["pnl"] < 0 else "+"
    return f"{text}<br>P&L {sign}{abs(fill['pnl']):,.{cents(quote)}f} {quote}"


def indicator_trace(
    frame: pl.DataFrame, name: str, position: int, axis_name: str, decimals: int
) -> dict[str, Any]:
    """One indicator line, over the price (`y`) or in a pane below."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": spoken(name),
        "x": frame["timestamp"].dt.epoch("ms").to_list(),
        "y": [value if value is None or value == value else None for value in frame[name].to_list()],
        "line": {"width": 1.5, "color": SERIES[position % len(SERIES)]},
        "yaxis": axis_name,
        "connectgaps": False,
        "meta": {"kind": "indicator", "column": name},
        "hovertemplate": f"{spoken(name)} %{{y:,.{decimals}f}}<extra></extra>",
    }


def spoken(name: str) -> str:
    """`ema_fast` → `ema fast`."""
    return name.replace("_", " ")


def unit_label(text: str, axis_name: str) -> dict[str, Any]:
    """The unit of a vertical axis, above its tick labels and clear of the lines."""
    return {
        "text": text,
        "xref": "paper",
        "yref": f"{axis_name} domain",
        "x": 1,
        "y": 1,
        "xanchor": "left",
        "yanchor": "bottom",
        "xshift": 4,
        "yshift": 4,
        "showarrow": False,
        "font": {"size": 10},
    }


def pane_label(text: str, axis_name: str) -> dict[str, Any]:
    """The unit of a low pane, inside its left corner: above its ticks the labels of the pane over it end."""
    corner = {"x": 0, "xanchor": "left", "yanchor": "top", "yshift": 2, "xshift": 2}
    return unit_label(text, axis_name) | corner


def zone_label() -> dict[str, Any]:
    """The zone of a time axis, at its end: charts are UTC as the candles' days are, tables the reader's."""
    corner = {"xref": "paper", "yref": "paper", "x": 1, "y": 0, "xanchor": "left", "yanchor": "top"}
    return {"text": "UTC", **corner, "xshift": 36, "yshift": -6, "showarrow": False, "font": {"size": 10}}


def fitted(seen: pl.DataFrame) -> tuple[list[float] | None, list[float] | None]:
    """Ranges of price and volume that fit the candles in view, as assets/30-chart.js keeps them."""
    low, high, top = seen["low"].min(), seen["high"].max(), seen["volume"].max()
    if not (isinstance(low, float) and isinstance(high, float) and isinstance(top, float)):
        return None, None
    room = (high - low or high * 0.001) * 0.08
    return [low - room, high + room], [0.0, top * 1.1 or 1.0]


def _axes(
    scheme: Scheme,
    panes: list[Pane],
    times: list[int],
    timeframe_ms: int,
    decimals: int,
    candles: pl.DataFrame,
) -> dict[str, Any]:
    right = times[-1] + 6 * timeframe_ms if times else None
    price_range, volume_range = fitted(candles.tail(SHOWN))
    view = [times[-SHOWN] if len(times) > SHOWN else times[0] - timeframe_ms, right] if times else None
    return {
        "xaxis": axis(
            scheme,
            type="date",
            range=view,
            rangeslider={"visible": False},
            anchor="y2",
            hoverformat="%Y-%m-%d %H:%M UTC",
            showgrid=True,
        ),
        "yaxis": axis(
            scheme,
            side="right",
            domain=[top_of(panes), 1],
            range=price_range,
            tickformat=f",.{decimals}f",
            fixedrange=True,
        ),
        "yaxis2": axis(
            scheme,
            side="right",
            domain=[0, 0.15],
            range=volume_range,
            fixedrange=True,
            nticks=3,
            showgrid=False,
            tickformat=",.4~r",
        ),
        **pane_axes(panes, scheme),
    }
