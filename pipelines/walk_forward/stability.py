"""What the windows say together: is it worth to optimise at all, and does the optimum stay where it is?"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import log1p
from typing import Any

import numpy as np


def efficiency(
    trained: Sequence[float | None], tested: Sequence[float | None], train_ms: int, test_ms: int
) -> float | None:
    """Growth rate of the tests over that of the trainings (Pardo, The Evaluation and Optimization of Trading
    Strategies, 2008).

    [Σ log(1 + R_test) / time tested] / [Σ log(1 + R_train) / time trained]; 1 means that all that was seen in
    training came, 0 none of it. trained, tested: total return of each; train_ms, test_ms: their lengths, all
    stretches of a training counted in both. None where the trainings did not grow: there was nothing to keep.
    """
    seen, came = _growth(trained), _growth(tested)
    if seen is None or came is None or seen <= 0:
        return None
    return (came / test_ms) / (seen / train_ms)


def stability(chosen: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each parameter: values chosen, the most common one, its share of the windows, and how often the
    choice changed from one window to the next, a share; for numbers also the coefficient of variation,
    sample deviation / |mean|."""
    return {name: _of_values([choice[name] for choice in chosen]) for name in (chosen[0] if chosen else {})}


def overfitting(ranks: Sequence[float | None]) -> float | None:
    """Share of windows in which the best of the training was no better than the middle of all combinations
    in its test (the idea of Bailey, Borwein, López de Prado and Zhu, The Probability of Backtest Overfitting,
    2017): 0.5 is what choosing by chance gives."""
    known = [rank for rank in ranks if rank is not None]
    return sum(rank <= 0.5 for rank in known) / len(known) if known else None


def rank(value: float | None, others: Sequence[float | None], descending: bool = True) -> float | None:
    """Share of the others that are worse, ties counting half; one that is undefined is worse than any."""
    if value is None or len(others) < 2:
        return None
    sign = 1.0 if descending else -1.0
    known = [-np.inf if other is None else sign * other for other in others]
    below = sum(other < sign * value for other in known)
    same = sum(other == sign * value for other in known) - 1
    return float((below + same / 2) / (len(known) - 1))


def _growth(returns: Sequence[float | None]) -> float | None:
    if not returns or any(value is None or value <= -1 for value in returns):
        return None
    return sum(log1p(value) for value in returns if value is not None)


def _of_values(values: list[Any]) -> dict[str, Any]:
    common, times = Counter(values).most_common(1)[0]
    changes = sum(one != two for one, two in pairwise(values))
    found: dict[str, Any] = {
        "values": values,
        "most_common": common,
        "share": times / len(values),
        "changes": changes / (len(values) - 1) if len(values) > 1 else 0.0,
        "variation": None,
    }
    if len(values) > 1 and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        mean = float(np.mean(values))
        found["variation"] = float(np.std(values, ddof=1)) / abs(mean) if mean else None
    return found
