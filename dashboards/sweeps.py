"""A stored sweep as a page shows it: what was best, what that is worth, and how it was found. In a worker
thread."""

from collections.abc import Mapping, Sequence
from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import dcc, html
from sqlalchemy import Engine

from core.metrics import METRICS
from core.statistics.sharpe import Moments, deflated_sharpe
from dashboards.api.documents import MAX_LIMIT
from dashboards.chart_room import chart, chart_files
from dashboards.components import downloads, empty, icon, panel
from dashboards.figures.style import BLANK, CONFIG
from dashboards.figures.sweep import (
    heatmap_figure,
    kept_by_neighbours,
    lines_figure,
    parallel_figure,
    windows_figure,
)
from dashboards.formatting import DASH, measure, percent, strategy, utc
from dashboards.forms import words
from dashboards.grids import COLUMN, grid_options, sweep_columns, window_columns
from dashboards.queries import runs as run_queries
from dashboards.queries import sweeps as queries
from dashboards.rows import epoch_ms
from dashboards.sweep_axes import is_whole, kept_words, steps, with_gaps
from dashboards.theme import Scheme
from pipelines.reports.wording import titled
from pipelines.sweep.request import LOWER_IS_BETTER
from pipelines.validation.trials import Trials
from pipelines.warehouse.trials import read_trials

UNDER_WAY = ("running", "cancelling")
PULSE_MS = 3_000
SAMPLED = 1_500
LISTED = 200
DAYS_A_YEAR = 365
QUIET = CONFIG | {"scrollZoom": False, "displayModeBar": False}


def sweep_view(engine: Engine, sweep_id: str, asked: Mapping[str, str]) -> Any:
    """The frame of one sweep: heading, choices, and rooms for the charts; what of it changes while it runs is
    asked by `pulse`. asked: x, y, metric, market of the address."""
    run = run_queries.run(engine, sweep_id)
    if run is None or run["kind"] != "sweep":
        return html.Div(
            empty("There is no such sweep", f"No sweep has the id {sweep_id}."), className="panel"
        )
    found = queries.markets(engine, sweep_id)
    names = varied(run)
    if not found or not names:
        said = run["error"] or "Its rows come with its first finished chunk."
        nothing = html.Div(empty(f"This sweep is {run['status']}", said), className="panel")
        return html.Div([_heading(run, False), nothing], className="run-result")
    charts = {
        name: dcc.Graph(id=f"sweep-{name}", figure=BLANK, config=QUIET, responsive=True) for name in GRAPHS
    }
    return html.Div(
        [
            _heading(run, True),
            _choices(run, names, found, asked),
            html.Div(id="sweep-cards"),
            html.Div(
                [
                    panel(_room(charts, "heat"), title="Two parameters"),
                    panel(
                        _room(charts, "lines"),
                        title="Around the optimum",
                        tools=html.Span("each parameter alone, the rest as in ★", className="muted small"),
                    ),
                ],
                className="twins",
            ),
            panel(
                _room(charts, "parallel"),
                title="All parameters",
                tools=html.Span("drag along an axis to choose a range", className="muted small"),
            ),
            html.Div(id="sweep-walk"),
            html.Div(id="sweep-rows"),
        ],
        className="run-result",
    )


GRAPHS = ("heat", "lines", "parallel")


def _room(charts: Mapping[str, dcc.Graph], name: str) -> html.Div:
    return html.Div([charts[name], chart_files(f"sweep-{name}")], className="sweep-chart chart-room")


def sweep_parts(
    engine: Engine, sweep_id: str, market: str, x: str, y: str, metric: str, scheme: Scheme
) -> dict[str, Any]:
    """What depends on the choices: `heat`, `lines`, `parallel` (figures), `cards`, `walk`, `rows`."""
    run = run_queries.run(engine, sweep_id)
    assert run is not None
    names, place, descending = varied(run), _market(market), metric not in LOWER_IS_BETTER
    best = queries.optimum(engine, sweep_id, place, metric, descending)
    at = best["parameters"] if best else {}
    kept = queries.kept(engine, sweep_id)
    grid = {name: steps(run, name) for name in names} if best else {}
    lines = {
        name: with_gaps(queries.line(engine, sweep_id, place, at, name, metric), grid[name]) for name in grid
    }
    can_tell = descending and (is_whole(run, kept) or all(grid.values()))
    neighbours = kept_by_neighbours(lines, at, is_whole(run, kept)) if can_tell else None
    said = kept_words(run, kept)
    cells = queries.cells(engine, sweep_id, place, x, y, metric, descending)
    walked = queries.walk_forward(engine, run["strategy_name"], place, run["exchange"])
    trials = Trials(
        *read_trials(
            engine, run["strategy_name"], *place, run["parameters"].get("fixed", {}) | at, run["exchange"]
        )
    )
    return {
        "heat": heatmap_figure(cells, (x, y), metric, at or None, scheme),
        "lines": lines_figure(lines, at, metric, scheme),
        "parallel": parallel_figure(
            queries.sample(engine, sweep_id, place, metric, SAMPLED), names, metric, scheme
        ),
        "cards": [
            cards(run, best, metric, trials, neighbours),
            html.P(said, className="muted small", hidden=not said),
        ],
        "walk": _walk(walked, metric, scheme),
        "rows": _rows(queries.rows(engine, sweep_id, place, LISTED), names, sweep_id),
    }


def varied(run: Mapping[str, Any]) -> list[str]:
    """Names of what varies in a sweep, as its rows have them."""
    return list(run["parameters"].get("grid", {}))


def deflated(sharpe: float | None, days: float, trials: Trials) -> float | None:
    """Probability that the best row's true Sharpe ratio is above zero after so many trials.

    sharpe: annual, of daily returns. A row keeps no returns: they count as normal (skewness 0, kurtosis 3).
    None for fewer than 3 days.
    """
    observations = int(days)
    if sharpe is None or observations < 3:
        return None
    measured = Moments(sharpe / DAYS_A_YEAR**0.5, 0.0, 3.0, observations)
    return deflated_sharpe(measured, trials.count, trials.deviation_per_period(DAYS_A_YEAR, observations))


def cards(
    run: Mapping[str, Any],
    best: Mapping[str, Any] | None,
    metric: str,
    trials: Trials,
    neighbours: float | None,
) -> html.Div:
    """The best row and what it is worth, in six numbers."""
    metrics = best["metrics"] if best else {}
    days = (run["end_time"] - run["start_time"]).total_seconds() / 86_400
    worth = deflated(metrics.get("sharpe"), days, trials)
    said = run["parameters"]
    combinations = said.get("combinations")
    failed = said.get("failed") or 0
    pairs = [
        (f"Best {titled(metric)}", measure(metric, metrics.get(metric)), "Of this market's rows"),
        ("Its return", measure("total_return", metrics.get("total_return")), "Fees deducted"),
        (
            "Its max drawdown",
            measure("max_drawdown", metrics.get("max_drawdown")),
            "Deepest fall from a peak",
        ),
        (
            "Neighbours keep",
            percent(None if neighbours is None else max(neighbours, 0.0), 0, False),
            "Mean of the combinations one step beside the best, as a share of it: near 100 % is a plateau, "
            "far below it a lucky peak. A dash: the best is not above zero, or one beside it was not kept",
        ),
        (
            "Deflated Sharpe",
            percent(worth, 0, False),
            f"Probability that the best is better than luck after {trials.count:,} trials on this market; "
            "returns taken as normal. A dash: fewer than three days",
        ),
        (
            "Combinations",
            DASH if combinations is None else f"{combinations:,}",
            f"{failed:,} failed, {said.get('skipped') or 0:,} ruled out by the strategy",
        ),
    ]
    return html.Div(
        [
            html.Div(
                [html.Span(name, className="muted small"), html.B(text, className="numeric")],
                className="card",
                title=hint,
            )
            for name, text, hint in pairs
        ],
        className="cards six",
    )


def sweep_item(run: Mapping[str, Any], selected: bool) -> Any:
    """A sweep in the list on the left."""
    found = run["metrics"] or {}
    sort = found.get("sort", "sharpe")
    best = (found.get("best") or {}).get(sort)
    said = f"{titled(sort)} {measure(sort, best)}" if best is not None else run["status"]
    markets = run["symbol"] if len(run["symbol"]) < 22 else f"{run['symbol'].count(',') + 1} markets"
    return dcc.Link(
        [
            html.Span([html.B(strategy(run["strategy_name"])), html.Span(said, className="numeric")]),
            html.Span(
                [
                    html.Span(f"{markets} · {run['timeframe']}", title=run["symbol"]),
                    html.Time("", className="ago", **{"data-ms": str(epoch_ms(run["created_at"]))}),
                ],
                className="muted small",
            ),
        ],
        href=f"/sweeps?sweep={run['id']}",
        className="list-item" + (" selected" if selected else ""),
    )


def pulse(engine: Engine, sweep_id: str) -> tuple[str, str]:
    """(what a page was drawn from, which is drawn anew when it changes; how far the sweep is in words)"""
    found = queries.progress(engine, sweep_id)
    if found is None:
        return "", ""
    status, rows = found
    return f"{status} {rows > 0}", f"{status.capitalize()}, {rows:,} rows so far"


def _heading(run: Mapping[str, Any], has_rows: bool) -> html.Div:
    under_way = run["status"] in UNDER_WAY
    return html.Div(
        [
            html.H2(strategy(run["strategy_name"])),
            html.Span(f"{run['symbol']} · {run['timeframe']}", className="badge"),
            html.Span(
                f"{utc(run['start_time'])[:16]} – {utc(run['end_time'])[:16]} UTC", className="muted numeric"
            ),
            html.Span(
                run["status"].capitalize(),
                id="sweep-progress",
                className="warn-text",
                role="status",
                hidden=run["status"] == "done",
            ),
            html.Span(run["error"] or "", className="muted", hidden=not run["error"]),
            html.Button(
                [icon("play"), "Promote the best to a bot"],
                id="promote-best",
                className="button primary push-right",
                hidden=not has_rows,
            ),
            *(_following(run, has_rows) if under_way else ()),
        ],
        className="run-heading",
    )


def _following(run: Mapping[str, Any], has_rows: bool) -> list[Any]:
    """Of a sweep that is being walked: the way to end it, and what keeps its page true."""
    return [
        html.Button(
            [icon("stop"), "Cancel"],
            id="sweep-cancel",
            className="button",
            disabled=run["status"] == "cancelling",
            title="It ends with its chunk, keeps its rows, and can go on with tcp sweep --resume",
        ),
        dcc.Store(id="sweep-mark", data=f"{run['status']} {has_rows}"),
        dcc.Interval(id="sweep-pulse", interval=PULSE_MS),
    ]


def _choices(
    run: Mapping[str, Any], names: list[str], markets: list[queries.Market], asked: Mapping[str, str]
) -> html.Div:
    sort = (run["metrics"] or {}).get("sort", "sharpe")
    places = [" ".join(place) for place in markets]
    chosen = {
        "market": (places, places[0]),
        "x": (names, names[0]),
        "y": (names, names[min(1, len(names) - 1)]),
        "metric": (list(METRICS), sort),
    }
    labels = {"market": "Market", "x": "Across", "y": "Up", "metric": "Metric"}
    fields = []
    for field, (data, default) in chosen.items():
        wanted = asked.get(field)
        fields.append(
            dmc.Select(
                id=f"sweep-{field}",
                label=labels[field],
                data=[{"value": name, "label": _worded(field, name)} for name in data],
                value=wanted if wanted in data else default,
                allowDeselect=False,
                searchable=field == "metric",
                size="xs",
            )
        )
    return html.Div(fields, className="choices")


def _worded(field: str, name: str) -> str:
    if field == "market":
        return name.replace(" ", " · ")
    return titled(name) if field == "metric" else words(name)


def _market(text: str) -> queries.Market:
    symbol, _, timeframe = text.partition(" ")
    return symbol, timeframe


def _walk(walked: Mapping[str, Any] | None, metric: str, scheme: Scheme) -> Any:
    """The newest walk-forward of the same strategy and market, or how one is made."""
    if walked is None:
        text = (
            "Does the optimum hold on what follows it? tcp sweep … --walk-forward rolling:train=60d,test=14d "
            "trains and tests in turns."
        )
        return panel(empty("No walk-forward of this strategy and market yet", text), title="Walk-forward")
    found = walked["parameters"].get("walk_forward", {})
    chance = found.get("overfitting")
    said = [f"{len(walked['windows'])} windows"]
    if found.get("efficiency") is not None:
        said.append(f"efficiency {percent(found['efficiency'], 0, False)}")
    if chance is not None:
        said.append(f"best no better than the middle in {percent(chance, 0, False)} of tests")
    graph = chart("walk-chart", windows_figure(walked["windows"], metric, scheme), "240px", QUIET)
    table = dag.AgGrid(
        id="walk-windows",
        columnDefs=window_columns(),
        rowData=[window_row(window) for window in walked["windows"]],
        getRowId="params.data.id",
        defaultColDef=COLUMN,
        dashGridOptions=grid_options("No window"),
        className="grid",
        style={"height": "240px"},
    )
    return panel(
        html.Div([graph, table], className="twins flush"),
        title="Walk-forward",
        tools=[
            html.Span(" · ".join(said), className="muted small"),
            downloads(f"/api/walk-forwards/{walked['id']}", limit=MAX_LIMIT),
        ],
    )


def window_row(window: Mapping[str, Any]) -> dict[str, Any]:
    """A window of a walk-forward in the table."""
    train, test = window["train_metrics"], window["test_metrics"]
    return {
        "id": str(window["n"]),
        "test": epoch_ms(window["test_start"]),
        "parameters": _values(window["parameters"]),
        "train_sharpe": train.get("sharpe_bar"),
        "test_sharpe": test.get("sharpe_bar"),
        "test_return": test.get("total_return"),
        "rank": window["test_rank"],
    }


def _rows(rows: Sequence[Mapping[str, Any]], names: list[str], sweep_id: str) -> Any:
    data = [
        {"id": str(row["n"]), "n": row["n"] + 1, "promote": "Promote", **row["metrics"]}
        | {f"p_{name}": row["parameters"].get(name) for name in names}
        for row in rows
    ]
    table = dag.AgGrid(
        id="sweep-table",
        columnDefs=sweep_columns(names),
        rowData=data,
        getRowId="params.data.id",
        defaultColDef=COLUMN,
        dashGridOptions=grid_options("No combination was walked on this market"),
        className="grid",
        style={"height": "320px"},
    )
    files = downloads(f"/api/sweeps/{sweep_id}", limit=MAX_LIMIT)
    return panel(table, title=f"Best {len(data):,} combinations", tools=files)


def _values(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in parameters.items())
