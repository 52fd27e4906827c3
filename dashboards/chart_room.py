"""A chart in its room, which is there before it is drawn, and the files it can be had as (45-files.js)."""

from typing import Any

from dash import dcc, html

from dashboards.figures.style import CONFIG

FORMS = (("png", "PNG", "This chart as a picture"), ("csv", "CSV", "What this chart shows, as a table"))


def chart(
    name: str, figure: dict[str, Any], height: str = "100%", config: dict[str, Any] = CONFIG
) -> html.Div:
    """A chart of that id and its files. height: as CSS has it."""
    graph = dcc.Graph(id=name, figure=figure, config=config, responsive=True, style={"height": "100%"})
    return html.Div([graph, chart_files(name)], className="chart-room", style={"height": height})


def chart_files(name: str) -> html.Span:
    """Buttons over a chart, there while it is pointed at or one of them has the focus."""
    buttons = [
        html.Button(
            word, className="button", title=hint, **{"data-chart": name, "data-form": form, "type": "button"}
        )
        for form, word, hint in FORMS
    ]
    return html.Span(buttons, className="chart-files", role="group", **{"aria-label": "Chart as a file"})
