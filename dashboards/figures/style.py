"""What every chart shares: fonts, grid, crosshair, colours of a scheme. Plain dicts."""

from typing import Any

from dashboards.theme import Scheme, tokens

CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "scrollZoom": True,
    "responsive": True,
    "doubleClick": "reset",
    "showTips": False,
    "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
    "toImageButtonOptions": {"format": "png", "scale": 2},
}

BLANK: dict[str, Any] = {
    "data": [],
    "layout": {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": {"visible": False},
        "yaxis": {"visible": False},
    },
}
"""What stands in a chart's room until it is drawn: by itself Plotly would draw white paper and axes."""


def layout(scheme: Scheme) -> dict[str, Any]:
    """The part of a layout that is the same on all charts."""
    colour = tokens(scheme)
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": colour["font"], "size": 12, "color": colour["muted"]},
        "margin": {"l": 12, "r": 76, "t": 30, "b": 38},
        "hovermode": "x unified",
        "hoverlabel": {
            "bgcolor": colour["raised"],
            "bordercolor": colour["border"],
            "font": {"family": colour["font"], "size": 12, "color": colour["text"]},
        },
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "bgcolor": "rgba(0,0,0,0)",
            "font": {"color": colour["muted"]},
        },
        "dragmode": "pan",
        "modebar": {
            "bgcolor": "rgba(0,0,0,0)",
            "color": colour["muted"],
            "activecolor": colour["accent"],
            "orientation": "h",
        },
        "bargap": 0.25,
    }


def painted(trace: dict[str, Any], scheme: Scheme, **paths: Any) -> dict[str, Any]:
    """The trace with colours of the scheme: {attribute path: token}, such as line_color="accent" (a
    double underscore is one of the attribute itself: error__x_color). The browser
    paints them anew when the theme changes (assets/20-shell.js reads `meta.paint`)."""
    colour = tokens(scheme)
    paint = {
        name.replace("__", "\0").replace("_", ".").replace("\0", "_"): token for name, token in paths.items()
    }
    found = {**trace, "meta": {**trace.get("meta", {}), "paint": paint}}
    for path, token in paint.items():
        target = found
        *parents, last = path.split(".")
        for name in parents:
            target[name] = dict(target.get(name, {}))
            target = target[name]
        target[last] = _resolved(token, colour)
    return found


def _resolved(token: Any, colour: dict[str, str]) -> Any:
    """Names of tokens replaced by their values, in scales too."""
    if isinstance(token, list):
        return [_resolved(part, colour) for part in token]
    return colour[token] if isinstance(token, str) else token


def axis(scheme: Scheme, **changes: Any) -> dict[str, Any]:
    """An axis with quiet grid lines and a crosshair line."""
    colour = tokens(scheme)
    return {
        "gridcolor": colour["grid"],
        "linecolor": colour["border"],
        "zeroline": False,
        "showspikes": True,
        "spikemode": "across",
        "spikesnap": "cursor",
        "spikethickness": 1,
        "spikedash": "dot",
        "spikecolor": colour["muted"],
        **changes,
    }
