"""Figures of a comparison: growth of each over the common time, and how far apart they are. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from dashboards.figures.price import unit_label, zone_label
from dashboards.figures.style import axis, layout, painted
from dashboards.theme import SERIES, Scheme, tokens


def curves_figure(curves: Sequence[tuple[str, pl.DataFrame]], scheme: Scheme) -> dict[str, Any]:
    """curves: name and `timestamp`, `growth` (percent since the first time that all have)."""
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": frame["timestamp"].dt.epoch("ms").to_list(),
            "y": frame["growth"].to_list(),
            "line": {"width": 1.8, "color": SERIES[number % len(SERIES)]},
            "hovertemplate": f"{name} %{{y:+.2f}}\u2009%<extra></extra>",
        }
        for number, (name, frame) in enumerate(curves)
    ]
    shape = layout(scheme) | {
        "xaxis": axis(scheme, type="date", hoverformat="%Y-%m-%d %H:%M UTC"),
        "yaxis": axis(scheme, side="right", tickformat="+.2~f", fixedrange=True)
        | {"zeroline": True, "zerolinecolor": tokens(scheme)["border"]},
        "annotations": [unit_label("%", "y"), zone_label()],
        "showlegend": True,
    }
    return {"data": traces, "layout": shape}


def differences_figure(
    differences: Sequence[Mapping[str, Any]], names: Mapping[str, str], scheme: Scheme
) -> dict[str, Any]:
    """differences: of pipelines.validation.compare. A point and its interval each, a year, against zero."""
    known = [row for row in differences if row["difference"] is not None][::-1]
    middle = [row["difference"] * 100 for row in known]
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": middle,
        "y": [names[row["id"]] for row in known],
        "marker": {"size": 9},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [row["high"] * 100 - at for row, at in zip(known, middle, strict=True)],
            "arrayminus": [at - row["low"] * 100 for row, at in zip(known, middle, strict=True)],
            "thickness": 1.5,
            "width": 5,
        },
        "hovertemplate": "%{y} %{x:+,.1f}\u2009% a year<extra></extra>",
    }
    shape = layout(scheme) | {
        "margin": {"l": 120, "r": 24, "t": 8, "b": 40},
        "hovermode": "closest",
        "dragmode": False,
        "showlegend": False,
        "xaxis": axis(
            scheme, tickformat="+,.0f", title={"text": "% a year", "font": {"size": 11}}, showspikes=False
        )
        | {"zeroline": True, "zerolinecolor": tokens(scheme)["border"]},
        "yaxis": axis(scheme, type="category", showgrid=False, showspikes=False),
    }
    return {
        "data": [painted(points, scheme, marker_color="accent", error__x_color="accent")],
        "layout": shape,
    }
