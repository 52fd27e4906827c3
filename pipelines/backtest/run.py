"""One backtest from request to result, saved if there is a database to save it in."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import polars as pl

from pipelines.backtest.candles import stretch
from pipelines.backtest.checks import DataReport
from pipelines.backtest.engine import run
from pipelines.backtest.intrabar import path_of
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.result import BacktestResult, saved_parameters
from pipelines.backtest.risk import Risk
from strategies.ahead import refuse_look_ahead
from strategies.registry import build
from strategies.sizes import sizes_of

STEPS = READ, CHECK, TRADE, STORE = (
    "reading candles",
    "looking for look-ahead",
    "trading",
    "storing the result",
)


def execute(
    request: BacktestRequest,
    database_url: str | None = None,
    candles: pl.DataFrame | None = None,
    save: bool = True,
    data: DataReport | None = None,
    validate: bool = False,
    trials: int | None = None,
    path: pl.DataFrame | None = None,
    on_step: Callable[[str], None] = lambda _step: None,
) -> BacktestResult:
    """Run it.

    candles: a candle frame; None reads the database. save: keep run, signals, trades and equity in the
    database, in one transaction; without a database nothing is kept. data: what was mended when the candles
    were read. path: bars inside the candles, if they are handed in (see `pipelines.backtest.intrabar`).
    validate: say how far the result can be believed; trials: variants tried, for its deflated Sharpe ratio
    (none: as counted in the database). on_step: told each of STEPS as it begins; how long one takes is not
    known before, so there is no share of the whole. BadInput names a wrong strategy, parameter or stretch,
    and a strategy that is seen to look ahead.
    """
    strategy = build(request.strategy, request.parameters, request.timeframe)
    sized = Risk.sized(request.risk, strategy)
    sizes = {} if sized == request.risk else sizes_of(strategy)
    request = request.model_copy(update={"risk": sized})
    history = request.risk.history if request.risk else 0
    on_step(READ)
    piece = stretch(request, max(strategy.window, history), strategy.warmup, database_url, candles)
    on_step(CHECK)
    refuse_look_ahead(strategy, piece.candles)
    on_step(TRADE)
    inside = path_of(request, piece, database_url, path)
    outcome = run(strategy, piece.candles, request, piece.warm, inside, piece.volumes)
    first = piece.candles["timestamp"][piece.warm]
    result = BacktestResult(
        id=uuid4().hex[:12],
        request=request.model_copy(update={"strategy": strategy.name}),
        parameters=strategy.parameters.model_dump(exclude_none=True),
        start=first - timedelta(milliseconds=request.candle_ms),
        end=piece.candles["timestamp"][-1],
        candles=piece.judged,
        warmup_candles=piece.warm,
        data=data or piece.data,
        outcome=outcome,
        sizes=sizes,
    )
    if validate:
        from pipelines.validation.caveats import caveats
        from pipelines.validation.trials import trials_of
        from pipelines.validation.validate import validate as validated

        family = (strategy.name, request.symbol, request.timeframe)
        tried = trials_of(trials, database_url, family, saved_parameters(result), request.exchange)
        judged = validated(strategy, piece, request, outcome, tried, inside)
        result = replace(result, validation=judged)
        result = replace(result, validation=judged | {"warnings": caveats(result.to_document())})
    if save and database_url is not None:
        on_step(STORE)
        from pipelines.backtest.store import save_run

        save_run(database_url, result)
    return result
