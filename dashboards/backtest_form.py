"""The form of a backtest: what it begins with, its fields, and what was entered as a request."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html
from pydantic import BaseModel

from config.files import RiskFile
from core.errors import BadInput
from core.timeframes import Timeframe
from dashboards.components import icon
from dashboards.formatting import strategy as strategy_words
from dashboards.forms import (
    entered,
    in_percent,
    is_optional,
    parameter_fields,
    period_field,
    properties,
    quoted,
)
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.risk import Risk
from strategies import registry

FIELDS = ("strategy", "symbol", "timeframe", "period", "fee", "slippage", "cash")
BLOCKS = ("risk", "execution")
DEFAULT_DAYS = 7
STEP_MS = 300
"""How often a page asks how far its run is."""


def form(symbols: list[str], today: date, preset: dict[str, Any]) -> list[Any]:
    """The form's parts. preset: what it begins with, a bot's configuration or a part of one, or `preset_of` a
    run."""
    names, blocks = registry.names(), preset.get("blocks") or blocks_of(preset)
    said = f"With the exits, limits and orders of {preset.get('bot_id', 'the run')}." if blocks else ""
    asked = preset.get("strategy", "")
    chosen = asked if asked in names else "ema_crossover"
    start, end = preset.get("period", (today - timedelta(days=DEFAULT_DAYS), today))
    return [
        html.Header(html.H2("New backtest")),
        html.Div(
            [
                dmc.Select(
                    id="form-strategy",
                    label="Strategy",
                    data=[{"value": name, "label": strategy_words(name)} for name in names],
                    value=chosen,
                    allowDeselect=False,
                    searchable=True,
                    size="xs",
                ),
                html.P("", id="strategy-about", className="muted small"),
                html.Div(
                    [
                        dmc.Select(
                            id="form-symbol",
                            label="Symbol",
                            data=symbols,
                            value=preset.get("symbol", symbols[0]),
                            allowDeselect=False,
                            size="xs",
                        ),
                        dmc.Select(
                            id="form-timeframe",
                            label="Timeframe",
                            data=list(Timeframe),
                            value=preset.get("timeframe", "1m"),
                            allowDeselect=False,
                            size="xs",
                        ),
                    ],
                    className="pair",
                ),
                period_field("form-period", start, end, "UTC days, both included", max(today, end)),
                html.Div(
                    parameter_fields(registry.find(chosen).model, "parameter", preset.get("parameters")),
                    id="form-parameters",
                    className="fields",
                ),
                html.Div(
                    [
                        dmc.NumberInput(
                            id="form-fee",
                            label="Fee, %",
                            description="Each fill",
                            value=quoted(preset.get("fee", 0.001)),
                            min=0,
                            step=0.01,
                            clampBehavior="none",
                            size="xs",
                        ),
                        dmc.NumberInput(
                            id="form-slippage",
                            label="Slippage, %",
                            description="Each fill",
                            value=quoted(preset.get("slippage", 0)),
                            min=0,
                            step=0.01,
                            clampBehavior="none",
                            size="xs",
                        ),
                    ],
                    className="pair",
                ),
                dmc.NumberInput(
                    id="form-cash",
                    label="Starting cash",
                    description="Quote currency",
                    value=preset.get("virtual_balance", 10000),
                    step=1000,
                    thousandSeparator=",",
                    clampBehavior="none",
                    size="xs",
                ),
                dcc.Store(id="form-blocks", data=blocks),
                html.P(said, className="muted small"),
                html.Div("", id="form-problem", className="problem", role="alert"),
            ],
            className="form-body",
        ),
        html.Footer(
            [
                html.Div(
                    html.Button(
                        [icon("play"), html.Span("Run", id="run-label"), html.Span("", id="run-elapsed")],
                        id="run",
                        className="button primary wide",
                    ),
                    id="run-room",
                ),
                html.Div(
                    html.Div(className="bar", id="run-bar"),
                    id="run-progress",
                    className="progress",
                    hidden=True,
                    role="progressbar",
                    **{"aria-labelledby": "run-step"},
                ),
                html.Div(
                    [
                        html.Span("", id="run-step", className="muted small", role="status"),
                        html.Button([icon("stop"), "Cancel"], id="run-cancel", className="button push-right"),
                    ],
                    id="run-under-way",
                    className="under-way",
                    hidden=True,
                ),
                dcc.Interval(id="run-clock", interval=STEP_MS, disabled=True),
                dcc.Store(id="run-job", storage_type="session"),
                html.Details(
                    [html.Summary("Request as JSON"), html.Pre("", id="form-json")], className="small"
                ),
            ]
        ),
    ]


def preset_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """What the form begins with to repeat a stored backtest, over the same whole days."""
    given = run["parameters"]
    last = run["end_time"] - timedelta(microseconds=1)  # a close at midnight is of the day before
    return {
        "strategy": run["strategy_name"],
        "symbol": run["symbol"],
        "timeframe": run["timeframe"],
        "period": (run["start_time"].date(), last.date()),
        "parameters": {name: value for name, value in given.items() if name not in BLOCKS},
        "blocks": {name: given[name] for name in BLOCKS if name in given},
        "fee": run["fee"],
        "slippage": run["slippage"],
        "virtual_balance": float(run["initial_cash"]),
    }


def blocks_of(preset: dict[str, Any]) -> dict[str, Any]:
    """The `risk` and `execution` blocks of a bot as a backtest takes them; none without a bot."""
    if "risk" not in preset:
        return {}
    blocks = {"risk": Risk.of_bot(RiskFile.model_validate(preset["risk"])).document()}
    return blocks | ({"execution": preset["execution"]} if preset.get("execution") is not None else {})


def read_form(
    values: list[Any],
    names: list[dict[str, str]],
    given: list[Any],
    blocks: dict[str, Any] | None = None,
) -> BacktestRequest:
    """The request that the form describes; BadInput names the field. values: as in FIELDS; blocks: `risk` and
    `execution`, which have no fields."""
    strategy, symbol, timeframe, period, fee, slippage, cash = values
    if not period or not all(period):
        raise BadInput("period", "choose the first and the last day")
    first, last = (datetime.fromisoformat(str(day)[:10]).replace(tzinfo=UTC) for day in period)
    read = read_parameters(registry.find(strategy).model, names, given)
    for name, value in (("fee", fee), ("slippage", slippage), ("cash", cash)):
        if not isinstance(value, int | float):
            raise BadInput(name, "must be a number")
    document = {
        "strategy": strategy,
        "symbol": symbol,
        "timeframe": timeframe,
        "start": first,
        "end": last + timedelta(days=1),
        "parameters": read,
        "fee": round(fee / 100, 8),
        "slippage": round(slippage / 100, 8),
        "cash": cash,
        **(blocks or {}),
    }
    try:
        request = BacktestRequest.read(document)
    except BadInput as error:
        if error.field in {"fee", "slippage"}:
            raise BadInput(error.field, in_percent(error.message)) from None
        raise
    registry.build(request.strategy, request.parameters, request.timeframe)
    return request


def read_parameters(model: type[BaseModel], names: list[dict[str, str]], given: list[Any]) -> dict[str, Any]:
    """A strategy's parameters as their fields have them. An empty field is null where the parameter allows
    that, else BadInput names it."""
    schemas, read = properties(model), dict[str, Any]()
    for name, value in zip((entry["name"] for entry in names), given, strict=True):
        schema = schemas.get(name, {})  # of another strategy while its fields are being replaced
        read[name] = entered(name, schema, value)
        if read[name] is None and not is_optional(schema):
            raise BadInput(name, "must be given")
    return read
