"""Figures of a sweep: two parameters against a metric, all of them at once, and the lines through the best
row. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from dashboards.figures.style import axis, layout, painted
from dashboards.forms import words
from dashboards.theme import Scheme, tokens

Values = Sequence[tuple[Any, float | None]]

ZERO_MATTERS = frozenset(
    ("total_return", "cagr", "sharpe", "sharpe_bar", "sortino", "calmar", "expectancy", "sqn")
)
"""Metrics whose sign is gain or loss: drawn from red over grey to green. The others go from grey to blue."""
_SIGNED = [[0, "down"], [0.5, "raised"], [1, "up"]]
_PLAIN = [[0, "raised"], [1, "accent"]]
_SIGNED_LINES = [[0, "down"], [0.5, "muted"], [1, "up"]]
_PLAIN_LINES = [[0, "muted"], [1, "accent"]]
"""Of lines: what is as dark as the surface is seen as a cell and not as a line."""
FEW = 12
"""Values of a parameter up to which each is a tick."""


def heatmap_figure(
    cells: Sequence[Mapping[str, Any]],
    names: tuple[str, str],
    metric: str,
    best: Mapping[str, Any] | None,
    scheme: Scheme,
) -> dict[str, Any]:
    """cells: `x`, `y`, `value` (queries.sweeps.cells); names: of the two parameters; best: parameters of the
    best row, which is marked."""
    columns = ordered({cell["x"] for cell in cells})
    lines = ordered({cell["y"] for cell in cells})
    known = {(cell["x"], cell["y"]): cell["value"] for cell in cells}
    grid = [[known.get((x, y)) for x in columns] for y in lines]
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": [label(value) for value in columns],
        "y": [label(value) for value in lines],
        "z": grid,
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "colorbar": {"thickness": 10, "outlinewidth": 0, "len": 1, "x": 1.01},
        "hovertemplate": f"{words(names[0])} %{{x}}<br>{words(names[1])} %{{y}}<br>"
        f"{words(metric)} <b>%{{z:,.3~f}}</b><extra></extra>",
    }
    trace |= _limits([value for line in grid for value in line if value is not None], metric, "z")
    traces = [painted(trace, scheme, colorscale=_scale(metric))]
    if best is not None and names[0] in best and names[1] in best:
        traces.append(_mark(best, names, scheme))
    shape = layout(scheme) | {
        "margin": {"l": 58, "r": 12, "t": 10, "b": 44},
        "hovermode": "closest",
        "dragmode": False,
        "showlegend": False,
        "xaxis": axis(scheme, type="category", title=_title(names[0]), showspikes=False, showgrid=False),
        "yaxis": axis(scheme, type="category", title=_title(names[1]), showspikes=False, showgrid=False),
    }
    return {"data": traces, "layout": shape}


def parallel_figure(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], metric: str, scheme: Scheme
) -> dict[str, Any]:
    """rows: `parameters`, `value` (queries.sweeps.sample). A line a row; ranges are chosen by dragging."""
    known = [row for row in rows if row["value"] is not None]
    values = [row["value"] for row in known]
    dimensions = [_dimension(name, [row["parameters"].get(name) for row in known]) for name in names]
    dimensions.append({"label": words(metric), "values": values, "tickformat": ",.2~f"})
    if values:
        dimensions[-1]["range"] = [sorted(values)[int(0.05 * (len(values) - 1))], max(values)]
    line = {"showscale": False} | _limits(values, metric, "c") | {"color": values}
    # The ends of a range would stand upon the ticks that are there.
    hidden = {"rangefont": {"color": "rgba(0,0,0,0)"}}
    trace = {"type": "parcoords", "dimensions": dimensions, "line": line, **hidden}
    scale = _SIGNED_LINES if metric in ZERO_MATTERS else _PLAIN_LINES
    fonts = {f"{name}_color": "muted" for name in ("labelfont", "tickfont")}
    trace = painted(trace, scheme, line_colorscale=scale, **fonts)
    return {"data": [trace], "layout": layout(scheme) | {"margin": {"l": 56, "r": 56, "t": 54, "b": 20}}}


def lines_figure(
    lines: Mapping[str, Values], best: Mapping[str, Any], metric: str, scheme: Scheme
) -> dict[str, Any]:
    """lines: of each parameter, (value, metric) where all others are the best row's. A small chart each, on
    one scale, the best value marked: a plateau is worth more than a peak."""
    names = list(lines)
    traces: list[dict[str, Any]] = []
    shape = layout(scheme) | {
        "margin": {"l": 12, "r": 60, "t": 10, "b": 44},
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,
    }
    width = 1 / max(len(names), 1)
    for number, name in enumerate(names):
        suffix = "" if number == 0 else str(number + 1)
        ordinal = {label(value): found for value, found in lines[name]}
        keys = [label(value) for value in ordered({value for value, _ in lines[name]})]
        curve = {
            "type": "scatter",
            "mode": "lines+markers",
            "x": keys,
            "y": [ordinal[key] for key in keys],
            "xaxis": f"x{suffix}",
            "marker": {
                "size": [11 if key == label(best[name]) else 5 for key in keys],
                "symbol": ["star" if key == label(best[name]) else "circle" for key in keys],
            },
            "line": {"width": 1.5},
            "hovertemplate": f"{words(name)} %{{x}}<br>{words(metric)} %{{y:,.3~f}}<extra></extra>",
        }
        traces.append(painted(curve, scheme, line_color="accent", marker_color="accent"))
        room = 0.02 if number else 0.0
        shape[f"xaxis{suffix}"] = axis(
            scheme,
            type="category",
            domain=[number * width + room, (number + 1) * width],
            title=_title(name),
            showspikes=False,
            nticks=max(3, 16 // len(names)),
        )
    shape["yaxis"] = axis(
        scheme, side="right", tickformat=",.2~f", showspikes=False, anchor="free", position=1
    )
    return {"data": traces, "layout": shape}


def windows_figure(windows: Sequence[Mapping[str, Any]], metric: str, scheme: Scheme) -> dict[str, Any]:
    """windows: of a walk-forward, oldest first. What the chosen did in training, and what it did after."""
    names = [f"{window['test_start']:%b %d %H:%M}" for window in windows]
    bars = [
        painted(
            {
                "type": "bar",
                "name": title,
                "x": names,
                "y": [window[f"{part}_metrics"].get(metric) for window in windows],
                "hovertemplate": f"{title} %{{y:,.3~f}}<extra></extra>",
            },
            scheme,
            marker_color=token,
        )
        for part, title, token in (("train", "Training", "muted"), ("test", "Test", "accent"))
    ]
    shape = layout(scheme) | {
        "barmode": "group",
        "dragmode": False,
        "xaxis": axis(scheme, type="category", title=_title("test begins"), showspikes=False, nticks=10),
        "yaxis": axis(scheme, side="right", tickformat=",.2~f", showspikes=False)
        | {"zeroline": True, "zerolinecolor": tokens(scheme)["border"]},
    }
    return {"data": bars, "layout": shape}


def kept_by_neighbours(
    lines: Mapping[str, Values], best: Mapping[str, Any], is_whole: bool = True
) -> float | None:
    """What the combinations one step beside the best one reach of its metric, on average: 1 is a plateau.

    lines: as in `lines_figure`, with None at each value of the grid that has no row
    is_whole: whether all rows are there: what is not was never walked, and counts as no neighbour
    None where the best is not above zero, has no neighbours, or has one whose row was not kept.
    """
    found: list[float] = []
    top: float | None = None
    for name, line in lines.items():
        known = dict(line)
        values = ordered(set(known))
        if known.get(best[name]) is None:
            continue
        at = values.index(best[name])
        top = known[best[name]]
        beside = [known[values[n]] for n in (at - 1, at + 1) if 0 <= n < len(values)]
        if None in beside and not is_whole:
            return None
        found += [worth for worth in beside if worth is not None]
    if not found or top is None or top <= 0:
        return None
    return sum(found) / len(found) / top


def ordered(values: set[Any]) -> list[Any]:
    """Numbers by size, words by name, what is not set first."""
    return sorted(values, key=lambda value: (value is not None, isinstance(value, str), value or 0))


def label(value: Any) -> str:
    """A value on an axis: 0.1, none."""
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _dimension(name: str, values: list[Any]) -> dict[str, Any]:
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        few = ordered(set(values))
        ticks = {"tickvals": few, "ticktext": [label(value) for value in few]} if len(few) <= FEW else {}
        return {"label": words(name), "values": values, **ticks}
    kinds = ordered(set(values))
    return {
        "label": words(name),
        "values": [kinds.index(value) for value in values],
        "tickvals": list(range(len(kinds))),
        "ticktext": [label(kind) for kind in kinds],
    }


def _mark(best: Mapping[str, Any], names: tuple[str, str], scheme: Scheme) -> dict[str, Any]:
    mark = {
        "type": "scatter",
        "mode": "markers",
        "x": [label(best[names[0]])],
        "y": [label(best[names[1]])],
        "marker": {"symbol": "star", "size": 14, "line": {"width": 1}},
        "hoverinfo": "skip",
    }
    return painted(mark, scheme, marker_color="text", marker_line_color="surface")


def _limits(values: list[float], metric: str, letter: str) -> dict[str, Any]:
    """Ends of the colour scale, without the outermost twentieth; zero is in its middle where the sign
    matters."""
    if not values:
        return {}
    ranked = sorted(values)
    low, high = ranked[int(0.05 * (len(ranked) - 1))], ranked[-1 - int(0.05 * (len(ranked) - 1))]
    if metric in ZERO_MATTERS:
        high = max(abs(low), abs(high)) or 1.0
        low = -high
    return {f"{letter}min": low, f"{letter}max": high}


def _scale(metric: str) -> list[list[Any]]:
    return _SIGNED if metric in ZERO_MATTERS else _PLAIN


def _title(name: str) -> dict[str, Any]:
    return {"text": words(name), "font": {"size": 11}, "standoff": 6}
