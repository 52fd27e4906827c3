"""The result of a walk-forward: its windows as data, and the record of all tests as one run."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from core.metrics import METRICS
from pipelines.backtest.result import BacktestResult, iso
from pipelines.walk_forward.windows import WalkForward, Window

Metrics = dict[str, float | int | None]


@dataclass(frozen=True)
class Walked:
    """One window: what was chosen in the training, what that did there and in the test.

    score: the metric sorted by, in the training · test_rank: share of all combinations that did worse in the
    test, None where that is not known
    """

    window: Window
    parameters: dict[str, Any]
    score: float | None
    train: Metrics
    test: Metrics
    test_rank: float | None


@dataclass(frozen=True)
class WalkForwardResult:
    """record: the tests as one backtest, its validation included · combinations: tried in each window ·
    efficiency, stability, overfitting: see `pipelines.walk_forward.stability`"""

    walk: WalkForward
    sort: str
    windows: tuple[Walked, ...]
    record: BacktestResult
    combinations: int
    efficiency: float | None
    stability: dict[str, dict[str, Any]]
    overfitting: float | None

    def to_document(self) -> dict[str, Any]:
        """As JSON: the document of the record, with `walk_forward` and `windows` besides."""
        return self.record.to_document() | {
            "walk_forward": self.walk.document()
            | {
                "sort": self.sort,
                "combinations": self.combinations,
                "efficiency": self.efficiency,
                "overfitting": self.overfitting,
                "stability": self.stability,
            },
            "windows": [_document(walked) for walked in self.windows],
        }

    def table(self) -> pl.DataFrame:
        """A row a window: n, train_start, train_end, train_2_start, train_2_end (a purged walk's second
        stretch), test_start, test_end, the parameters, every metric of the training (of its longest stretch)
        as train_…, of the test as test_…, and test_rank."""
        rows = []
        for walked in self.windows:
            metrics = {f"train_{name}": walked.train[name] for name in METRICS}
            metrics |= {f"test_{name}": walked.test[name] for name in METRICS}
            row = {"n": walked.window.n, **walked.window.times, **walked.parameters, **metrics}
            rows.append(row | {"test_rank": walked.test_rank})
        times = {name: pl.Datetime("us", "UTC") for name in ("train_2_start", "train_2_end")}
        return pl.DataFrame(rows, infer_schema_length=None, schema_overrides=times)


def _document(walked: Walked) -> dict[str, Any]:
    window = walked.window
    return {
        "n": window.n,
        "train": [{"from": iso(span.start), "to": iso(span.end)} for span in window.train],
        "test": {"from": iso(window.test.start), "to": iso(window.test.end)},
        "parameters": walked.parameters,
        "score": walked.score,
        "train_metrics": walked.train,
        "test_metrics": walked.test,
        "test_rank": walked.test_rank,
    }
