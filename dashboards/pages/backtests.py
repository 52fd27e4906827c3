"""The backtest page: a form on the left, the result on the right, earlier runs below it."""

import json
from typing import Any

import dash_ag_grid as dag
from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update
from sqlalchemy.exc import SQLAlchemyError

from core.errors import BadInput, TcpError, Unavailable
from dashboards import results
from dashboards.api.documents import MAX_LIMIT
from dashboards.backtest_form import FIELDS, form, preset_of, read_form
from dashboards.backtests import Standing, progress, standing, start
from dashboards.callbacks import in_browser, on
from dashboards.cancelling import cancel_backtest
from dashboards.components import downloads, empty, failure, toast
from dashboards.failures import told
from dashboards.forms import parameter_fields
from dashboards.grids import COLUMN, RUN_COLUMNS, grid_options
from dashboards.navigation import parameters
from dashboards.pages.page import Page
from dashboards.queries import bots as bot_queries
from dashboards.queries import market as market_queries
from dashboards.queries import runs as queries
from dashboards.run_trades import trades_between
from dashboards.services import Services
from pipelines.warehouse.run_notes import write_note
from strategies import registry

RUNS_MS = 10_000
FRESH_S = 2.0


async def layout(services: Services, query: dict[str, str]) -> Any:
    """Form, result and history; ?run=ID shows that run."""
    symbols = await services.query(market_queries.symbols) or list(services.settings.symbol_list)
    runs = [results.run_row(row) for row in await services.query(queries.runs)]
    today = services.hub.exchange_now().date()
    preset = await _preset(services, query)
    return html.Div(
        [
            html.Aside(
                form(symbols, today, preset), className="panel form", **{"aria-label": "New backtest"}
            ),
            html.Div(
                [
                    html.Div(_waiting_face(bool(query.get("run"))), id="run-view", className="run-view"),
                    html.Section(
                        [
                            html.Header(
                                [
                                    html.H2("Earlier runs"),
                                    html.Div(
                                        downloads("/api/backtest/results", limit=MAX_LIMIT), className="tools"
                                    ),
                                ]
                            ),
                            dag.AgGrid(
                                id="runs",
                                columnDefs=RUN_COLUMNS,
                                rowData=runs,
                                getRowId="params.data.id",
                                defaultColDef=COLUMN,
                                dashGridOptions=grid_options("No backtest was run yet"),
                                className="grid",
                                style={"height": "260px"},
                            ),
                        ],
                        className="panel",
                    ),
                ],
                className="run-column",
            ),
            dcc.Store(id="run-done"),
            dcc.Interval(id="runs-clock", interval=RUNS_MS),
        ],
        className="backtests",
    )


async def _preset(services: Services, query: dict[str, str]) -> dict[str, Any]:
    """What the form begins with: the settings of ?bot=, of the run of ?run=, else the strategy of
    ?strategy=."""
    row = await services.query(bot_queries.bot, query["bot"]) if query.get("bot") else None
    if row is not None:
        return dict(row["config"])
    run = await services.query(queries.run, query["run"]) if query.get("run") else None
    if run is not None and results.is_repeatable(run):
        return preset_of(run)
    return {"strategy": query.get("strategy", "")}


def _waiting_face(expected: bool) -> Any:
    if expected:
        return html.Div(className="skeleton run-skeleton")
    return html.Div(
        empty(
            "No run is open",
            "Choose a strategy and a period, then press Run. Earlier runs open from the list below.",
        ),
        className="panel",
    )


def register(dash: Dash, services: Services) -> None:
    """Form, run and result."""
    _register_form(dash)
    _register_run(dash, services)
    _register_view(dash, services)
    _register_trades(dash, services)
    _register_note(dash, services)


def _register_form(dash: Dash) -> None:
    @on(
        dash,
        Output("form-parameters", "children"),
        Output("strategy-about", "children"),
        Input("form-strategy", "value"),
        State({"type": "parameter", "name": ALL}, "id"),
    )
    async def choose(name: str, shown: list[dict[str, str]]) -> Any:
        found = registry.find(name)
        about = (found.__doc__ or "").strip().split("\n\n")[0]
        if ctx.triggered_id is None:
            return no_update, about
        return parameter_fields(found.model, "parameter"), about

    @on(
        dash,
        Output({"type": "parameter", "name": ALL}, "error"),
        *(Output(f"form-{name}", "error") for name in FIELDS),
        Output("form-problem", "children"),
        Output("form-json", "children"),
        *(Input(f"form-{name}", "value") for name in FIELDS),
        Input({"type": "parameter", "name": ALL}, "value"),
        State({"type": "parameter", "name": ALL}, "id"),
        State("form-blocks", "data"),
    )
    async def check(*arguments: Any) -> Any:
        *values, given, names, blocks = arguments
        try:
            request = read_form(values, names, given, blocks)
        except BadInput as error:
            return (*_errors(error, names), "")
        document = request.model_dump(mode="json", exclude_none=True)
        return ([None] * len(names), *([None] * len(FIELDS)), "", json.dumps(document, indent=2))


def _errors(error: BadInput, names: list[dict[str, str]]) -> tuple[Any, ...]:
    """The message beside the field it is about, or below the form when it is about none of them."""
    field = {"start": "period", "end": "period", "candles": "period"}.get(error.field, error.field)
    inside = [error.message if name["name"] == field else None for name in names]
    fields = [error.message if name == field else None for name in FIELDS]
    known = any(inside) or any(fields)
    return (inside, *fields, "" if known else str(error))


def _register_run(dash: Dash, services: Services) -> None:
    @on(
        dash,
        Output("run-job", "data"),
        Output("form-problem", "children", allow_duplicate=True),
        Output("run-step", "children", allow_duplicate=True),
        Output("run-bar", "style", allow_duplicate=True),
        Input("run", "n_clicks"),
        *(State(f"form-{name}", "value") for name in FIELDS),
        State({"type": "parameter", "name": ALL}, "value"),
        State({"type": "parameter", "name": ALL}, "id"),
        State("form-blocks", "data"),
        running=[(Output("run-room", "className"), "asked", "")],
        prevent_initial_call=True,
    )
    async def run(clicks: int | None, *arguments: Any) -> Any:
        *values, given, names, blocks = arguments
        if not clicks:  # the button has just appeared: an output outside the page makes Dash ask
            return no_update, no_update, no_update, no_update
        try:
            request = read_form(values, names, given, blocks)
            begun = await start(services, request, lambda result: result.id)
        except (TcpError, SQLAlchemyError) as error:
            return no_update, told(error), no_update, no_update
        return begun.id, "", "", {}

    @on(
        dash,
        Output("run-job", "data", allow_duplicate=True),
        Output("run-done", "data"),
        Output("form-problem", "children", allow_duplicate=True),
        Output("run-step", "children"),
        Output("run-bar", "style"),
        Output("toasts", "children", allow_duplicate=True),
        Input("run-clock", "n_intervals"),
        State("run-job", "data"),
        prevent_initial_call=True,
    )
    async def follow(_turn: int | None, job: str | None) -> Any:
        if not job:
            return (no_update,) * 6
        try:
            found = await _standing(services, job)
        except Unavailable as error:
            return no_update, no_update, no_update, told(error), no_update, no_update
        if found is None:
            forgotten = "The dashboard was started again meanwhile: what became of the run is in the list."
            return None, no_update, forgotten, "", {}, no_update
        if found.state == "cancelled":
            return None, no_update, "", "", {}, toast("The run was cancelled.")
        if found.failure is not None:
            return None, no_update, told(found.failure), "", {}, no_update
        if found.state == "done":
            return None, found.result, "", "", {}, no_update
        words, share = progress(found)
        return no_update, no_update, no_update, _step(found, words), _bar(share), no_update

    @on(
        dash,
        Output("toasts", "children", allow_duplicate=True),
        Input("run-cancel", "n_clicks"),
        State("run-job", "data"),
        prevent_initial_call=True,
    )
    async def cancel(clicks: int | None, job: str | None) -> Any:
        if not clicks or not job:
            return no_update
        try:
            await cancel_backtest(services, job, "on the Backtests page")
        except (TcpError, SQLAlchemyError) as error:
            return toast(told(error), failed=True)
        return no_update

    in_browser(
        dash,
        "tcpRuns.follow",
        Output("run", "disabled"),
        Output("run-label", "children"),
        Output("run-progress", "hidden"),
        Output("run-under-way", "hidden"),
        Output("run-clock", "disabled"),
        Input("run-job", "data"),
    )

    @on(
        dash,
        Output("runs", "rowData"),
        Input("runs-clock", "n_intervals"),
        Input("run-done", "data"),
        prevent_initial_call=True,
    )
    async def refresh(_turn: int | None, done: str | None) -> Any:
        if done and ctx.triggered_id == "run-done":
            services.wrote()
        try:
            rows = await services.share(FRESH_S, "", queries.runs)
            return [results.run_row(row) for row in rows]
        except SQLAlchemyError:
            return no_update  # what is listed stays; the top bar says that the database is away

    in_browser(
        dash,
        "tcpRuns.open",
        Output("url", "search", allow_duplicate=True),
        Input("run-done", "data"),
        initial=False,
    )
    in_browser(
        dash,
        "tcpRuns.select",
        Output("url", "search", allow_duplicate=True),
        Input("runs", "cellClicked"),
        initial=False,
    )


async def _standing(services: Services, job: str) -> Standing | None:
    """How far a run is; of Dagster's it is asked less often than the page asks."""
    if services.jobs.get(job) is not None:
        return await standing(services, job)
    return await services.shared.get(("standing", job), FRESH_S, lambda: standing(services, job))


def _step(run: Standing, words: str) -> Any:
    """The words, with the way to Dagster's page of the run if it is one of its own."""
    if run.address is None:
        return words
    return html.Span([words, " ", html.A("see it there", href=run.address, target="_blank", rel="noopener")])


def _bar(share: float) -> dict[str, str]:
    return {"width": f"{share:.0%}", "animation": "none"} if share else {}


def _register_view(dash: Dash, services: Services) -> None:
    @on(
        dash,
        Output("run-view", "children"),
        Input("url", "search"),
        State("url", "pathname"),
        State("scheme", "data"),
    )
    async def view(search: str | None, pathname: str, scheme: str | None) -> Any:
        run_id = parameters(search).get("run")
        if pathname.rstrip("/") != PAGE.path:
            return no_update
        if not run_id:
            return _waiting_face(False)
        try:
            return await services.query(results.result_view, run_id, "light" if scheme == "light" else "dark")
        except SQLAlchemyError as error:
            return failure("The result cannot be read", error)


def _register_trades(dash: Dash, services: Services) -> None:
    @on(
        dash,
        Output("run-trades", "getRowsResponse"),
        Input("run-trades", "getRowsRequest"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    async def between(request: dict[str, Any] | None, search: str | None) -> Any:
        run_id = parameters(search).get("run")
        if request is None or not run_id:
            return no_update
        return await services.query(trades_between, run_id, request)


def _register_note(dash: Dash, services: Services) -> None:
    @on(
        dash,
        Output("run-note", "error"),
        Output("runs", "rowData", allow_duplicate=True),
        Input("run-note", "value"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    async def keep(text: str | None, search: str | None) -> Any:
        run_id = parameters(search).get("run", "")
        try:
            stored = await services.query(queries.run, run_id)
            if stored is None or (stored["note"] or "") == (text or "").strip():  # it has just been drawn
                return None, no_update
            await services.query(write_note, run_id, text or "")
        except BadInput as error:
            return error.message, no_update
        except SQLAlchemyError:
            return "The database does not answer: the note is not kept.", no_update
        services.wrote()
        return None, [results.run_row(row) for row in await services.query(queries.runs)]


PAGE = Page("/backtests", "Backtests", "backtest", layout, register)
