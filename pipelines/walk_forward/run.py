"""A walk-forward from request to result: train, take the best, test it on what follows, go on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import polars as pl

from core.errors import BadInput
from core.metrics import METRICS
from pipelines.backtest.candles import Stretch, stretch
from pipelines.backtest.checks import DataReport
from pipelines.backtest.engine import Outcome, run
from pipelines.backtest.intrabar import path_of
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.result import BacktestResult
from pipelines.backtest.risk import Risk
from pipelines.sweep.axes import declared
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.space import Space
from pipelines.validation.caveats import caveats
from pipelines.validation.costs import bearable, cost_row, dearer
from pipelines.validation.trials import Trials
from pipelines.validation.validate import describe
from pipelines.walk_forward.result import Walked, WalkForwardResult
from pipelines.walk_forward.stability import efficiency, overfitting, rank, stability
from pipelines.walk_forward.stitch import liquidated, stitched
from pipelines.walk_forward.train import SCORE, TRAINED, applied, scores
from pipelines.walk_forward.windows import OPTION, Span, WalkForward, Window, plan
from strategies.registry import build, find

Progress = Callable[[int, int], None]
Parts = list[tuple[Outcome, BacktestRequest]]


@dataclass(frozen=True)
class Choice:
    """What a window's training chose: its parameters, their score and metrics there (on its longest stretch),
    their return on all its stretches, and how many of all combinations did worse in the test."""

    window: Window
    values: dict[str, Any]
    score: float | None
    train: dict[str, float | int | None]
    trained_return: float | None
    test_rank: float | None
    combinations: int


def execute_walk_forward(
    request: SweepRequest,
    walk: WalkForward,
    database_url: str | None = None,
    candles: pl.DataFrame | None = None,
    data: DataReport | None = None,
    on_progress: Progress | None = None,
    path: pl.DataFrame | None = None,
) -> WalkForwardResult:
    """Walk one market forward; each test begins with the cash that the one before left.

    candles: a candle frame; None reads the database, where the result is then kept. data: what was mended
    when they were read. on_progress(done, of): windows. path: bars inside the candles, where execution
    options want them. BadInput when no window fits, or in the first one no combination has a score.
    """
    _refuse(request, walk)
    longest, warmup = Space(request).reach(request.timeframe)
    whole = stretch(request, longest, warmup, database_url, candles)
    whole = replace(whole, path=path_of(request, whole, database_url, path))
    length = timedelta(milliseconds=request.candle_ms)
    span = Span(whole.candles["timestamp"][whole.warm] - length, whole.candles["timestamp"][-1])
    windows = plan(walk, span, length)
    choices: list[Choice] = []
    for window in windows:
        choices.append(choose(request, window, whole, choices))
        if on_progress:
            on_progress(len(choices), len(windows))
    result = _result(request, walk, choices, whole, data or whole.data, _walked_before(request, database_url))
    if database_url is not None:
        from pipelines.walk_forward.store import save_walk_forward

        save_walk_forward(database_url, request, result)
    return result


def choose(request: SweepRequest, window: Window, whole: Stretch, before: Sequence[Choice]) -> Choice:
    """Train a window. Where no combination has a score (nothing was traded), what was chosen before stays."""
    table = scores(request, window.train, whole)
    names = Space(request).names
    best = table.row(0, named=True)
    if best[SCORE] is None:
        if not before:
            span = f"{window.train[0].start.isoformat()} to {window.train[-1].end.isoformat()}"
            remedy = best["error"] or "train longer, or --sort total_return"
            raise BadInput(OPTION, f"no combination has a {request.sort} in the training {span}: {remedy}")
        kept = table.filter(pl.all_horizontal(pl.col(n).eq_missing(before[-1].values[n]) for n in names))
        best = kept.row(0, named=True) if kept.height else best
    values = {name: best[name] for name in names}
    return Choice(
        window=window,
        values=values,
        score=best[SCORE],
        train={name: best[name] for name in METRICS},
        trained_return=best[TRAINED],
        test_rank=_rank(request, window, whole, values),
        combinations=table.height,
    )


def tested(choices: Sequence[Choice], whole: Stretch, request: SweepRequest, costs: float) -> Parts:
    """The test of every window with its choice, at so many times the costs, one account through all of them.

    Candles before a test only warm the indicators up; a position is sold at its end.
    """
    parts: Parts = []
    cash = request.cash
    for choice in choices:
        span = choice.window.test
        market = dearer(applied(request, choice.values), costs).model_copy(
            update={"start": span.start, "end": span.end, "cash": cash}
        )
        strategy = build(market.strategy, market.parameters, market.timeframe)
        sized = Risk.sized(market.risk, strategy)
        reach = max(strategy.window, sized.history if sized else 0)
        piece = stretch(market, reach, strategy.warmup, None, whole.candles)
        walked = run(strategy, piece.candles, market, piece.warm, whole.path, whole.volumes)
        outcome = liquidated(walked, market)
        parts.append((outcome, market))
        cash = outcome.final_value
    return parts


def _refuse(request: SweepRequest, walk: WalkForward) -> None:
    if "," in request.symbol or "," in request.timeframe:
        raise BadInput(OPTION, "walks one symbol and one timeframe at a time")
    if walk.mode == "purged" and request.search == "optuna":
        raise BadInput(
            OPTION, "purged trains on two stretches, which optuna would search apart: use grid or random"
        )


def _rank(request: SweepRequest, window: Window, whole: Stretch, values: dict[str, Any]) -> float | None:
    if request.search == "optuna":  # other combinations in the test than in the training
        return None
    table = scores(request, (window.test,), whole)
    own = table.filter(pl.all_horizontal(pl.col(n).eq_missing(value) for n, value in values.items()))
    return rank(own[SCORE][0], table[SCORE].to_list(), request.descending) if own.height else None


def _result(
    request: SweepRequest,
    walk: WalkForward,
    choices: Sequence[Choice],
    whole: Stretch,
    data: DataReport,
    trials: Trials | None,
) -> WalkForwardResult:
    multiples = bearable((applied(request, choice.values) for choice in choices), whole.candles)
    at_costs = {multiple: tested(choices, whole, request, multiple) for multiple in multiples}
    parts, market = at_costs[1.0], applied(request, {})
    costs = [cost_row(m, market, stitched(done, market).metrics) for m, done in at_costs.items()]
    record = _record(request, choices, stitched(parts, market), data, trials, costs)
    spans = [span for choice in choices for span in choice.window.train]
    trained, walked = _length_ms(spans), _length_ms([choice.window.test for choice in choices])
    tests = [part.metrics for part, _ in parts]
    return WalkForwardResult(
        walk=walk,
        sort=request.sort,
        windows=tuple(
            Walked(c.window, c.values, c.score, c.train, test, c.test_rank)
            for c, test in zip(choices, tests, strict=True)
        ),
        record=record,
        combinations=max(choice.combinations for choice in choices),
        efficiency=efficiency(
            [choice.trained_return for choice in choices],
            [test["total_return"] for test in tests],
            trained,
            walked,
        ),
        stability=stability([choice.values for choice in choices]),
        overfitting=overfitting([choice.test_rank for choice in choices]),
    )


def _record(
    request: SweepRequest,
    choices: Sequence[Choice],
    outcome: Outcome,
    data: DataReport,
    trials: Trials | None,
    costs: list[dict[str, Any]],
) -> BacktestResult:
    """The tests as one backtest, whose parameters are what they were chosen from."""
    market = applied(request, {})
    grid = {name: str(values) for name, values in (request.grid or declared(find(request.strategy))).items()}
    record = BacktestResult(
        id=uuid4().hex[:12],
        request=market,
        parameters=grid | request.parameters,
        start=choices[0].window.test.start,
        end=choices[-1].window.test.end,
        candles=outcome.equity.height,
        warmup_candles=0,
        data=data,
        outcome=outcome,
    )
    judged = describe(outcome, market, trials) | {"costs": costs}
    record = replace(record, validation=judged)
    return replace(record, validation=judged | {"warnings": caveats(record.to_document())})


def _length_ms(spans: Sequence[Span]) -> int:
    return sum((span.end - span.start for span in spans), timedelta(0)) // timedelta(milliseconds=1)


def _walked_before(request: SweepRequest, database_url: str | None) -> Trials | None:
    """The record was not chosen from the combinations by its own data: what counts are the walk-forwards of
    this strategy on this market, this one included. None without a database, where nobody knows of them."""
    if database_url is None:
        return None
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.trials import read_walk_forwards

    count, deviation = read_walk_forwards(
        engine(database_url), request.strategy, request.symbol, request.timeframe, request.exchange
    )
    return Trials(count + 1, deviation)
