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


def layout(scheme: Scheme) -> dict[str, Any]:
    """The part of a layout that is the same on all charts."""
    colour = tokens(scheme)
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": colour["font"], "size": 12, "color": colour["muted"]},
        "margin": {"l": 12, "r": 76, "t": 8, "b": 38},
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
