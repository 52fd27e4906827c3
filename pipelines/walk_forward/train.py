"""The training of a window: every combination on its stretches, by the sweep, and the best of them."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import polars as pl

from pipelines.backtest.request import BacktestRequest, Market
from pipelines.backtest.risk import Risk
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import execute_sweep
from pipelines.sweep.space import Space
from pipelines.walk_forward.windows import Span
from strategies.registry import find

SCORE = "score"


def scores(request: SweepRequest, spans: Sequence[Span], candles: pl.DataFrame) -> pl.DataFrame:
    """Every combination, best first: its parameters, its metrics on the longest stretch, and `score`.

    score: the metric `request.sort`; over several stretches its mean, weighted by their lengths, null where
    it is null in any of them. Candles before a stretch only warm the indicators up.
    """
    tables = [_swept(request, span, candles) for span in spans]
    names = Space(request).names
    weights = [(span.end - span.start).total_seconds() for span in spans]
    longest = max(range(len(spans)), key=lambda n: weights[n])
    table = tables[longest].with_columns(pl.col(request.sort).alias(SCORE))
    if len(tables) > 1:
        # The grid's order decides between equals, in every table alike.
        parts = [t.select(*names, pl.col(request.sort).alias(f"score_{n}")) for n, t in enumerate(tables)]
        for part in parts:
            table = table.join(part, on=names, how="left", nulls_equal=True, maintain_order="left")
        # Not sum_horizontal, which takes null for 0.
        weighted = (pl.col(f"score_{n}") * (weight / sum(weights)) for n, weight in enumerate(weights))
        mean = reduce(add, weighted)
        table = table.with_columns(mean.alias(SCORE)).drop(f"score_{n}" for n in range(len(parts)))
    return table.sort(SCORE, descending=request.descending, nulls_last=True, maintain_order=True)


def applied(request: SweepRequest, choice: Mapping[str, Any]) -> BacktestRequest:
    """The backtest of one combination: its parameters and exits over what stays the same."""
    own = find(request.strategy).model.model_fields
    parameters = request.parameters | {name: value for name, value in choice.items() if name in own}
    exits = {name: value for name, value in choice.items() if name not in own}
    risk = request.risk
    if exits:
        common = risk.model_dump(exclude_unset=True) if risk else {}
        given = {name: value for name, value in (common | exits).items() if value is not None}
        risk = Risk.model_validate(given) if given else None
    shared = {name: getattr(request, name) for name in Market.model_fields}
    return BacktestRequest.model_validate(shared | {"parameters": parameters, "risk": risk})


def _swept(request: SweepRequest, span: Span, candles: pl.DataFrame) -> pl.DataFrame:
    piece = request.model_copy(update={"start": span.start, "end": span.end})
    return execute_sweep(piece, candles=candles)
