"""The training of a window: every combination on its stretches, by the sweep, and the best of them."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add, mul
from typing import Any

import polars as pl

from pipelines.backtest.candles import Stretch
from pipelines.backtest.request import BacktestRequest, Market
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import execute_sweep
from pipelines.sweep.space import Space
from pipelines.walk_forward.windows import Span

SCORE = "score"
TRAINED = "trained_return"


def scores(request: SweepRequest, spans: Sequence[Span], whole: Stretch) -> pl.DataFrame:
    """Every combination, best first: its parameters, its metrics on the longest stretch, `score` and
    `trained_return`.

    score: the metric `request.sort`; over several stretches its mean, weighted by their lengths, null where
    it is null in any of them. trained_return: the total return of all stretches, one after the other; null
    likewise. Candles before a stretch only warm the indicators up.
    """
    tables = [_swept(request, span, whole) for span in spans]
    names = Space(request).names
    weights = [(span.end - span.start).total_seconds() for span in spans]
    longest = max(range(len(spans)), key=lambda n: weights[n])
    table = tables[longest].with_columns(
        pl.col(request.sort).alias(SCORE), pl.col("total_return").alias(TRAINED)
    )
    if len(tables) > 1:
        # The grid's order decides between equals, in every table alike.
        for n, one in enumerate(tables):
            part = one.select(
                *names, pl.col(request.sort).alias(f"score_{n}"), pl.col("total_return").alias(f"return_{n}")
            )
            table = table.join(part, on=names, how="left", nulls_equal=True, maintain_order="left")
        # Not sum_horizontal, which takes null for 0.
        weighted = (pl.col(f"score_{n}") * (weight / sum(weights)) for n, weight in enumerate(weights))
        grown = reduce(mul, (pl.col(f"return_{n}") + 1 for n in range(len(tables)))) - 1
        table = table.with_columns(reduce(add, weighted).alias(SCORE), grown.alias(TRAINED))
        table = table.drop(f"{name}_{n}" for name in ("score", "return") for n in range(len(tables)))
    return table.sort(SCORE, descending=request.descending, nulls_last=True, maintain_order=True)


def applied(request: SweepRequest, choice: Mapping[str, Any]) -> BacktestRequest:
    """The backtest of one combination: its parameters, exits and orders over what stays the same."""
    shared = {name: getattr(request, name) for name in Market.model_fields}
    if not choice:
        return BacktestRequest.model_validate(shared | {"parameters": request.parameters})
    parameters, risk, execution = Space(request).blocks(choice)
    own = {"parameters": parameters, "risk": risk, "execution": execution}
    return BacktestRequest.model_validate(shared | own)


def _swept(request: SweepRequest, span: Span, whole: Stretch) -> pl.DataFrame:
    piece = request.model_copy(update={"start": span.start, "end": span.end})
    return execute_sweep(piece, candles=whole.candles, path=whole.path)
